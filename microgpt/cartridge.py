"""The pipeline: train -> integers -> tables -> ca65 -> ld65 -> a file that a console runs."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from microgpt import dataset, engines, files
from microgpt.arrays import Array
from microgpt.checkpoint import Checkpoint
from microgpt.documents import Document
from microgpt.engines.base import Engine
from microgpt.engines.fixed import FixedEngine
from microgpt.feed import Pretraining
from microgpt.integers import turbo
from microgpt.integers.base import IntegerModel
from microgpt.integers.base import loss as integer_loss
from microgpt.quantization import QuantizationAware
from microgpt.snes import rom
from microgpt.snes.console import STARTUP, Console
from microgpt.snes.emulator import BUTTONS, png
from microgpt.snes.rom import VOCABULARY
from microgpt.training import Quantization, Run, Settings

HELD_OUT = 0.1  # share of the unique names that is held out to choose by, and again to report
WRAM = ("ZEROPAGE", "MAILBOX", "BSS", "PAGES")  # segments
COMPARED = 100  # documents whose logits are compared, one by one
CHECKED = 5  # documents that the cartridge itself reads, in the emulator


@dataclass(frozen=True)
class Recipe:
    """How a cartridge's model is trained, if none is given."""

    steps: int
    batch: int
    lr: float
    quantization: Quantization | None = None


RECIPES = {
    "classic": Recipe(steps=500, batch=32, lr=0.02),
    "turbo": Recipe(
        steps=8000,
        batch=128,
        lr=0.01,
        quantization=partial(QuantizationAware, rounding=turbo.rounding, start=2400),
    ),
}


@dataclass(frozen=True)
class Cartridge:
    """A cartridge, and what is known of it; losses are nats/token."""

    name: str
    rom: rom.Rom
    model: IntegerModel
    checkpoint: Checkpoint
    documents: int  # how many the losses are of
    held_out: bool  # whether the model has never seen them
    float_loss: float
    integer_loss: float
    distance: float  # mean distance of the integers' logits from the floats', on COMPARED documents
    agreement: float  # share of positions where both find the same token the likeliest
    console_loss: float | None  # of the first CHECKED documents, read by the console itself ...
    expected_loss: float  # ... and by the integer model
    console_missing: str  # why it was not, if so

    def report(self) -> list[str]:
        """Return lines that tell what was made."""
        sizes, kilobytes = self.rom.segments, len(self.rom.data) // 1024
        used = sum(sizes[name] for name in sizes if name not in (*WRAM, "RING"))
        work = sum(sizes.get(name, 0) for name in WRAM)
        read = "held-out documents" if self.held_out else "documents, some of which it learned from"
        lines = [
            f"ROM   {used:,} of {kilobytes * 1024:,} bytes",
            f"WRAM  {work:,} bytes at work, 1,792 of them the screen; {sizes['RING']:,} for a log",
            f"loss on {self.documents:,} {read} (nats/token):",
            f"  {self.float_loss:.4f}  float",
            f"  {self.integer_loss:.4f}  integers: logits off by {self.distance:.3f} on average, "
            f"the likeliest token the same in {self.agreement:.0%}",
        ]
        if self.console_loss is None:
            return [*lines, f"  the cartridge was not run: {self.console_missing}"]
        same = "the same" if self.console_loss == self.expected_loss else "DIFFERENT"
        return [
            *lines,
            f"  {self.console_loss:.4f}  the cartridge, on the first {CHECKED} of them; "
            f"the integers there: {self.expected_loss:.4f}, {same}",
        ]


def start(name: str) -> Run[Pretraining]:
    """Return the run that trains a cartridge's model, on the names at hand, a share held out.

    Raises:
        ValueError: there is no such cartridge.
    """
    recipe = _recipe(name)
    return Run(
        Pretraining(dataset.default(), recipe.batch, HELD_OUT),
        Settings(recipe.steps, recipe.lr),
        sizes={"block_size": rom.CARTRIDGES[name].block_size},
        quantization=recipe.quantization,
    )


def build(name: str, checkpoint: Checkpoint) -> tuple[rom.Rom, IntegerModel]:
    """Build the cartridge of a model; return it, and the integers that are in it.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge, or it cannot hold the model.
    """
    _recipe(name)
    if checkpoint.vocabulary != VOCABULARY:
        raise ValueError(
            f"the model's vocabulary is {checkpoint.vocabulary!r}; a cartridge has letters for "
            "a-z only: train it on names of these"
        )
    return rom.make(name, checkpoint.config, checkpoint.state)


