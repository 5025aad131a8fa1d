"""From sources and weights to a cartridge: assemble, link, write the header's checksum."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from microgpt import dataset
from microgpt.arrays import Array, State
from microgpt.config import GPTConfig
from microgpt.integers.base import IntegerModel
from microgpt.integers.classic import Classic
from microgpt.integers.turbo import Turbo, calibrate
from microgpt.snes import tables, turbo
from microgpt.tokenizer import Tokenizer

ASM = tables.ASM
VOCABULARY = "abcdefghijklmnopqrstuvwxyz"  # what a cartridge has letters for
CC65 = (
    "building a cartridge takes cc65: `apt-get install cc65` on Debian or Ubuntu, `brew install "
    "cc65` on macOS, the snapshot of cc65.github.io on Windows"
)


@dataclass(frozen=True)
class Spec:
    """A cartridge that can be built."""

    name: str
    block_size: int
    kilobytes: int
    sources: tuple[str, ...]  # of asm/, without the ending
    model: Callable[[GPTConfig, State], IntegerModel]  # its arithmetic
    files: Callable[[Any], Mapping[str, bytes]]  # what its sources take from such a model


def calibrated(config: GPTConfig, state: State) -> Turbo:
    """Return turbo's arithmetic, calibrated on some of the names that ship with us."""
    encode = Tokenizer(VOCABULARY).encode
    documents = [encode(name) for name in dataset.load("world").documents[::40]]
    return Turbo(config, state, calibrate(config, state, documents))


GAME = ("main", "inference", "display", "math")
CARTRIDGES = {
    "classic": Spec("classic", 8, 32, (*GAME, "gpt", "vector"), Classic, tables.classic),
    "turbo": Spec("turbo", 16, 64, (*GAME, "turbo/gpt"), calibrated, turbo.files),
}
SIZES = {"n_layer": 1, "n_embd": 16, "n_head": 4, "vocab_size": 27}  # what all of them hold
TITLE_LENGTH = 21  # characters of a name in the header


@dataclass(frozen=True)
class Rom:
    """A cartridge's file, and what the linker found out."""

    data: bytes
    labels: dict[str, int]  # address of each name
    segments: dict[str, int]  # bytes that each segment takes


VERSION = 1  # of the directory; see inference.asm
# What the directory at the start of a ROM holds, after "MICROGPT" and the cartridge's name.
FIELDS = (
    *("version", "block_size", "command", "argument", "registers", "beam", "tokens_done", "ring"),
    *("seed", "temperature", "prefix_length", "prefix", "speed", "view", "name_number", "names"),
    *("logits", "probs", "attention", "residual", "hidden", "saturations", "frames"),
    *("watched", "rate"),
)


