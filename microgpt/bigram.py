"""The table that a language model has to beat: how often each token follows each other one."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise


class Bigram:
    """Counts of token pairs; each pair counts one more than it was seen, so none is impossible.

    A document is a list of token ids [BOS, ..., BOS], read as far as a model of block_size would.
    """

    def __init__(
        self, vocab_size: int, block_size: int, counts: dict[tuple[int, int], int]
    ) -> None:
        self.vocab_size, self.block_size, self.counts = vocab_size, block_size, counts
        self._totals: Counter[int] = Counter()
        for (token, _), count in counts.items():
            self._totals[token] += count

    @classmethod
    def of(cls, vocab_size: int, block_size: int, documents: Iterable[Sequence[int]]) -> "Bigram":
        """Count the pairs of documents."""
        pairs = (pair for tokens in documents for pair in pairwise(tokens[: block_size + 1]))
        return cls(vocab_size, block_size, dict(Counter(pairs)))

    def losses(self, tokens: Sequence[int]) -> list[float]:
        """Return -log p(next token) at each position of a document (nats)."""
        return [
            -math.log((self.counts.get(pair, 0) + 1) / (self._totals[pair[0]] + self.vocab_size))
            for pair in pairwise(tokens[: self.block_size + 1])
        ]

    def loss(self, documents: Sequence[Sequence[int]]) -> float:
        """Return the mean over documents of their mean loss (nats/token), as an engine does."""
        means = [sum(each) / len(each) for each in map(self.losses, documents)]
        return sum(means) / len(means)

    def record(self) -> list[list[int]]:
        """Return the counts as JSON can hold them: [token, next token, count] for each pair."""
        return [[a, b, count] for (a, b), count in sorted(self.counts.items())]
