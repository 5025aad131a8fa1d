"""Feeds of running text: windows of it at random, or one after another from a stream.

A window is BOS and the next block_size tokens, so a model can begin anywhere, as sampling does. A
newline is a token like others; a BOS also comes before each document but the first. What is held
out is the end of the text, by characters.
"""

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self, overload

from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.config import number, whole
from microgpt.corpus import Corpus, Piece, Survey
from microgpt.dataset import Dataset
from microgpt.documents import Batch, Document, Weights
from microgpt.engines.base import Engine
from microgpt.feed import Feed, Pretraining
from microgpt.sampling import Stream
from microgpt.tokenizer import Vocabulary, create

MOST = 10_000  # windows of each part of a stream that are kept in memory


class Windows(Sequence[Document]):
    """The windows of some tokens, one after another, none of them kept."""

    def __init__(self, tokens: "array[int]", size: int, bos: int) -> None:
        self.tokens, self.size, self.bos = tokens, size, bos

    def __len__(self) -> int:
        return max(1, len(self.tokens) // self.size)

    @overload
    def __getitem__(self, i: int) -> Document: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[Document]: ...
    def __getitem__(self, i: int | slice) -> Document | Sequence[Document]:
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(len(self)))]
        return self.at(range(len(self))[i] * self.size)

    def at(self, start: int) -> Document:
        """Return the window that begins with a token."""
        return [self.bos, *self.tokens[start : start + self.size]]


class RunningText(Feed):
    """Windows at random, of text that fits the memory: those of a step depend on the seed alone.

    Args:
        corpus: the text.
        block_size: that of the model.
        batch: windows a step.
        val: share of the text held out for validation, and again for test.
        seed: of the windows, the first parameters, and the texts at the end.
        vocabulary: as for Pretraining.
        survey: what is known of the text, if it was read before.

    Raises:
        OSError: a file cannot be read.
        ValueError: a setting is outside its range, the text is too short, or is not text.
    """

    kind = "windows"
    documents: Windows

    def __init__(
        self,
        corpus: Corpus,
        block_size: int,
        batch: int = 1,
        val: float = 0.0,
        seed: int = 42,
        vocabulary: Vocabulary | int | None = None,
        survey: Survey | None = None,
    ) -> None:
        self.corpus, self.block_size = corpus, whole("block_size", block_size, least=1)
        self.batch_size = whole("batch", batch, least=1)
        self.seed = whole("seed", seed, least=0)
        self.fraction = number("val", val)
        if not 0 <= self.fraction < 0.5:
            raise ValueError(f"val is {val}; it must be at least 0 and less than 0.5")
        self.survey = survey or corpus.survey()
        if not self.survey.characters:
            raise ValueError(f"{corpus.name} holds no text")
        if vocabulary is None:
            vocabulary = self.survey.alphabet
        self.tokenizer = create(vocabulary, (piece.text for piece in self._part("train")))
        self.rng = random.Random(self.seed)
        self.dataset = Dataset(corpus.name, (), self.survey.sha256)
        self._read()

    @classmethod
    def of(cls, checkpoint: Checkpoint, corpus: Corpus | None = None) -> Self:
        """Return the feed of the run that made a checkpoint, from its text wherever it is.

        Raises:
            OSError: the text is not where it was.
            ValueError: the record of the run names no text, or it is not the same now.
        """
        try:
            record = checkpoint.training["feed"]
            corpus = corpus or Corpus(record["data"])
            survey = cls._known(corpus, record)
            settings = record["batch"], record["val"], record["seed"]
            size = checkpoint.config.block_size
            return cls(corpus, size, *settings, checkpoint.vocabulary, survey)
        except (KeyError, TypeError) as error:
            raise ValueError(f"its record does not say what it learned from: {error!r}") from None

    def batch(self, step: int, engine: Engine | None = None) -> tuple[Batch, Weights | None]:
        """Return the windows of a step: the same ones for every call."""
        rng, tokens = Stream(self.seed, step), self.documents.tokens
        places = max(1, len(tokens) - self.block_size + 1)
        starts = (int(rng.random() * places) for _ in range(self.batch_size))
        return [self.documents.at(start) for start in starts], None

    def record(self) -> dict[str, Any]:
        """Return where the text is and how it is used."""
        return {
            "kind": self.kind,
            "data": self.corpus.name,
            "sha256": self.survey.sha256,
            "characters": self.survey.characters,
            "bytes": self.corpus.size,
            "batch": self.batch_size,
            "val": self.fraction,
            "seed": self.seed,
        }

    @staticmethod
    def _known(corpus: Corpus, record: dict[str, Any]) -> Survey:
        """Return the survey of a corpus, which must be that of a record."""
        survey = corpus.survey()
        if survey.sha256 != record["sha256"]:
            raise ValueError(f"{corpus.name} is not what the run began with: its sha256 differs")
        return survey

    def _read(self) -> None:
        """Take the text apart."""
        self.documents = self._windows(self._part("train"))
        if self.fraction:
            self.val, self.test = (self._windows(self._part(part)) for part in ("val", "test"))

    def _part(self, name: str) -> Iterator[Piece]:
        """Yield the pieces that begin in a part of the text: train, val or test."""
        first, place = {"train": 0.0, "val": 1 - 2 * self.fraction, "test": 1 - self.fraction}, 0
        last = {"train": 1 - 2 * self.fraction, "val": 1 - self.fraction, "test": 1.0}[name]
        for piece in self.corpus.pieces():
            if place >= last * self.survey.characters:
                return
            if place >= first[name] * self.survey.characters:
                yield piece
            place += len(piece.text)

    def _windows(self, pieces: Iterable[Piece], most: int | None = None) -> Windows:
        """Return the windows of pieces, so many at most."""
        tokens = array("I")
        for piece in pieces:
            tokens.extend(self._tokens(piece, bool(tokens)))
            if most and len(tokens) >= most * self.block_size:
                break
        if not tokens:
            raise ValueError(
                f"{self.corpus.name} is too short to hold out {self.fraction} of it twice"
            )
        return Windows(tokens, self.block_size, self.tokenizer.bos)

    def _tokens(self, piece: Piece, follows: bool) -> list[int]:
        ids = self.tokenizer.ids(piece.text)
        return [self.tokenizer.bos, *ids] if piece.begins and follows else ids


