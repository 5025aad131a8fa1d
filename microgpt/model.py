"""A trained model with its vocabulary: what one samples from, scores with, saves and loads."""

import math
import os
import random
import threading
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from microgpt import engines, tokenizer
from microgpt.bigram import Bigram
from microgpt.checkpoint import Checkpoint
from microgpt.config import whole
from microgpt.documents import surprises
from microgpt.sampling import Sampling, Stream, draw, sample, sample_many

TRIES = 100  # documents drawn for each one asked for, where some are excluded


@dataclass(frozen=True)
class Score:
    """How likely a document is, token by token; losses are -log p (nats)."""

    text: str
    tokens: list[str]  # the text of those read, and "" for the BOS that ends the document
    losses: list[float]  # the model's
    uniform: float  # of knowing nothing, the same for each token
    bigram: list[float] | None  # of the table of pairs in the training data, where it is known
    cut: str  # the end of the text, which block_size leaves unread

    @property
    def complete(self) -> bool:
        """Whether all was read: every character, and that the document ends there."""
        return self.tokens[-1] == ""

    @property
    def loss(self) -> float:
        """The mean of the losses (nats/token)."""
        return sum(self.losses) / len(self.losses)

    @property
    def probability(self) -> float:
        """The probability of the document, or if it is not complete, of what was read of it."""
        return math.exp(-sum(self.losses))


