"""gpt.py and an edited copy, side by side: where they part, and how both learn."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from string import ascii_lowercase
from types import ModuleType
from typing import Literal

from microgpt import dataset, gpt, xray
from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs.controls import Event
from microgpt.xray.recorder import load

STEPS = 1000  # as many as main() takes
LOOKS = (100, 200, 400, 600, 800, STEPS)  # steps after which both are scored on names held out
SHARE = 0.05  # of the names, held out
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
        yield from race([Learner(module) for module in (gpt, load(source).module)])


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


def race(learners: list["Learner"]) -> Iterator[Event]:
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


class Learner:
    """A gpt.py that learns as its main() does, but for names that are held out."""

    def __init__(self, module: ModuleType, seed: int = 42, task: str = "names") -> None:
        """Begin from the parameters that the module's init() draws.

        Raises:
            ValueError: there is no such task.
        """
        self.module, self.rng, self.steps = module, random.Random(seed), 0
        parts = dataset.split(documents(task), SHARE)
        self.rng.shuffle(parts.train)
        self.train, self.test = parts.train, parts.test
        self.alphabet = "".join(sorted(set("".join(parts.train))))
        self.config = module.Config(
            len(self.alphabet) + 1, n_layer=1, n_embd=16, n_head=4, block_size=16
        )
        self.params = module.init(self.config, self.rng)
        self.weights = module.flat(self.params)
        self.m, self.v = [0.0] * len(self.weights), [0.0] * len(self.weights)

    def step(self) -> float:
        """Take a step; return the loss before it, as the module's loss() has it.

        Raises:
            ValueError: the loss is not a finite number.
        """
        tokens = self.module.encode(self.train[self.steps], self.alphabet)
        loss = self.module.loss(self.params, self.config, tokens)
        loss.backward()
        lr = 0.01 * (1 - self.steps / STEPS)
        self.module.adam(self.weights, self.m, self.v, self.steps, lr)
        self.steps += 1
        if not math.isfinite(loss.data):
            raise ValueError(f"in step {self.steps} the loss is {loss.data}")
        return float(loss.data)

    def held_out(self, count: int) -> float:
        """Return the mean loss of names never learned from (nats/token).

        It is computed here: the module's loss() may be what was edited.
        """
        return sum(map(self._loss, self.test[:count])) / count

    def _loss(self, text: str) -> float:
        keys, values = self.module.cache(self.config)
        tokens, total = gpt.encode(text, self.alphabet)[: self.config.block_size + 1], 0.0
        for pos_id, (token, target) in enumerate(pairwise(tokens)):
            logits = self.module.gpt(self.params, self.config, token, pos_id, keys, values)
            numbers = [float(z.data) for z in logits]
            largest = max(numbers)
            total += math.log(sum(math.exp(z - largest) for z in numbers))
            total += largest - numbers[target]
        return total / (len(tokens) - 1)

    def names(self, count: int) -> list[str]:
        """Return some names that the module makes now, the same at every call."""
        rng, sample = random.Random(42), self.module.sample
        return [
            self.module.decode(sample(self.params, self.config, rng), self.alphabet)
            for _ in range(count)
        ]
