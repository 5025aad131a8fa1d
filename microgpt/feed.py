"""What a run learns from: a feed gives it the batch of each step, and the documents held out.

Pretraining is the first feed. Another way to train is another feed: it chooses the documents and
weighs their positions, and may sample them from the model as it is now. Runs and engines stay as
they are.
"""

import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from microgpt.checkpoint import Checkpoint
from microgpt.config import number, whole
from microgpt.dataset import UNNAMED, Dataset, load, parts
from microgpt.documents import Batch, Document, Weights
from microgpt.engines.base import Engine
from microgpt.tokenizer import Tokenizer, Vocabulary, create

T = TypeVar("T")


class Feed(Protocol):
    """What a run learns from; a subclass inherits what it does not set."""

    tokenizer: Tokenizer
    rng: random.Random  # all that is random in the run: the feed draws first, then Run.__init__
    batch_size: int  # documents a step
    on_policy: bool = False  # whether a batch depends on the engine; a run then steps one by one
    documents: Sequence[Document] = ()  # to learn from, where they are known beforehand
    val: Sequence[Document] = ()  # held out to choose by
    test: Sequence[Document] = ()  # held out to report on

    def batch(self, step: int, engine: Engine) -> tuple[Batch, Weights | None]:
        """Return the documents of a step, counted from 0, and the weights of their positions.

        A run asks for each step once, in order.
        """

    def weigh(self, batch: Batch) -> Weights | None:
        """Return how much the positions of held-out documents count; all the same by default."""
        return None

    def measures(self) -> dict[str, float]:
        """Return what there is to watch of the last batch, where a loss says little."""
        return {}

    def record(self) -> dict[str, Any]:
        """Return what the feed is, as JSON; "kind" names it, "data" says where documents lie."""

    def state(self) -> dict[str, Any]:
        """Return how far the feed has come, as JSON; `rng` is not part of it."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        return


class Pretraining(Feed):
    """Documents in an order drawn once, round and round, every position of the same weight.

    Args:
        dataset: the documents.
        batch: documents a step.
        val: share of the unique documents held out for validation, and again for test.
        seed: of the order of the documents, the first parameters, and the names at the end.
        vocabulary: that of the model to go on with, or how many tokens of byte pairs to learn from
            what is not held out; every character of the documents by default.

    Raises:
        ValueError: a setting is outside its range, the documents are too few to hold some out, or
            hold a character that is not in the vocabulary.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int = 1,
        val: float = 0.0,
        seed: int = 42,
        vocabulary: Vocabulary | int | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = whole("batch", batch, least=1)
        self.seed = whole("seed", seed, least=0)
        self.fraction = number("val", val)
        if not 0 <= self.fraction < 0.5:
            raise ValueError(f"val is {val}; it must be at least 0 and less than 0.5")
        self.rng = random.Random(self.seed)
        found = parts(dataset, self.fraction)
        learned = found.train if isinstance(vocabulary, int) else dataset.documents
        self.tokenizer = create(vocabulary, learned)
        self.rng.shuffle(found.train)
        self.documents, self.val, self.test = (
            [self.encode(document) for document in part]
            for part in (found.train, found.val, found.test)
        )

    @classmethod
    def of(cls, checkpoint: Checkpoint, dataset: Dataset | None = None) -> "Pretraining":
        """Return the feed of the run that made a checkpoint, from its documents wherever they are.

        Raises:
            OSError: the documents are not where they were.
            ValueError: the record of the run names no documents, or they are not the same now.
        """
        try:
            record = checkpoint.training["feed"]
            if record["kind"] != "pretraining":
                raise ValueError(f"its feed is {record['kind']!r}, which must be given again")
            if dataset is None and record["data"] in UNNAMED:
                raise ValueError(f"its documents came from {record['data']}; give them again")
            dataset = dataset or load(record["data"])
            if dataset.sha256 != record["sha256"]:
                raise ValueError(
                    f"{dataset.name} is not what the run began with: its sha256 differs"
                )
            settings = record["batch"], record["val"], record["seed"]
            return cls(dataset, *settings, checkpoint.vocabulary)
        except (KeyError, TypeError) as error:
            raise ValueError(f"its record does not say what it learned from: {error!r}") from None

    def encode(self, document: str) -> Document:
        """Return a text as a document; raises ValueError where the vocabulary lacks a character."""
        return self.tokenizer.encode(document)

    def batch(self, step: int, engine: Engine | None = None) -> tuple[Batch, Weights | None]:
        """Return the documents of a step: the same ones for every call."""
        return cycle(self.documents, step * self.batch_size, self.batch_size), None

    def record(self) -> dict[str, Any]:
        """Return where the documents are and how they are used."""
        return {
            "kind": "pretraining",
            "data": self.dataset.name,
            "sha256": self.dataset.sha256,
            "batch": self.batch_size,
            "val": self.fraction,
            "seed": self.seed,
        }


def cycle(items: Sequence[T], first: int, count: int) -> list[T]:
    """Return so many items from the first on, round and round.

    >>> cycle("abc", 5, 4)
    ['c', 'a', 'b', 'c']
    """
    first %= max(1, len(items))
    taken = [*items[first : first + count]]
    while len(taken) < count:
        taken += items[: count - len(taken)]
    return taken
