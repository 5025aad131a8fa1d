"""From logits to a token, and from tokens to a document: one way, for every engine."""

import math
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from microgpt import gpt
from microgpt.config import GPTConfig, number, whole
from microgpt.engines.base import BulkEngine, Engine


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen; the defaults are those of gpt.py.

    Raises:
        ValueError: a setting is outside its range.
    """

    temperature: float = 0.5  # logits are divided by it; 0 takes the likeliest token always
    top_k: int | None = None  # choose among the k likeliest tokens only
    top_p: float | None = None  # among the likeliest that together reach probability p

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperature", number("temperature", self.temperature))
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be 0 or more, and finite")
        if self.top_k is not None:
            object.__setattr__(self, "top_k", whole("top-k", self.top_k, least=1))
        if self.top_p is not None:
            object.__setattr__(self, "top_p", number("top-p", self.top_p))
            if not 0 < self.top_p <= 1:
                raise ValueError(f"top-p is {self.top_p}; it must be more than 0 and at most 1")


class Generator(Protocol):
    """A source of uniform numbers; random.Random is one."""

    def random(self) -> float:
        """Return the next number in [0, 1), a multiple of 2**-53."""


class Stream:
    """The generator of one name among many: SplitMix64 (Steele, Lea & Flood 2014), cheap to seed.

    Name i of a seed has a stream of its own, so names can be made in any order, many at a time.
    """

    def __init__(self, seed: int, i: int) -> None:
        self._state = _mix(_mix(seed) + i)

    def random(self) -> float:
        """Return the next number in [0, 1), a multiple of 2**-53."""
        self._state += 0x9E3779B97F4A7C15
        return (_mix(self._state) >> 11) * 2.0**-53


def _mix(z: int) -> int:
    z &= 0xFFFFFFFFFFFFFFFF
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return z ^ (z >> 31)


def probabilities(logits: Sequence[float], sampling: Sampling) -> list[float]:
    """Return the probability of each token, zeros for those that may not be chosen (sum 1)."""
    if sampling.temperature == 0:
        return [float(i == logits.index(max(logits))) for i in range(len(logits))]
    probs = [p.data for p in gpt.softmax([gpt.Value(z) / sampling.temperature for z in logits])]
    likeliest = sorted(range(len(probs)), key=lambda token: -probs[token])  # ties: the first
    kept = likeliest[: sampling.top_k]
    if sampling.top_p is not None and sampling.top_p < 1:
        reached = accumulate(probs[token] for token in kept)
        kept = kept[: sum(mass < sampling.top_p * sum(probs) for mass in reached) + 1]
    if len(kept) == len(probs):
        return probs
    total = sum(probs[token] for token in kept)
    allowed = set(kept)
    return [p / total if token in allowed else 0.0 for token, p in enumerate(probs)]


def choose(probs: Sequence[float], rng: Generator) -> int:
    """Return a token drawn by its probability: one number of rng, as random.choices takes it."""
    edges = list(accumulate(probs))
    return bisect(edges, rng.random() * edges[-1], 0, len(probs) - 1)


def draw(
    engine: Engine, rng: Generator, sampling: Sampling, prefix: Sequence[int] = ()
) -> Iterator[tuple[int, list[float]]]:
    """Yield the tokens that follow a prefix, BOS the last, and the probabilities of each choice.

    No BOS comes where the document fills block_size.

    Raises:
        ValueError: the prefix is longer than block_size.
    """
    check_prefix(engine.config, prefix)
    token = bos = engine.config.vocab_size - 1
    engine.reset()
    for following in prefix:
        engine.step(token)
        token = following
    for _ in range(engine.config.block_size - len(prefix)):
        probs = probabilities(engine.step(token).tolist(), sampling)
        token = choose(probs, rng)
        yield token, probs
        if token == bos:
            return


def sample(
    engine: Engine, rng: Generator, sampling: Sampling, prefix: Sequence[int] = ()
) -> list[int]:
    """Return a document's tokens without BOS: the prefix, and what the model makes of it.

    Raises:
        ValueError: the prefix is longer than block_size.
    """
    bos = engine.config.vocab_size - 1
    drawn = [token for token, _ in draw(engine, rng, sampling, prefix)]
    return [*prefix, *(token for token in drawn if token != bos)]


def sample_many(
    engine: Engine, count: int, seed: int, sampling: Sampling, prefix: Sequence[int] = ()
) -> list[list[int]]:
    """Return `count` documents, each from its own stream of the seed; raises as sample does."""
    if isinstance(engine, BulkEngine):
        check_prefix(engine.config, prefix)
        s = sampling
        return engine.sample_many(count, seed, s.temperature, s.top_k, s.top_p, prefix)
    return [sample(engine, Stream(seed, i), sampling, prefix) for i in range(count)]


def check_prefix(config: GPTConfig, prefix: Sequence[int]) -> None:
    """Raise ValueError unless the model can see all of a prefix."""
    if len(prefix) > config.block_size:
        raise ValueError(
            f"the prefix has {len(prefix)} tokens; the model can see {config.block_size}"
        )


def fresh_seed() -> int:
    """Return a seed that nobody chose, short enough to be typed again."""
    return random.SystemRandom().randrange(2**32)