def make(name: str, checkpoint: Checkpoint) -> Cartridge:
    """Make the cartridge of a model, and measure it.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge, or it cannot hold the model.
    """
    built, model = build(name, checkpoint)
    documents, held_out = _documents(checkpoint)
    cut = Checkpoint(model.config, VOCABULARY, _cut(checkpoint, model.config.block_size))
    console_loss, missing = None, ""
    try:
        console = engines.create("snes", model.config, cut.state, cartridge=name)
        console_loss = loss(console, documents[:CHECKED])
    except OSError as error:
        missing = str(error)
    exact = engines.create_trainable(engines.default(), model.config, cut.state)
    integers = FixedEngine.of(model)
    found, expected = (_logits(each, documents[:COMPARED]) for each in (integers, exact))
    return Cartridge(
        name,
        built,
        model,
        cut,
        len(documents),
        held_out,
        exact.loss(documents),
        integer_loss(model, documents),
        float(np.abs(found - expected).mean()),
        float((found.argmax(1) == expected.argmax(1)).mean()),
        console_loss,
        loss(integers, documents[:CHECKED]),
        missing,
    )


@dataclass(frozen=True)
class Press:
    """A button, and the frame when it is pressed; BUTTON@FRAME in short.

    Raises:
        ValueError: there is no such button.
    """

    button: str
    frame: int

    @classmethod
    def of(cls, text: str) -> "Press":
        """Read BUTTON@FRAME."""
        button, _, frame = text.partition("@")
        if button not in BUTTONS or not frame.isdecimal():
            raise ValueError(
                f"{text!r} is no press; write BUTTON@FRAME, such as select@120, with one of "
                + ", ".join(BUTTONS)
            )
        return cls(button, int(frame))


def play(
    data: bytes,
    core: str | os.PathLike[str] | None = None,
    frames: int | None = None,
    presses: Sequence[Press] = (),
    screenshot: str | os.PathLike[str] | None = None,
) -> Iterator[str]:
    """Run a cartridge for some frames, or until twenty names are there; yield each name made.

    A button is held for 12 frames: the game looks at the pad between two tokens. The screenshot is
    of the last frame, written as PNG.

    Raises:
        OSError: there is no emulator core; the screenshot cannot be written.
        ValueError: it is not one of our cartridges.
    """
    with Console(data, core) as console:
        name, limit = "", frames if frames is not None else 6000
        for frame in range(STARTUP, limit + 1):
            console.hold(*(p.button for p in presses if p.frame <= frame < p.frame + 12))
            console.run()
            while console.unread:
                record = console.record()
                name = "" if record.position == 0 else name
                over = record.chosen == len(VOCABULARY)
                name += "" if over else VOCABULARY[record.chosen]
                if over or record.position == console.at["block_size"] - 1:
                    yield name
            if frames is None and console.word(console.at["name_number"]) == 20:
                break
        if screenshot is not None:
            files.write(screenshot, png(console.screenshot()))


def loss(engine: Engine, documents: list[Document]) -> float:
    """Return the loss of documents (nats/token), from an engine's logits alone."""
    losses = []
    for tokens in documents:
        engine.reset()
        surprises = []
        for token, following in pairwise(tokens[: engine.config.block_size + 1]):
            logits = engine.step(token)
            surprises.append(np.log(np.exp(logits - logits[following]).sum()))
        losses.append(np.mean(surprises))
    engine.reset()
    return float(np.mean(losses))


def _logits(engine: Engine, documents: list[Document]) -> Array:
    """Return the logits of all positions of documents, (positions, vocab_size)."""
    size = engine.config.block_size
    return np.concatenate([engine.inspect(tokens[:-1][:size])["logits"] for tokens in documents])


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"there is no cartridge {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def _documents(checkpoint: Checkpoint) -> tuple[list[Document], bool]:
    """Return the documents to report on, and whether the model's run held them out."""
    try:
        feed = Pretraining.of(checkpoint)
    except (OSError, ValueError):
        feed = None
    if feed and feed.test:
        return [*feed.test], True
    return [*Pretraining(dataset.default(), val=HELD_OUT, vocabulary=VOCABULARY).test], False


def _cut(checkpoint: Checkpoint, positions: int) -> dict[str, Array]:
    state = {name: array for name, array in checkpoint.state.items() if name[:5] != "adam."}
    return state | {"wpe": state["wpe"][:positions]}
