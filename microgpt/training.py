"""The training loop, for every engine that can train. It knows no screen and no file.

    run = Run(load("names"), Settings(steps=1000))
    for progress in run.advance():
        print(progress.step, progress.losses[-1])

A run is a function of its settings and its documents: the same seed gives the same losses and, on
float engines, the same names. It can stop after any step, become a checkpoint, and be resumed from
it as if it had never stopped.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from microgpt import engines
from microgpt.bigram import Bigram
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam, GPTConfig
from microgpt.dataset import Dataset, Split, load, split
from microgpt.engines.base import initial_state
from microgpt.model import Model
from microgpt.tokenizer import Tokenizer

VALIDATIONS = 10  # how often a run looks at the held-out documents


@dataclass(frozen=True)
class Settings:
    """What a run is to do; the defaults are those of gpt.py.

    Raises:
        ValueError: a setting is outside its range.
    """

    steps: int = 1000  # Adam steps
    batch: int = 1  # documents a step
    lr: float = 0.01  # learning rate of the first step; it falls linearly to 0
    seed: int = 42  # of the order of the documents, the first parameters, and the names at the end
    val: float = 0.0  # share of the unique documents held out for validation, and again for test
    optimizer: Adam = field(default_factory=Adam)

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr is {self.lr}; it must be more than 0 and at most 1")
        if not 0 <= self.val < 0.5:
            raise ValueError(f"val is {self.val}; it must be at least 0 and less than 0.5")

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.lr * (1 - step / self.steps)


@dataclass(frozen=True)
class Progress:
    """What a run did since the last progress."""

    step: int  # steps taken since the run began
    losses: list[float]  # of the last len(losses) steps, each before its step (nats/token)
    val_loss: float | None  # on the validation documents, where it was time to look
    is_best: bool  # no val_loss of this run was lower


class Run:
    """One training run: an engine, its documents, and how far it has come."""

    def __init__(
        self,
        dataset: Dataset,
        settings: Settings | None = None,
        sizes: dict[str, int] | None = None,
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Start from fresh parameters; sizes are GPTConfig's, options the engine's own.

        Raises:
            ValueError: sizes do not fit each other, the engine cannot train, or the documents are
                too few to hold some out.
        """
        self.dataset, self.settings = dataset, settings or Settings()
        self.tokenizer = Tokenizer.of(dataset.documents)
        self.config = GPTConfig(**(sizes or {}), vocab_size=self.tokenizer.vocab_size)
        self.step = 0
        self.losses: list[float] = []  # of the steps taken by this process
        self.best_val_loss = math.inf
        # the heart's order of random draws: the documents, the parameters, then names at the end
        self.rng = random.Random(self.settings.seed)
        held_out = self.settings.val > 0
        parts = (
            split(dataset.documents, self.settings.val)
            if held_out
            else Split([*dataset.documents], [], [])
        )
        self.rng.shuffle(parts.train)
        # looking at held-out documents shall take less time than learning from the others
        affordable = max(50, self.settings.steps * self.settings.batch // (2 * VALIDATIONS))
        encode = self.tokenizer.encode
        self.train = [encode(document) for document in parts.train]
        self.val = [encode(document) for document in parts.val[:affordable]]
        self.test = [encode(document) for document in parts.test[: 5 * affordable]]
        self.bigram = Bigram.of(self.config.vocab_size, self.config.block_size, self.train)
        self.engine_name, self.options = engine or engines.default(), options or {}
        state = initial_state(self.config, self.rng)
        self.engine = engines.create_trainable(
            self.engine_name, self.config, state, self.settings.optimizer, **self.options
        )

    @classmethod
    def resume(cls, checkpoint: Checkpoint, dataset: Dataset | None = None) -> "Run":
        """Go on with the run in a checkpoint, from the documents it began with, wherever they are.

        Raises:
            OSError: the documents are not where they were.
            ValueError: it is a finished model, its record makes no sense, or the documents differ.
        """
        record = checkpoint.training
        if "adam.t" not in checkpoint.state:
            raise ValueError("it is a model, not a run that was interrupted: nothing to resume")
        try:
            dataset = dataset or load(str(record["data"]["name"]))
            if dataset.sha256 != record["data"]["sha256"]:
                raise ValueError(
                    f"{dataset.name} is not what the run began with: its sha256 differs"
                )
            settings = dict(record["settings"])
            settings["optimizer"] = Adam(**settings["optimizer"])
            sizes = {k: v for k, v in asdict(checkpoint.config).items() if k != "vocab_size"}
            run = cls(dataset, Settings(**settings), sizes, record["engine"], record["options"])
            if run.tokenizer.vocabulary != checkpoint.vocabulary:
                raise ValueError("its vocabulary is not that of the documents")
            version, numbers, gauss = record["random"]
            run.rng.setstate((version, tuple(numbers), gauss))
            run.step = int(record["step"])
            if record["best_val_loss"] is not None:
                run.best_val_loss = float(record["best_val_loss"])
            if not 0 <= run.step <= run.settings.steps:
                raise ValueError(f"step {run.step} is not one of {run.settings.steps}")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its training record cannot be used: {error!r}") from None
        run.engine.load(checkpoint.state)
        return run

    def advance(self) -> Iterator[Progress]:
        """Take the steps that are left, a few at a time; whoever iterates may stop at any yield.

        Raises:
            ValueError: the loss is no longer a finite number.
        """
        planned, size, count = self.settings.steps, self.settings.batch, len(self.train)
        period = -(-planned // VALIDATIONS)
        chunk = 1
        while self.step < planned:
            stop = min(self.step + chunk, planned, (self.step // period + 1) * period)
            steps = range(self.step, stop)
            batches = [
                [self.train[i % count] for i in range(s * size, (s + 1) * size)] for s in steps
            ]
            began = time.perf_counter()
            losses = self.engine.train(batches, [self.settings.learning_rate(s) for s in steps])
            elapsed = time.perf_counter() - began
            self.step = stop
            self.losses += losses
            val_loss, is_best = None, False
            if self.val and (stop % period == 0 or stop == planned):
                val_loss = self.engine.loss(self.val)
                is_best = val_loss < self.best_val_loss
                self.best_val_loss = min(val_loss, self.best_val_loss)
            yield Progress(stop, losses, val_loss, is_best)
            # many steps in one call keep a fast engine fast, but nobody shall wait for an answer
            chunk = 2 * chunk if elapsed < 0.03 else max(1, chunk // 2) if elapsed > 0.1 else chunk

    def checkpoint(self) -> Checkpoint:
        """Return the run as it is now: all that resume needs."""
        version, numbers, gauss = self.rng.getstate()
        training = {
            "data": {"name": self.dataset.name, "sha256": self.dataset.sha256},
            "engine": self.engine_name,
            "options": self.options,
            "settings": asdict(self.settings),
            "step": self.step,
            "best_val_loss": self.best_val_loss if self.best_val_loss < math.inf else None,
            "random": [version, list(numbers), gauss],
            "bigrams": self.bigram.record(),
        }
        return Checkpoint(self.config, self.tokenizer.vocabulary, self.engine.state(), training)

    @property
    def model(self) -> Model:
        """The model as it is now."""
        return Model(self.checkpoint().model(), self.engine_name)

    def standard(self) -> tuple[float, float]:
        """Return what the losses of knowing nothing and of the bigram table are (nats/token).

        On the test documents where some are held out, else on those of training.
        """
        return math.log(self.config.vocab_size), self.bigram.loss(self.test or self.train)

    def test_loss(self) -> float:
        """Return the model's loss on the test documents, which chose nothing (nats/token)."""
        return self.engine.loss(self.test)


def time_steps(engine: str, seconds: float = 0.5) -> tuple[float, float] | None:
    """Return µs a document at batch 1 and at batch 16, the best of what fits the seconds.

    None if the engine is missing or cannot train.
    """
    if engines.missing(engine):
        return None
    config, rng = GPTConfig(), random.Random(42)
    try:
        trained = engines.create_trainable(engine, config, initial_state(config, rng))
    except (ValueError, OSError):
        return None
    docs = [[26, *(rng.randrange(26) for _ in range(6)), 26] for _ in range(16)]
    best = []
    for size in (1, 16):
        least, steps, end = math.inf, 1, time.perf_counter() + seconds
        while time.perf_counter() < end or least == math.inf:
            began = time.perf_counter()
            trained.train([docs[:size]] * steps, [1e-4] * steps)
            elapsed = time.perf_counter() - began
            least = min(least, 1e6 * elapsed / steps / size)
            steps = min(2 * steps, 1000) if elapsed < 0.01 else steps
        best.append(least)
    return best[0], best[1]
