"""The training loop, for every engine that can train. It knows no screen and no file.

    run = Run(Pretraining(load("names")), Settings(steps=1000))
    for progress in run.advance():
        print(progress.step, progress.losses[-1])

A run is a function of its feed and its settings: the same seed gives the same losses and, on float
engines, the same names. It can stop after any step, become a checkpoint, and be resumed from it as
if it had never stopped.
"""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar

from microgpt import dataset, engines, text
from microgpt.arrays import State
from microgpt.bigram import Bigram
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam, GPTConfig, number, whole
from microgpt.documents import Document
from microgpt.engines.base import PeerLost, TrainableEngine, initial_state, process
from microgpt.feed import Feed, Pretraining
from microgpt.model import Model
from microgpt.tokenizer import Tokenizer, named

VALIDATIONS = 10  # how often a run looks at the held-out documents

AnyFeed = TypeVar("AnyFeed", bound=Feed)
Quantization = Callable[[TrainableEngine], TrainableEngine]


@dataclass(frozen=True)
class Settings:
    """How a run learns; the defaults are those of gpt.py.

    Raises:
        ValueError: a setting is outside its range.
    """

    steps: int = 1000  # Adam steps
    lr: float = 0.01  # learning rate of the first step; it falls linearly to 0
    optimizer: Adam = field(default_factory=Adam)
    warmup: int = 0  # steps over which the learning rate rises linearly to what it would be
    patience: int | None = None  # looks at the validation loss without a new best, then it stops

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole("steps", self.steps, least=1))
        object.__setattr__(self, "warmup", whole("warmup", self.warmup, least=0))
        if self.patience is not None:
            object.__setattr__(self, "patience", whole("patience", self.patience, least=1))
        object.__setattr__(self, "lr", number("lr", self.lr))
        if not 0 < self.lr <= 1:
            raise ValueError(f"lr is {self.lr}; it must be more than 0 and at most 1")
        if self.warmup > self.steps:
            raise ValueError(
                f"warmup is {self.warmup}; it must be at most steps, which is {self.steps}"
            )
        if not isinstance(self.optimizer, Adam):
            raise ValueError(f"optimizer is {self.optimizer!r}; it must be an Adam")

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rate = self.lr * (1 - step / self.steps)
        return rate * (step + 1) / self.warmup if step < self.warmup else rate


@dataclass(frozen=True)
class Progress:
    """What a run did since the last progress."""

    step: int  # steps taken since the run began
    losses: list[float]  # of the last len(losses) steps, each before its step (nats/token)
    tokens: int  # that these steps learned to predict
    val_loss: float | None  # on the validation documents, where it was time to look
    is_best: bool  # no val_loss of this run was lower
    stopped: bool  # the run is over before its last step: its patience is at an end
    measures: dict[str, float]  # what the feed says of its last batch