@dataclass(frozen=True)
class Total:
    """How likely many documents are, taken together."""

    documents: int
    tokens: int
    nats: float  # -log p of all of them

    @classmethod
    def of(cls, scores: Iterable[Score]) -> "Total":
        """Add up scores as they come.

        Raises:
            ValueError: there are none.
        """
        losses = [score.losses for score in scores]
        if not losses:
            raise ValueError("there are no documents to score")
        return cls(len(losses), sum(map(len, losses)), math.fsum(map(math.fsum, losses)))

    @property
    def loss(self) -> float:
        """The mean over all tokens (nats/token)."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """e^loss: among how many equally likely tokens a model would be as unsure."""
        return math.exp(self.loss)


class Model:
    """A trained model on an engine. Threads may share it: they take turns.

    Raises:
        ValueError: the engine cannot run it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Take the model in a checkpoint, on the best engine there is if none is named."""
        self.checkpoint = checkpoint
        self.config, self.training = checkpoint.config, checkpoint.training
        self.tokenizer = tokenizer.create(checkpoint.vocabulary, ())
        self.bigram = _bigram(checkpoint)
        feed = self.training.get("feed")
        self.endless = isinstance(feed, dict) and feed.get("kind") in ("windows", "stream")
        self.engine_name, self.options = engine or engines.default(), options or {}
        self.engine = engines.create(
            self.engine_name, self.config, checkpoint.state, **self.options
        )
        self._turn = threading.Lock()  # to use the engine, or the generator
        self._rng = random.Random()
        try:  # go on where training left off: the same names follow as in gpt.py
            version, numbers, gauss = self.training["random"]
            self._rng.setstate((version, tuple(numbers), gauss))
        except (KeyError, TypeError, ValueError, OverflowError):
            pass  # a model made elsewhere, whose record says nothing of it

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> "Model":
        """Read a model from a file; raises as Checkpoint.load does."""
        return cls(Checkpoint.load(path).model(), engine, options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, whole or not at all; raises OSError."""
        self.checkpoint.save(path)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}={size}" for name, size in asdict(self.config).items())
        return f"<Model: {sizes}; {self.config.n_params:,} parameters; engine {self.engine_name}>"

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of, here or in another process; it has its own engine."""
        return {
            "made": (self.checkpoint, self.engine_name, self.options),
            "random": self._rng.getstate(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(vars(Model(*state["made"])))
        self._rng.setstate(state["random"])

    def sample(
        self,
        count: int = 20,
        temperature: float = 0.5,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        prefix: str = "",
        exclude: Container[str] = (),
    ) -> list[str]:
        """Return new documents that begin with prefix, none of them one to exclude.

        With a seed each document has a stream of its own. Without one they are drawn one after
        another by the run's own generator, from where training left it: those of gpt.py.

        Raises:
            ValueError: a setting is outside its range, the prefix cannot be read, or nearly every
                document drawn is one to exclude.
        """
        sampling, ids = Sampling(temperature, top_k, top_p), self.tokenizer.ids(prefix)
        count = whole("count", count, least=0)
        if seed is not None and whole("seed", seed, least=0) >= 2**64:
            raise ValueError(f"seed is {seed}; it must be 0 or more, and less than 2**64")
        kept: list[str] = []
        with self._turn:
            for tokens in islice(self._endless(count, seed, sampling, ids), TRIES * count):
                text = self.tokenizer.decode(tokens)
                if text not in exclude:
                    kept.append(text)
                if len(kept) == count:
                    return kept
        if count:
            raise ValueError(
                f"of {TRIES * count} documents drawn, {len(kept)} are not excluded, "
                f"and {count} are asked for; raise the temperature, or ask for fewer"
            )
        return kept

    def write(
        self,
        tokens: int,
        sampling: Sampling | None = None,
        seed: int = 0,
        i: int = 0,
        prefix: str = "",
    ) -> str:
        """Return running text: a prefix, and so many tokens; fewer where the text ends.

        Where block_size is full, the model goes on from the last half of what it read.

        Args:
            tokens: how many follow the prefix at most.
            sampling: how each is chosen.
            seed, i: text i of a seed has a stream of its own.
            prefix: what the text begins with.

        Raises:
            ValueError: the prefix cannot be read.
        """
        written, size = self.tokenizer.ids(prefix), self.config.block_size
        most, rng = len(written) + tokens, Stream(seed, i)
        with self._turn:
            while len(written) < most:
                seen = written[len(written) - size // 2 :] if len(written) >= size else written
                for token, _ in islice(
                    draw(self.engine, rng, sampling or Sampling(), [*seen]), most - len(written)
                ):
                    if token == self.tokenizer.bos:
                        return self.tokenizer.decode(written)
                    written.append(token)
        return self.tokenizer.decode(written)

    def score(self, text: str) -> Score:
        """Return how likely the model holds a document, as far as block_size lets it read.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        size = self.config.block_size
        bos, *ids, end = self.tokenizer.encode(text)
        tokens = [bos, *ids, *([] if self.endless else [end])][: size + 1]
        with self._turn:
            logits = self.engine.inspect(tokens[:-1])["logits"].tolist()
        return Score(
            text,
            [self.tokenizer.decode([t]) if t != bos else "" for t in tokens[1:]],
            surprises(logits, tokens),
            math.log(self.config.vocab_size),
            self.bigram.losses(tokens) if self.bigram else None,
            self.tokenizer.decode(ids[size:]),
        )

    def truncate(self, documents: Iterable[str]) -> set[str]:
        """Return documents as the model reads them, each once: cut to block_size tokens."""
        return {self.tokenizer.cut(document, self.config.block_size) for document in documents}

    def _endless(
        self, count: int, seed: int | None, sampling: Sampling, prefix: list[int]
    ) -> Iterator[list[int]]:
        """Yield document after document; those of a seed in bulk, first as many as are wanted."""
        if seed is None:
            while True:
                yield sample(self.engine, self._rng, sampling, prefix)
        drawn = 0
        while True:
            yield from sample_many(self.engine, count, int(seed), sampling, prefix)[drawn:]
            drawn, count = count, 2 * count


def _bigram(checkpoint: Checkpoint) -> Bigram | None:
    """Return the table that the training record holds, if it holds a sound one."""
    config = checkpoint.config
    try:
        counts = {(a, b): count for a, b, count in checkpoint.training["bigrams"]}
        tokens = range(config.vocab_size)
        if counts and all(a in tokens and b in tokens and n > 0 for (a, b), n in counts.items()):
            return Bigram(config.vocab_size, config.block_size, counts)
    except (KeyError, TypeError, ValueError):
        pass
    return None