class TextStream(RunningText):
    """The same windows one after another, from files that need not fit the memory.

    Its state is its place in the stream. At the end it begins again.
    """

    kind = "stream"

    def batch(self, step: int, engine: Engine | None = None) -> tuple[Batch, Weights | None]:
        """Return the next windows."""
        return [next(self._following) for _ in range(self.batch_size)], None

    def state(self) -> dict[str, Any]:
        """Return the place of the window that comes next."""
        return self._place

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a place."""
        self._place = state
        self._following = self._stream(**state)

    @staticmethod
    def _known(corpus: Corpus, record: dict[str, Any]) -> Survey:
        """Return what a record says of a corpus, whose files must be as long as they were."""
        if corpus.size != record["bytes"]:
            raise ValueError(
                f"{corpus.name} is not what the run began with: it has {corpus.size:,} bytes, "
                f"and had {record['bytes']:,}"
            )
        return Survey(int(record["characters"]), "", str(record["sha256"]))

    def _read(self) -> None:
        """Read what is held out, and as much to count pairs in; then wait at the beginning."""
        parts = ("train", "val", "test") if self.fraction else ("train",)
        read = [self._windows(self._part(part), MOST) for part in parts]
        self.documents, *held_out = read
        if held_out:
            self.val, self.test = held_out
        self.load({"file": 0, "line": 0, "before": 0, "rest": [], "cut": 0})

    def _stream(
        self, file: int, line: int, before: int, rest: list[int], cut: int
    ) -> Iterator[Document]:
        """Yield windows from a place on, endlessly.

        Args:
            file, line: the piece that is read now.
            before: characters before it.
            rest: tokens before it that have filled no window.
            cut: windows that are already cut from the rest and the piece.
        """
        size, last = self.block_size, (1 - 2 * self.fraction) * self.survey.characters
        while True:
            found = False
            for piece in self.corpus.pieces(file, line):
                if before >= last:
                    break
                tokens = rest + self._tokens(piece, before > 0)
                windows = range(cut * size, len(tokens) - size + 1, size)
                for i, start in enumerate(windows, cut + 1):
                    self._place = {
                        "file": piece.file, "line": piece.line, "before": before,
                        "rest": rest, "cut": i,
                    }  # fmt: skip
                    found = True
                    yield [self.tokenizer.bos, *tokens[start : start + size]]
                rest = tokens[len(tokens) // size * size :]
                before, cut = before + len(piece.text), 0
            if not found and not (file or line):
                raise ValueError(
                    f"{self.corpus.name} is too short for a window of {size} tokens; "
                    "make block_size smaller"
                )
            file, line, before, rest, cut = 0, 0, 0, [], 0


FEEDS: dict[str, type[RunningText]] = {each.kind: each for each in (RunningText, TextStream)}


def of(checkpoint: Checkpoint, data: str | None = None) -> Pretraining | RunningText:
    """Return the feed of the run that made a checkpoint, whatever its kind.

    Args:
        checkpoint: the run, or its model.
        data: where the documents are, if not where they were.

    Raises:
        OSError: they are not there.
        ValueError: the record of the run names none, or they are not the same now.
    """
    record = checkpoint.training.get("feed")
    feed = FEEDS.get(str(record.get("kind"))) if isinstance(record, dict) else None
    if feed:
        return feed.of(checkpoint, Corpus(data) if data else None)
    return Pretraining.of(checkpoint, dataset.load(data) if data else None)
