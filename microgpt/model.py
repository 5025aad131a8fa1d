"""A trained model with its vocabulary: what one samples from, scores with, saves and loads."""

import math
import os
import random
from dataclasses import dataclass
from typing import Any

from microgpt import engines
from microgpt.bigram import Bigram
from microgpt.checkpoint import Checkpoint
from microgpt.sampling import Sampling, sample, sample_many
from microgpt.tokenizer import Tokenizer


@dataclass(frozen=True)
class Score:
    """How likely a document is, token by token; losses are -log p (nats)."""

    text: str
    tokens: list[str]  # the characters, and "" for the BOS that ends the document
    losses: list[float]  # the model's
    uniform: float  # of knowing nothing, the same for each token
    bigram: list[float] | None  # of the table of pairs in the training data, where it is known

    @property
    def loss(self) -> float:
        """The mean of the losses (nats/token)."""
        return sum(self.losses) / len(self.losses)

    @property
    def probability(self) -> float:
        """The probability of the whole document."""
        return math.exp(-sum(self.losses))


class Model:
    """A model on an engine. Raises ValueError where the engine cannot run it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Take the model in a checkpoint; engine is the best there is by default."""
        self.checkpoint = checkpoint
        self.config, self.training = checkpoint.config, checkpoint.training
        self.tokenizer = Tokenizer(checkpoint.vocabulary)
        self.engine_name, self.options = engine or engines.default(), options or {}
        self.engine = engines.create(
            self.engine_name, self.config, checkpoint.state, **self.options
        )
        self._rng = random.Random()
        try:  # go on where training left off: the same names follow as in gpt.py
            version, numbers, gauss = self.training["random"]
            self._rng.setstate((version, tuple(numbers), gauss))
        except (KeyError, TypeError, ValueError, OverflowError):
            pass  # a model made elsewhere, whose record says nothing of it
        self.bigram = _bigram(checkpoint)

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

    def sample(
        self,
        count: int,
        temperature: float = 0.5,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        prefix: str = "",
    ) -> list[str]:
        """Return new documents that begin with prefix.

        With a seed each document has a stream of its own. Without one they are drawn one after
        another by the run's own generator, from where training left it: those of gpt.py.

        Raises:
            ValueError: a setting is outside its range, or the prefix cannot be read.
        """
        sampling, ids = Sampling(temperature, top_k, top_p), self.tokenizer.ids(prefix)
        if count < 0:
            raise ValueError(f"count is {count}; it must be 0 or more")
        if seed is not None and not 0 <= seed < 2**64:
            raise ValueError(f"seed is {seed}; it must be 0 or more, and less than 2**64")
        if seed is not None:
            documents = sample_many(self.engine, count, seed, sampling, ids)
        else:
            documents = [sample(self.engine, self._rng, sampling, ids) for _ in range(count)]
        return [self.tokenizer.decode(tokens) for tokens in documents]

    def score(self, text: str) -> Score:
        """Return how likely the model holds a document, as far as block_size lets it read.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        tokens = self.tokenizer.encode(text)[: self.config.block_size + 1]
        logits = self.engine.inspect(tokens[:-1])["logits"].tolist()
        return Score(
            text,
            [*text, ""][: len(tokens) - 1],
            [_surprise(row, token) for row, token in zip(logits, tokens[1:], strict=True)],
            math.log(self.config.vocab_size),
            self.bigram.losses(tokens) if self.bigram else None,
        )


def _surprise(logits: list[float], token: int) -> float:
    """Return -log p(token) (nats), finite however unlikely the token."""
    largest = max(logits)
    return math.log(sum(math.exp(z - largest) for z in logits)) + largest - logits[token]


def _bigram(checkpoint: Checkpoint) -> Bigram | None:
    """Return the table that the training record holds, if it holds a sound one."""
    config = checkpoint.config
    try:
        counts = {(a, b): count for a, b, count in checkpoint.training["bigrams"]}
        tokens = range(config.vocab_size)
        if all(a in tokens and b in tokens and n > 0 for (a, b), n in counts.items()):
            return Bigram(config.vocab_size, config.block_size, counts)
    except (KeyError, TypeError, ValueError):
        pass
    return None
