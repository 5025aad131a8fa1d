"""Three cartridges with a bug each, those that cost the author of the first port most.

They are the classic cartridge, assembled from sources in which one thing was changed. Each runs,
and goes wrong in a way of its own: docs/labs/systems.md is the lab that looks for them.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from microgpt import cartridge, files
from microgpt.checkpoint import Checkpoint
from microgpt.snes import rom, tables


@dataclass(frozen=True)
class Bug:
    """A change of one source, each part `old` to be found there once."""

    source: str  # of snes/asm
    changes: tuple[tuple[str, str], ...]  # (old, new)
    answer: str  # what is wrong, how it shows, and where


BUGS = (
    Bug(
        "math.asm",
        (
            ("        asl\n" * 5 + "        eor prng_x", "        xba\n        eor prng_x"),
            ("        lsr\n" * 3 + "        eor prng_t", "        xba\n        eor prng_t"),
        ),
        "The random numbers: `random` in math.asm. Logits and probabilities are right, `drawn` is "
        "not: the same 16 numbers come again and again. `xba` swaps two bytes where the bits are "
        "to be shifted. The first swap makes t = x ^ swap(x), which is its own swap; so the second "
        "makes t ^ swap(t) = 0, and y no longer depends on x.",
    ),
    Bug(
        "vector.asm",
        (("        a8\n        lda acc_low + 3\n", "        lda acc_low + 3\n"),),
        "A register's width: `dot` in vector.asm. What the first norm makes is right; then almost "
        "every product with a matrix is 127.996 or -128, and `saturations` counts them. Without "
        "`a8` the top byte of the sum is read together with the byte behind it, which is seldom 0: "
        "so the sum seems too large, and is clamped.",
    ),
    Bug(
        "vector.asm",
        (("square_sum:    .res 4\n", "square_sum = product\n"),),
        "A sum that is lost: `rmsnorm` in vector.asm. The very first vector is wrong, all of its "
        "numbers by the same factor, as long as they fit 16 bits. square_sum lies where mul16u "
        "puts its product: each square erases the sum of those before it, and is then added to "
        "itself.",
    ),
)


def sources(bug: Bug, folder: Path) -> Path:
    """Write the assembly with a bug in it into a folder; return where it is.

    Raises:
        ValueError: the sources have changed, and the bug no longer fits.
    """
    place = Path(shutil.copytree(tables.ASM, folder / "asm"))
    text = (place / bug.source).read_text("utf-8")
    for old, new in bug.changes:
        if text.count(old) != 1:
            raise ValueError(f"{bug.source} holds {old!r} {text.count(old)} times, not once")
        text = text.replace(old, new)
    (place / bug.source).write_text(text, "utf-8")
    return place


def make(bug: Bug, checkpoint: Checkpoint) -> bytes:
    """Return the classic cartridge of a model with a bug in it.

    Raises:
        OSError: the assembler is not there.
        ValueError: a cartridge cannot hold the model.
    """
    cartridge.check_model("classic", checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        asm = sources(bug, Path(folder))
        made, _ = rom.build("classic", checkpoint.config, checkpoint.state, asm=asm)
    return made.data


def write(folder: Path, checkpoint: Checkpoint) -> list[Path]:
    """Write the cartridges, 1.sfc and so on, and their model into a folder; return the files."""
    made = {folder / f"{number}.sfc": make(bug, checkpoint) for number, bug in enumerate(BUGS, 1)}
    folder.mkdir(parents=True, exist_ok=True)
    for path, data in made.items():
        files.write(path, data)
    model = folder / "model.safetensors"
    checkpoint.save(model)
    return [*made, model]
