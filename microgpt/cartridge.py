"""The pipeline: train -> integers -> tables -> ca65 -> ld65 -> a file that a console runs."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np

from microgpt import dataset, engines, files
from microgpt.checkpoint import Checkpoint
from microgpt.documents import Document, surprises
from microgpt.feed import Pretraining
from microgpt.integers import base as integers
from microgpt.integers import turbo
from microgpt.integers.base import Choice, IntegerModel, Integers
from microgpt.quantization import QuantizationAware
from microgpt.snes import rom
from microgpt.snes.console import STARTUP, Console
from microgpt.snes.emulator import BUTTONS, png
from microgpt.snes.rom import VOCABULARY
from microgpt.training import Quantization, Run, Settings

HELD_OUT = 0.1  # share of the unique names that is held out to choose by, and again to report
WRAM = ("ZEROPAGE", "MAILBOX", "BSS", "PAGES")  # segments
COMPARED = 100  # documents whose logits are compared, one by one
FIRST_SEED = 0x1990  # of the list that a cartridge begins with
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
class Built:
    """A cartridge, and what it was made of."""

    name: str
    rom: rom.Rom
    model: IntegerModel  # what it computes
    checkpoint: Checkpoint  # the model as it was given

    def lines(self) -> list[str]:
        """Return lines that say what was built."""
        sizes, kilobytes = self.rom.segments, len(self.rom.data) // 1024
        used = sum(sizes[name] for name in sizes if name not in (*WRAM, "RING"))
        work = sum(sizes.get(name, 0) for name in WRAM)
        lines = [
            f"ROM   {used:,} of {kilobytes * 1024:,} bytes",
            f"WRAM  {work:,} bytes at work, 1,792 of them the screen; {sizes['RING']:,} for a log",
        ]
        return [*lines, f"CUT   {self.cut}"] if self.cut else lines

    @property
    def cut(self) -> str | None:
        """One line on what the cartridge has no room for, if there is such a thing."""
        given, held = self.checkpoint.config.block_size, self.model.config.block_size
        if given <= held:
            return None
        return (
            f"the model reads {given} positions, the {self.name} cartridge {held}: "
            f"names end after {held} letters"
        )


@dataclass(frozen=True)
class Report:
    """What was measured of a cartridge; losses are nats/token."""

    documents: int  # how many the losses are of
    held_out: bool  # whether the model has never seen them
    float_loss: float
    integer_loss: float
    distance: float  # mean distance of the integers' logits from the floats', on COMPARED documents
    agreement: float  # share of positions where both find the same token the likeliest
    console_loss: float | None  # of the first CHECKED documents, read by the console itself ...
    expected_loss: float  # ... and by the integer model
    console_missing: str  # why it was not, if so

    def lines(self) -> list[str]:
        """Return lines that say what was measured."""
        read = "held-out documents" if self.held_out else "documents, some of which it learned from"
        lines = [
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
    size, recipe = rom.spec(name).block_size, RECIPES[name]
    return Run(
        Pretraining(dataset.default(), recipe.batch, HELD_OUT),
        Settings(recipe.steps, recipe.lr),
        sizes={"block_size": size},
        quantization=recipe.quantization,
    )


def check(name: str, title: str | None = None) -> None:
    """Check that a cartridge can be built, before the work begins that a model takes.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge, or the title does not fit.
    """
    rom.check_title(rom.spec(name), title)
    rom.check_tools()


def build(name: str, checkpoint: Checkpoint, title: str | None = None) -> Built:
    """Build the cartridge of a model, with a title in its header.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge, it cannot hold the model, or the title does not fit.
    """
    check_model(name, checkpoint)
    made, model = rom.build(name, checkpoint.config, checkpoint.state, title)
    return Built(name, made, model, checkpoint)


def check_model(name: str, checkpoint: Checkpoint) -> None:
    """Raise ValueError unless there is such a cartridge and it can hold the model."""
    letters = checkpoint.characters
    rom.fit(name, checkpoint.config, checkpoint.state)
    if letters != VOCABULARY:
        raise ValueError(
            f"the model's vocabulary is {letters!r}; a cartridge has letters for "
            "a-z only: train it on names of these"
        )


def measure(built: Built, documents: Sequence[Document], held_out: bool) -> Report:
    """Return the loss of a cartridge on documents: as floats, as integers, as the console reads."""
    model, checkpoint = built.model, built.checkpoint
    config, state = rom.fit(built.name, checkpoint.config, checkpoint.state)
    exact = engines.create_trainable(engines.default(), config, state)
    unit, size = float(model.units["logits"]), config.block_size
    compared = [tokens[:-1][:size] for tokens in documents[:COMPARED]]
    found = np.concatenate([integers.logits(model, tokens) for tokens in compared]) * unit
    expected = np.concatenate([exact.inspect(tokens)["logits"] for tokens in compared])
    console_loss, missing = None, ""
    try:
        with Console(built.rom.data) as console:
            console_loss = _loss(console.logits, documents[:CHECKED], unit, size)
    except OSError as error:
        missing = str(error)
    return Report(
        len(documents),
        held_out,
        exact.loss(documents),
        integers.loss(model, documents),
        float(np.abs(found - expected).mean()),
        float((found.argmax(1) == expected.argmax(1)).mean()),
        console_loss,
        _loss(partial(integers.logits, model), documents[:CHECKED], unit, size),
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
                f"{text!r} is not a press; write BUTTON@FRAME, such as select@120, with one of "
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
        for frame in range(STARTUP, limit):
            console.hold(*(p.button for p in presses if p.frame <= frame < p.frame + 12))
            console.run()
            while console.unread:
                made = console.choice()
                name = ("" if made.position == 0 else name) + _letter(made.chosen)
                if not _letter(made.chosen) or made.position == console.at["block_size"] - 1:
                    yield name
            if frames is None and console.word(console.at["name_number"]) == 20:
                break
        if screenshot is not None:
            files.write(screenshot, png(console.screenshot()))


@dataclass(frozen=True)
class Verdict:
    """Whether a cartridge makes the list of names that the integers of a model make."""

    tokens: int  # compared, up to the first difference
    difference: str | None  # the first, in words

    def __str__(self) -> str:
        if self.difference:
            return f"DIFFERENT: {self.difference}"
        return (
            f"the same: {self.tokens} tokens of 20 names, with their random numbers, logits and "
            "probabilities, are those of the model's integers"
        )


def verify(
    data: bytes, checkpoint: Checkpoint, core: str | os.PathLike[str] | None = None
) -> Verdict:
    """Let a cartridge make twenty names, and compare every token with the integers of a model.

    Raises:
        OSError: there is no emulator core.
        ValueError: it is not one of our cartridges, or such a one cannot hold the model.
    """
    with Console(data, core, watched=True) as console:
        check_model(console.cartridge, checkpoint)
        model = rom.integers(console.cartridge, checkpoint.config, checkpoint.state)
        console.set(FIRST_SEED)
        compared = zip(console.list(), integers.generate(model, FIRST_SEED), strict=True)
        number = tokens = 0
        for tokens, (found, expected) in enumerate(compared, 1):
            number += expected.position == 0
            if difference := _difference(found, expected):
                place = f"name {number}, token {expected.position + 1}"
                return Verdict(tokens, f"{place}: {difference}")
    return Verdict(tokens, None)


def _difference(found: Choice, expected: Choice) -> str | None:
    """Return in words where a cartridge's token first differs from the integers'; None if not."""
    for name in ("token", "position", "logits", "probs", "drawn", "chosen"):
        ours, theirs = (np.ravel(getattr(choice, name)) for choice in (found, expected))
        for i in np.flatnonzero(ours != theirs):
            what = f"{name}[{i}]" if len(ours) > 1 else name
            return f"{what} is {ours[i]} in the cartridge, {theirs[i]} in the integers"
    return None


def _loss(
    read: Callable[[Document], Integers], documents: Sequence[Document], unit: float, size: int
) -> float:
    """Return the loss of documents (nats/token), whose logits `read` gives in `unit` nats."""
    cut = [tokens[: size + 1] for tokens in documents]
    return fmean(fmean(surprises((read(t[:-1]) * unit).tolist(), t)) for t in cut)


def documents(checkpoint: Checkpoint) -> tuple[list[Document], bool]:
    """Return the documents to measure a model on, and whether the model's run held them out."""
    try:
        feed = Pretraining.of(checkpoint)
    except (OSError, ValueError):
        feed = None
    if feed and feed.test:
        return [*feed.test], True
    return [*Pretraining(dataset.default(), val=HELD_OUT, vocabulary=VOCABULARY).test], False


def _letter(token: int) -> str:
    """Return a token's letter, none for BOS."""
    return VOCABULARY[token : token + 1]