def spec(name: str) -> Spec:
    """Return the cartridge of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in CARTRIDGES:
        raise ValueError(f"there is no cartridge {name!r}; there are {', '.join(CARTRIDGES)}")
    return CARTRIDGES[name]


def of_size(block_size: int) -> str:
    """Return the name of the cartridge that reads so many positions.

    Raises:
        ValueError: there is none.
    """
    for name, cartridge in CARTRIDGES.items():
        if cartridge.block_size == block_size:
            return name
    sizes = " and ".join(f"{c.block_size} ({name})" for name, c in CARTRIDGES.items())
    raise ValueError(f"the model's block_size is {block_size}; cartridges read {sizes} positions")


def fit(name: str, config: GPTConfig, state: State) -> tuple[GPTConfig, dict[str, Array]]:
    """Return as much of a model as a cartridge holds: its first positions, no optimizer.

    Raises:
        ValueError: there is no such cartridge, or it cannot hold the model.
    """
    positions = spec(name).block_size
    for size, held in SIZES.items():
        if getattr(config, size) != held:
            raise ValueError(
                f"the model's {size} is {getattr(config, size)}; a cartridge holds models of "
                + ", ".join(f"{k} {v}" for k, v in SIZES.items())
            )
    if config.block_size < positions:
        raise ValueError(
            f"the model's block_size is {config.block_size}; the {name} cartridge reads "
            f"{positions} positions: train one with --block-size {positions} or more"
        )
    kept = {key: array for key, array in state.items() if not key.startswith("adam.")}
    kept["wpe"] = kept["wpe"][:positions]
    return replace(config, block_size=positions), kept


def integers(name: str, config: GPTConfig, state: State) -> IntegerModel:
    """Return the integer model that a cartridge computes; raises as fit does."""
    return spec(name).model(*fit(name, config, state))


def build(
    name: str, config: GPTConfig, state: State, title: str | None = None, asm: Path = ASM
) -> tuple[Rom, IntegerModel]:
    """Return the cartridge of a model, and the integer model that it computes.

    `title` is the name in the header, which menus of flash cartridges show; `asm` is the folder of
    the program's sources.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge, it cannot hold the model, or the title does not fit.
    """
    model = integers(name, config, state)
    return assemble(spec(name), spec(name).files(model), title, asm), model


def read_directory(data: bytes) -> tuple[str, dict[str, int]]:
    """Return a ROM's cartridge name, and its sizes and addresses by the names of FIELDS.

    Raises:
        ValueError: it is not one of our cartridges.
    """
    name = data[8:16].decode("ascii", "replace").strip()
    words = (data[i : i + 2] for i in range(16, 16 + 2 * len(FIELDS), 2))
    fields = {field: int.from_bytes(w, "little") for field, w in zip(FIELDS, words, strict=True)}
    if data[:8] != b"MICROGPT" or name not in CARTRIDGES or fields["version"] != VERSION:
        raise ValueError(
            "this is not a MicroGPT cartridge that this version can play; `microgpt rom` makes one"
        )
    if len(data) != CARTRIDGES[name].kilobytes * 1024:
        raise ValueError(
            f"this {name} cartridge has {len(data):,} bytes instead of "
            f"{CARTRIDGES[name].kilobytes * 1024:,}: it is damaged; make it again"
        )
    return name, fields


def assemble(
    cartridge: Spec, files: Mapping[str, bytes], title: str | None = None, asm: Path = ASM
) -> Rom:
    """Assemble and link a cartridge; files hold its weights: what sources include, and sources.

    Raises:
        OSError: the assembler is not there.
        ValueError: the program is faulty or does not fit the cartridge, or the title does not.
    """
    title = check_title(cartridge, title)
    check_tools()
    files = {**tables.files(), **files, "cartridge.inc": _constants(cartridge, title)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        sources = [asm / f"{source}.asm" for source in cartridge.sources]
        sources += [folder / file for file in files if file.endswith(".asm")]
        objects = [_assemble(source, folder, asm) for source in sources]
        return _link(asm / f"{cartridge.name}.cfg", objects, folder)


def check_title(cartridge: Spec, title: str | None) -> str:
    """Return the title for the header: the one given, if it fits, or the cartridge's own.

    Raises:
        ValueError: it is too long, or holds a character that is not printable ASCII.
    """
    title = f"MICROGPT {cartridge.name.upper()}" if title is None else title
    if not 0 < len(title) <= TITLE_LENGTH or not (title.isascii() and title.isprintable()):
        raise ValueError(
            f"the title is {title!r}; it must be 1 to {TITLE_LENGTH} printable ASCII characters"
        )
    return title


def _constants(cartridge: Spec, title: str) -> bytes:
    return (
        f'.define CARTRIDGE "{cartridge.name:8}"\n'
        f".define TITLE {','.join(map(str, title.ljust(TITLE_LENGTH).encode('ascii')))}\n"
        f"BLOCK_SIZE = {cartridge.block_size}\n"
        f"ROM_SIZE = {(cartridge.kilobytes - 1).bit_length()}\n"
        f"TILE_FRAME = {tables.FRAME}\nTILE_BAR = {tables.BAR}\nTILE_BIG = {tables.BIG}\n"
    ).encode("ascii")


def _assemble(source: Path, folder: Path, asm: Path) -> Path:
    """Assemble one source into folder, which holds what it includes; return the object file."""
    check_widths(source)
    target = folder / f"{source.stem}.o"
    _run("ca65", "-g", "-I", asm, "-I", folder, "--bin-include-dir", folder, "-o", target, source)
    return target


def _link(config: Path, objects: Iterable[Path], folder: Path) -> Rom:
    out, labels, sizes = folder / "rom.sfc", folder / "labels.txt", folder / "map.txt"
    _run("ld65", "-C", config, "-o", out, "-Ln", labels, "-m", sizes, *objects)
    return Rom(
        checksummed(out.read_bytes()),
        {m[2]: int(m[1], 16) for m in re.finditer(r"al (\w+) \.(\w+)", labels.read_text())},
        {
            m[1]: int(m[2], 16)
            for m in re.finditer(r"^(\w+) +\w{6} +\w{6} +(\w{6}) ", sizes.read_text(), re.M)
        },
    )


def check_widths(source: Path) -> None:
    """Raise ValueError if a source changes a register's width other than by the macros of snes.inc.

    The flag in the processor and the assembler's belief about it must change together: after `.a16`
    without `rep`, or without the `.i16` that goes with it, the console reads other instructions
    than were written.
    """
    for number, line in enumerate(source.read_text().splitlines(), 1):
        if found := re.match(
            r"\s*(?:\w+:)?\s*(rep|sep|\.[ai](?:8|16)|\.smart)\b(?! -)", line, re.I
        ):
            raise ValueError(
                f"{source.name}:{number}: `{found[1]}` changes a width that the other side "
                "does not know of; use the macros a8 a16 i8 i16 ai16, or `routine`"
            )


def checksummed(data: bytes) -> bytes:
    """Return a ROM, of a power of two bytes, with the header's checksum and its complement set."""
    header = 0x7FDC
    blank = data[:header] + b"\xff\xff\0\0" + data[header + 4 :]
    checksum = sum(blank) & 0xFFFF
    pair = (checksum ^ 0xFFFF).to_bytes(2, "little") + checksum.to_bytes(2, "little")
    return data[:header] + pair + data[header + 4 :]


def check_tools() -> None:
    """Raise OSError unless the assembler and the linker are there."""
    if not (shutil.which("ca65") and shutil.which("ld65")):
        raise OSError(CC65)


def _run(tool: str, *arguments: object) -> None:
    command = [tool, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().split("\n")
        problem = next((line for line in lines if "Warning" not in line), lines[0])
        raise ValueError(f"{tool}: {problem}")
