"""gpt.py and an edited copy, side by side: where they part, and how both learn."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from string import ascii_lowercase
from typing import Literal

from microgpt import dataset, gpt, xray
from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs.controls import Event
from microgpt.school.learner import STEPS, Learner
from microgpt.xray.recorder import load

LOOKS = (100, 200, 400, 600, 800, STEPS)  # steps after which both are scored on names held out
HELD_OUT = 50  # names that a look scores
MIRRORS, MIRRORED = 5000, 3  # mirror words, and the letters of half a word: abc|cba
SILENCE = 30  # seconds without an event, after which edited code is stopped
READS: tuple[Literal["loss", "adam"], ...] = ("loss", "adam")  # what both do with the name


def compare(question: Event, checkpoint: Checkpoint) -> Iterator[Event]:
    """Run gpt.py and an edited copy side by side: where they part, and how both learn."""
    text, source = str(question["text"]), str(question["source"])
    yield {"silence": SILENCE, "steps": STEPS, "names": HELD_OUT}
    parted = part(text, source, checkpoint)
    yield parted
    if not parted["failed"]:
        names, modules = documents("names"), (gpt, load(source).module)
        yield from race([Learner(module, names) for module in modules])


def part(text: str, source: str, checkpoint: Checkpoint) -> Event:
    """Return the first line and the first number that differ while both read a name."""
    for until in READS:  # most changes show before the loss is known: then the rest can be left out
        ours = xray.record(text, checkpoint, until=until)
        theirs = xray.record_source(source, text, checkpoint, until=until)
        parted = xray.diff(ours, theirs)
        if parted.number or theirs.error:
            break
    return {
        "line": [asdict(place) if place else None for place in (parted.line_a, parted.line_b)],
        "number": asdict(parted.number) if parted.number else None,
        "same": not parted,
        "failed": theirs.error,
        "losses": [ours.loss, theirs.loss],
    }


def race(learners: list[Learner]) -> Iterator[Event]:
    """Let several versions of gpt.py learn, step by step; score them where it is time to look."""
    for step in range(1, STEPS + 1):
        yield {"step": step, "pair": [learner.step() for learner in learners]}
        if step in LOOKS:
            yield {
                "step": step,
                "held_out": [learner.held_out(HELD_OUT) for learner in learners],
                "said": [learner.names(5) for learner in learners],
            }
    yield {"done": True}


def documents(task: str) -> Sequence[str]:
    """Return what a task learns from: names, or mirror words, which pairs of letters cannot guess.

    Raises:
        ValueError: there is no such task.
    """
    if task == "names":
        return dataset.load("world").documents
    if task != "mirror":
        raise ValueError(f"there is no task {task!r}; there are names and mirror")
    rng = random.Random(0)
    halves = ["".join(rng.choices(ascii_lowercase, k=MIRRORED)) for _ in range(MIRRORS)]
    return [half + half[::-1] for half in dict.fromkeys(halves)]