class Run(Generic[AnyFeed]):
    """One training run: a feed, an engine, and how far it has come."""

    def __init__(
        self,
        feed: AnyFeed,
        settings: Settings | None = None,
        engine: str | None = None,
        *,
        sizes: dict[str, int] | None = None,
        start: Checkpoint | None = None,
        options: dict[str, Any] | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        """Start from fresh parameters, or from a model's; the optimizer starts afresh.

        Args:
            feed: what it learns from.
            settings: how.
            engine: its name; the best one there is by default.
            sizes: of a fresh model, those of GPTConfig that are not the default.
            start: the model to start from, of the vocabulary that the feed has.
            options: the engine's own.
            quantization: makes the engine one that rounds, such as a QuantizationAware.

        Raises:
            ValueError: sizes do not fit each other, the feed does not fit the model, or the engine
                cannot train.
        """
        self.feed, self.settings = feed, settings or Settings()
        self.engine_name, self.options = engine or engines.default(), _plain(options or {})
        self.config, state = _first(feed, sizes, start)
        self.bigram = Bigram.of(self.config.vocab_size, self.config.block_size, feed.documents)
        self.step = 0
        self.losses: list[float] = []  # of the steps taken by this process
        self.best_val_loss = math.inf
        self.waited = 0  # looks at the validation loss since the best
        self._model: Model | None = None
        # keep validation cheaper than training
        self._hold_out(max(50, self.settings.steps * feed.batch_size // (2 * VALIDATIONS)))
        if self.settings.patience and not self.val:
            raise ValueError("patience needs documents held out for validation; set val")
        self.engine = engines.create_trainable(
            self.engine_name, self.config, state, self.settings.optimizer, **self.options
        )
        self._quantized = quantization is not None
        if quantization:
            self.engine = quantization(self.engine)

    @classmethod
    def resume(
        cls,
        checkpoint: Checkpoint,
        feed: Feed | None = None,
        steps: int | None = None,
        quantization: Quantization | None = None,
    ) -> "Run[Any]":
        """Go on with the run in a checkpoint, as it was planned or to another number of steps.

        Args:
            checkpoint: the run.
            feed: the one that the run began with; made from the record if it read files.
            steps: how many the run has in the end, if not as many as it was planned with. The
                learning rate follows the new plan, so it jumps; patience starts over.
            quantization: the one that the run began with.

        Raises:
            OSError: the documents are not where they were.
            ValueError: it is a finished model, its record makes no sense, or the feed differs.
        """
        record = checkpoint.training
        if "adam.t" not in checkpoint.state:
            raise ValueError("it is a model, not a run that was interrupted: nothing to resume")
        try:
            feed = text.of(checkpoint) if feed is None else feed
            _check_feed(feed, record["feed"])
            if record["quantized"] != (quantization is not None):
                raise ValueError("give the quantization that the run began with, or none if none")
            settings = dict(record["settings"])
            settings["optimizer"] = Adam(**settings["optimizer"])
            settings |= {} if steps is None else {"steps": steps}
            run: Run[Any] = cls(
                feed,  # type: ignore[arg-type]
                Settings(**settings),
                record["engine"],
                start=checkpoint,
                options=record["options"],
                quantization=quantization,
            )
            run._go_on(checkpoint)
            run.waited = run.waited if steps is None else 0
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"its training record cannot be used: {error!r}") from None
        return run

    def __repr__(self) -> str:
        loss = f", loss {self.losses[-1]:.4f}" if self.losses else ""
        return (
            f"<Run: step {self.step:,} of {self.settings.steps:,}{loss}; "
            f"{self.config.n_params:,} parameters; engine {self.engine_name}>"
        )

    def advance(self) -> Iterator[Progress]:
        """Take the steps that are left, and yield now and then.

        It yields after one step at first, later after as many as take some 0.05 s, and always when
        it has looked at the validation documents. The caller may leave at any yield, and come back
        with another call.

        Raises:
            ValueError: the loss is no longer a finite number.
        """
        planned = self.settings.steps
        period = -(-planned // VALIDATIONS)
        chunk = 1
        while not self.finished:
            stop = min(self.step + chunk, planned, (self.step // period + 1) * period)
            began = time.perf_counter()
            losses, tokens = self._take(range(self.step, stop))
            elapsed = time.perf_counter() - began
            due = self.val and (stop % period == 0 or stop == planned)
            val_loss, is_best = self._look() if due else (None, False)
            early, measures = self.finished and stop < planned, self.feed.measures()
            yield Progress(stop, losses, tokens, val_loss, is_best, early, measures)
            # many steps in one call keep a fast engine fast and the caller responsive; processes
            # that train together must make the same calls, whatever each one's clock says
            if not self.feed.on_policy and process().size == 1:
                chunk = 2 * chunk if elapsed < 0.03 else max(1, chunk // (1 + (elapsed > 0.1)))

    def checkpoint(self) -> Checkpoint:
        """Return the run as it is now: all that resume needs."""
        vocabulary = self.feed.tokenizer.vocabulary
        return Checkpoint(self.config, vocabulary, self.engine.state(), self.record())

    def record(self) -> dict[str, Any]:
        """Return what a checkpoint says of the run: its feed, its settings, how far it has come."""
        version, numbers, gauss = self.feed.rng.getstate()
        return {
            "feed": self.feed.record(),
            "fed": self.feed.state(),
            "engine": self.engine_name,
            "options": self.options,
            "settings": asdict(self.settings),
            "quantized": self._quantized,
            "step": self.step,
            "best_val_loss": self.best_val_loss if self.best_val_loss < math.inf else None,
            "waited": self.waited,
            "held_out": self._most,
            "random": [version, list(numbers), gauss],
            "bigrams": self.bigram.record(),
        }

    @property
    def finished(self) -> bool:
        """Whether every step was taken, or patience is at an end."""
        patience = self.settings.patience or math.inf
        return self.step >= self.settings.steps or self.waited >= patience

    @property
    def truncated(self) -> int:
        """How many documents are longer than block_size: the model does not read their ends."""
        return sum(length > self.config.block_size for length in self._lengths())

    @property
    def longest(self) -> int:
        """How many tokens the longest document has, without BOS before and after."""
        return max(self._lengths(), default=0)

    def model(self) -> Model:
        """Return the model as it is now: one and the same until the run takes another step."""
        if self._model is None:
            self._model = Model(self.checkpoint().model(), self.engine_name, self.options)
        return self._model

    def baselines(self, documents: Sequence[Document] | None = None) -> tuple[float, float]:
        """Return the losses of knowing nothing and of the bigram table (nats/token).

        Args:
            documents: what to measure on; the test documents where some are held out, else those
                of training, by default.

        Raises:
            ValueError: there are none.
        """
        documents = documents or self.test or self.feed.documents
        if not documents:
            raise ValueError("the feed holds no documents to measure on; give some")
        return math.log(self.config.vocab_size), self.bigram.loss(documents)

    def test_loss(self) -> float:
        """Return the model's loss on the test documents, which chose nothing (nats/token)."""
        return self.engine.loss(self.test, self.feed.weigh(self.test))

    def test_loss_per_character(self) -> float:
        """Return it for each character, and end, of the test documents: whatever a token is."""
        size, tokenizer = self.config.block_size, self.feed.tokenizer
        nats = math.fsum(map(math.fsum, self.engine.losses(self.test)))
        read = [tokens[1 : size + 1] for tokens in self.test]
        texts = (tokenizer.decode([t for t in each if t != tokenizer.bos]) for each in read)
        ends = sum(each.count(tokenizer.bos) for each in read)
        return nats / (ends + sum(map(len, texts)))

    def _lengths(self) -> Iterator[int]:
        parts = chain(self.feed.documents, self.feed.val, self.feed.test)
        return (len(tokens) - 2 for tokens in parts)

    def _take(self, steps: range) -> tuple[list[float], int]:
        """Take steps; return their losses, and how many positions they learned from."""
        self._model = None
        fed = [self.feed.batch(step, self.engine) for step in steps]
        batches, weights = [batch for batch, _ in fed], [each for _, each in fed]
        weighted = any(each is not None for each in weights)
        rates = [self.settings.learning_rate(step) for step in steps]
        try:
            losses = self.engine.train(batches, rates, weights if weighted else None)
        except PeerLost:
            raise
        except BaseException:  # Ctrl-C in a notebook: some of the steps were taken
            self.step = int(self.engine.state()["adam.t"])
            raise
        self.step = steps.stop
        self.losses += losses
        size = self.config.block_size
        return losses, sum(min(len(each) - 1, size) for batch in batches for each in batch)

    def _look(self) -> tuple[float, bool]:
        """Return the validation loss, and whether it is the best so far."""
        val_loss = self.engine.loss(self.val, self.feed.weigh(self.val))
        is_best = val_loss < self.best_val_loss
        self.best_val_loss = min(val_loss, self.best_val_loss)
        self.waited = 0 if is_best else self.waited + 1
        return val_loss, is_best

    def _hold_out(self, most: int) -> None:
        """Take so many documents for validation at most, and five times as many for test."""
        self._most = most
        self.val, self.test = self.feed.val[:most], self.feed.test[: 5 * most]

    def _go_on(self, checkpoint: Checkpoint) -> None:
        """Take over how far the run in a checkpoint had come."""
        record = checkpoint.training
        version, numbers, gauss = record["random"]
        self.feed.rng.setstate((version, tuple(numbers), gauss))
        self.feed.load(dict(record["fed"]))
        self.step, self.waited = int(record["step"]), int(record["waited"])
        self._hold_out(int(record["held_out"]))
        if record["best_val_loss"] is not None:
            self.best_val_loss = float(record["best_val_loss"])
        if not 0 <= self.step <= self.settings.steps:
            raise ValueError(
                f"the run has taken {self.step} steps; it cannot have {self.settings.steps} in all"
            )
        self.engine.load(checkpoint.state)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with Python's numbers in place of numpy's, as a checkpoint can hold them."""
    return {k: v.item() if hasattr(v, "item") else v for k, v in options.items()}


def _first(
    feed: Feed, sizes: dict[str, int] | None, start: Checkpoint | None
) -> tuple[GPTConfig, State]:
    """Return the config and the parameters that a run begins with."""
    if start is None:
        config = GPTConfig(**(sizes or {}), vocab_size=feed.tokenizer.vocab_size)
        return config, initial_state(config, feed.rng)
    if sizes:
        raise ValueError("a run that starts from a model has the model's sizes; give none")
    if feed.tokenizer.vocabulary != start.vocabulary:
        raise ValueError(
            "the feed has another vocabulary than the model; give it the model's, or train afresh"
        )
    return start.config, start.model().state


def _check_feed(feed: Feed, record: dict[str, Any]) -> None:
    """Raise ValueError unless a feed is that of a record; its documents may lie elsewhere now."""
    for name, value in feed.record().items():
        if name != "data" and record.get(name) != value:
            raise ValueError(f"the feed is not what the run began with: its {name} differs")


def train(
    data: str | os.PathLike[str] | Iterable[str] | None = None,
    *,
    start: Model | str | os.PathLike[str] | None = None,
    engine: str | None = None,
    dtype: str | None = None,
    n_layer: int | None = None,
    n_embd: int | None = None,
    n_head: int | None = None,
    block_size: int | None = None,
    batch: int = 1,
    val: float = 0.0,
    seed: int = 42,
    tokenizer: str | None = None,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> Run[Pretraining]:
    """Train a model to the end and return the run: its losses (nats/token), its model.

    Args:
        data: "names", "world", the path of a file of one document a line, or a list of documents.
            By default what `start` learned from; without a start, the published names where they
            can be had, else the built-in ones.
        start: a model, or its file, to go on from; by default a fresh one.
        engine: its name; the best one there is by default.
        dtype: float32 or float64, where the engine has both.
        n_layer, n_embd, n_head, block_size: the sizes of a fresh model, by default GPTConfig's.
        batch, val, seed: documents a step, the share held out, and the seed, as in Pretraining.
        tokenizer: of a fresh model: "characters" (the default), "bpe:N" to learn N tokens of byte
            pairs, or the path of a tokenizer.json.
        options: the engine's own.
        settings: those of Settings: steps, lr, optimizer, warmup, patience.

    Raises:
        OSError: the documents or the model cannot be read.
        TypeError: there is no such setting, or a document is not a string.
        ValueError: the documents, a size or a setting cannot be used.
    """
    if isinstance(start, str | os.PathLike):
        start = Model.load(start)
    if not isinstance(start, Model | None):
        raise TypeError(f"start is {start!r}; it must be a Model or the path of one")
    begun = start.checkpoint if start else None
    if begun and tokenizer:
        raise ValueError("a run that starts from a model has the model's tokenizer; give none")
    vocabulary = begun.vocabulary if begun else named(tokenizer or Tokenizer.name)
    sizes = {"n_layer": n_layer, "n_embd": n_embd, "n_head": n_head, "block_size": block_size}
    run = Run(
        Pretraining(_documents(data, begun), batch, val, seed, vocabulary),
        Settings(**settings),
        engine,
        sizes={name: size for name, size in sizes.items() if size is not None},
        start=begun,
        options=(options or {}) | ({"dtype": dtype} if dtype else {}),
    )
    for _ in run.advance():
        pass
    return run


def _documents(
    data: str | os.PathLike[str] | Iterable[str] | None, start: Checkpoint | None
) -> dataset.Dataset:
    """Return the documents that train is to learn from."""
    if data is None:
        return Pretraining.of(start).dataset if start else dataset.default()
    if isinstance(data, str | os.PathLike):
        return dataset.load(os.fspath(data))
    if not isinstance(data, Iterable):
        raise TypeError(f"data is {data!r}; it must be a name, a path or a list of strings")
    return dataset.of([*data])
