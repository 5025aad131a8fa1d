"""What a model reads and learns from: documents, batches of them, and the checks they must pass.

A document is a list of token ids: each token but the last is read, each but the first is a target.
Which ids mark where a text begins and ends is the business of who makes the documents.
"""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Protocol

Document = Sequence[int]
Batch = Sequence[Document]
Weights = Sequence[Sequence[float]]  # for each document, a number for each of its positions
MOST_LOSS = 745.0  # nats: a probability below is 0 in a float64, and gpt.py cannot take its log


class Sizes(Protocol):
    """What a model can read; every config says so."""

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""

    @property
    def block_size(self) -> int:
        """How many positions the model can see."""


def check_tokens(config: Sizes, tokens: Document) -> None:
    """Raise ValueError unless there is at least one token and each is in the vocabulary."""
    if not len(tokens):
        raise ValueError("there are no tokens; give at least one")
    for token in tokens:
        if not isinstance(token, Integral) or not 0 <= token < config.vocab_size:
            raise ValueError(
                f"token {token} is not in the vocabulary: 0 to {config.vocab_size - 1}"
            )


def check_context(config: Sizes, count: int) -> None:
    """Raise ValueError unless the model can read so many tokens of one document."""
    if count > config.block_size:
        raise ValueError(
            f"{count} tokens do not fit block_size {config.block_size}; "
            "give fewer, or reset() to begin another document"
        )


def check_batch(config: Sizes, batch: Batch, weights: Weights | None = None) -> None:
    """Raise ValueError unless the batch can be trained on, with a weight for every position."""
    if not len(batch):
        raise ValueError("the batch is empty; give at least one document")
    for tokens in batch:
        check_tokens(config, tokens)
        if len(tokens) < 2:
            raise ValueError(
                f"the document {list(tokens)} has no next token to learn; give two tokens or more"
            )
    if weights is not None:
        lengths = [min(len(tokens) - 1, config.block_size) for tokens in batch]
        if [len(row) for row in weights] != lengths:
            raise ValueError(f"weights must hold a list for each document, of {lengths} numbers")


def diverged() -> ValueError:
    """Return what every engine raises when a loss is infinite or NaN."""
    return ValueError("the loss is no longer a finite number; lower lr")


def check_training(
    config: Sizes,
    batches: Sequence[Batch],
    learning_rates: Sequence[float],
    weights: Sequence[Weights | None] | None,
) -> None:
    """Raise ValueError unless every step of train can be taken, before any is."""
    counts = [len(batches), len(learning_rates), len(batches if weights is None else weights)]
    if len(set(counts)) > 1:
        raise ValueError(f"batches, learning_rates and weights differ in length: {counts}")
    if not all(math.isfinite(lr) for lr in learning_rates):
        raise ValueError("learning_rates must be finite numbers")
    for i, batch in enumerate(batches):
        check_batch(config, batch, weights[i] if weights is not None else None)


def surprises(logits: Sequence[Sequence[float]], tokens: Document) -> list[float]:
    """Return -log p of each token of a document but the first (nats), finite however unlikely.

    Args:
        logits: (T, vocab_size), those after each token but the last.
        tokens: the document, (T + 1,).
    """
    return [_surprise(row, token) for row, token in zip(logits, tokens[1:], strict=True)]


def _surprise(logits: Sequence[float], token: int) -> float:
    largest = max(logits)
    return math.log(sum(math.exp(z - largest) for z in logits)) + largest - logits[token]
