"""A model tuned while the page watches: by a reward, to answer sums, by choices, by examples."""

import math
import random
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from microgpt import dataset, engines
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam
from microgpt.documents import Batch, Weights
from microgpt.engines.base import Engine, TrainableEngine
from microgpt.feed import Pretraining
from microgpt.lab.jobs.controls import Event, TuningDials
from microgpt.rewards import judge, parse
from microgpt.rewards.builtin import answers
from microgpt.sampling import Sampling
from microgpt.training import Run, Settings
from microgpt.tuning import FineTuning, Preferences, Reference, Reinforcement, grow, sums
from microgpt.tuning.completions import MARK, complete, text
from microgpt.tuning.feeds import AS_IT_IS, Tuning, differences
from microgpt.tuning.optimum import optimum

REWARDS = ("vowel", "length:5", "has:z", "like:world")
SUMS, PAIRS, EXAMPLES = "sums", "pairs", "examples"  # what else there is to learn from
FRONTIER = 4000  # documents of the reference that the frontier is computed from
EFFECTIVE = 100  # below so many the frontier is not known
WRITTEN = 12  # documents shown
FRAME = 0.05  # seconds between two events, at least
SHARE = 5  # seconds between two looks, for each that a look takes
BASE = Settings(steps=1000, lr=0.01)  # of the model that learns sums first
SIZES = {"n_embd": 32, "block_size": 10}
ASK = ">"
MORE = ASK + "123456789"  # characters that a model of names may lack
LONGEST = 9  # letters of a name that is asked about
EXAMPLED = 2000  # names, of which a tenth is held out, and as much for validation


def tune(
    question: Event, controls: TuningDials, checkpoint: Checkpoint
) -> Iterator[Event | float | Checkpoint]:
    """Tune a model and show what happens; whenever it rests, yield the model as it is then."""
    name = question.pop("reward", REWARDS[0])
    first = {"beta": 0.05, "lr": 0.003, "replay": 0}
    controls.begin({dial: question.pop(dial, value) for dial, value in first.items()})
    dials = controls.turned
    settings = Settings(question.pop("steps", 200), dials["lr"], Adam(beta1=0.9))
    if name == SUMS:
        checkpoint = yield from _base(question.get("seed", 42))
    if name == EXAMPLES:
        checkpoint = grow(checkpoint, MORE)
    reference = Reference("the model before", checkpoint)
    feed = _feed(name, reference, question)
    run: Run[Any] = Run(feed, settings, start=reference.checkpoint)
    yield {
        "engine": run.engine_name,
        "n_params": run.config.n_params,
        "steps": run.settings.steps,
        "frontier": frontier(reference, feed) if name in REWARDS else [],
    }
    yield from _watch(run, controls)
    yield {"done": True}


def _base(seed: int) -> Generator[Event, None, Checkpoint]:
    """Train a model on sums half of which are wrong; yield how far it is, return it."""
    data = dataset.of(sums.noisy(seed))
    run = Run(Pretraining(data, 32, seed=seed), BASE, sizes=SIZES)
    for progress in run.advance():
        yield {"preparing": progress.step / run.settings.steps}
    return run.model().checkpoint


def _feed(name: str, reference: Reference, question: Event) -> Tuning:
    fed = {key: question.pop(key) for key in ("batch", "seed") if key in question}
    pairs = question.pop("pairs", [])
    if question:
        raise ValueError(f"there is no setting {next(iter(question))!r}")
    if name == PAIRS:
        lines = [f"{chosen}\t{rejected}" for chosen, rejected in pairs]
        return Preferences(reference, dataset.of(lines), **fed)
    if name == SUMS:
        right = dataset.of(sums.right())
        check = answers(right.documents)
        return Reinforcement(reference, check, name, prompts=right, val=sums.HELD_OUT, **fed)
    if name == EXAMPLES:
        return Examples(reference, **fed)
    if name not in REWARDS:
        there = ", ".join((*REWARDS, SUMS, PAIRS, EXAMPLES))
        raise ValueError(f"there is no reward {name!r}; there are {there}")
    return Reinforcement(reference, parse(name), name, **fed)


class Examples(FineTuning):
    """Names as questions, `emma>`, with their answers, `e4`; and the names that a model knows.

    Each step it measures both, on names held out: what is learned, and what is forgotten.
    """

    on_policy = True  # what it measures depends on the engine

    def __init__(self, reference: Reference, batch: int = 64, seed: int = 42) -> None:
        old = dataset.load("world")
        names = [name for name in old.documents if len(name) <= LONGEST]
        parts = dataset.split(random.Random(seed).sample(names, EXAMPLED), sums.HELD_OUT)
        data = dataset.of([example(name) for name in parts.train])
        super().__init__(data, reference, batch, seed=seed, replay=0.5, old=old, old_val=0.1)
        self.kept = [self.encode(name) for name in parts.test]
        self.asked = [self.encode(example(name)) for name in parts.test]
        self.questions = [f"{name}{ASK}" for name in parts.test]
        self.beta = 0.0  # a dial of other feeds
        self.seen: dict[str, float] = {}

    def batch(self, step: int, engine: Engine | None = None) -> tuple[Batch, Weights | None]:
        """Measure the model; return the documents of a step."""
        assert isinstance(engine, TrainableEngine)
        self.seen = {
            "kept": engine.loss(self.kept),
            "asked": engine.loss(self.asked, self.weigh(self.asked)),
        }
        return super().batch(step, engine)

    def measures(self) -> dict[str, float]:
        """Return the loss on plain names and on answers, both held out (nats/token)."""
        return self.seen


def example(name: str) -> str:
    """Return a name as an example: the first letter and the length are the answer."""
    return f"{name}{ASK}{MARK}{name[0]}{len(name)}"


def frontier(reference: Reference, feed: Tuning) -> list[list[float]]:
    """Return the most reward that each KL can buy, [KL, reward, beta], as far as it is known."""
    checkpoint = reference.checkpoint
    engine = engines.create(engines.default(), checkpoint.config, checkpoint.state)
    written = complete(engine, [], FRONTIER, 1, AS_IT_IS)
    assert feed.reward
    earned = judge(feed.reward, [text(document, feed.tokenizer) for document in written])
    points = []
    for i in range(60):
        beta = 10 ** (1 - i / 20)  # 10 to 0.01
        best = optimum(earned, beta)
        if best.effective >= EFFECTIVE:
            points.append([best.kl, best.reward, beta])
    return points


def _watch(run: Run[Any], controls: TuningDials) -> Iterator[Event | float | Checkpoint]:
    """Take the steps of a run as its controls allow, and show it now and then."""
    look, steps = Look(run), run.advance()
    seen: list[dict[str, float]] = []
    yield look(force=True)
    rested, sent = 0, 0.0
    while not run.finished:
        if seconds := controls.take(0.0):
            if seconds == math.inf and rested != run.step:
                rested = run.step  # it has just been paused
                yield {"step": rested, "seen": seen} | look(force=True)
                yield run.checkpoint().model()
                seen = []
            else:
                yield seconds
            continue
        run.settings = replace(run.settings, lr=controls.turned["lr"])
        for dial in ("beta", "replay"):
            setattr(run.feed, dial, controls.turned[dial])
        seen.append(next(steps).measures)
        if time.monotonic() - sent > FRAME and not run.finished:
            yield {"step": run.step, "seen": seen} | look()
            seen, sent = [], time.monotonic()
    yield {"step": run.step, "seen": seen} | look(force=True)
    yield run.checkpoint().model()


class Look:
    """Looks now and then at what a run writes: documents, and the sums that it gets right."""

    def __init__(self, run: Run[Any]) -> None:
        self.run, self.next = run, 0.0

    def __call__(self, force: bool = False) -> Event:
        """Return what is to be seen now; nothing where the last look was a moment ago."""
        began = time.monotonic()
        if not force and began < self.next:
            return {}
        seen = {"written": self._written()}
        if self.run.feed.name == SUMS:
            seen["sums"] = self._sums()
        ended = time.monotonic()
        self.next = ended + max(FRAME, SHARE * (ended - began))
        return seen

    def _written(self) -> list[list[Any]]:
        """Return documents, the same draws each time, and log p - log p of the reference."""
        run, feed = self.run, self.run.feed
        batch: Batch
        if feed.questions:
            asked = [feed.tokenizer.ids(prompt) for prompt in feed.questions[:WRITTEN]]
            batch = [complete(run.engine, ids, 1, 1, AS_IT_IS)[0] for ids in asked]
        else:
            batch = complete(run.engine, [], WRITTEN, 1, AS_IT_IS)
        ratios = differences(batch, run.engine.losses(batch), feed.reference.losses(batch))
        return [
            [text(document, feed.tokenizer), sum(row)]
            for document, row in zip(batch, ratios, strict=True)
        ]

    def _sums(self) -> list[list[int]]:
        """Return for each problem, row by row, whether its likeliest answer is right, and held out.

        A number is 1 where the answer is right, 2 more where the problem was held out.
        """
        run, feed = self.run, self.run.feed
        held_out, greedy = set(feed.questions), Sampling(temperature=0)
        shown = []
        for problem in sums.problems():
            ids = feed.tokenizer.ids(problem)
            (written,) = complete(run.engine, ids, 1, 0, greedy)
            (right,) = feed.reward([text(written, feed.tokenizer)])
            shown.append(int(right) + 2 * (problem in held_out))
        across = len(sums.NUMBERS)
        return [shown[i : i + across] for i in range(0, len(shown), across)]
