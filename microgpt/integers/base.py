"""What the cartridges' arithmetics share: softmax, random numbers, a list of names, a loss.

Both compute in integers, each rule stated once, here or in the module of its cartridge; the
assembly in microgpt/snes/asm follows them bit for bit (>> rounds down):
- softmax: d = (max - z) scale >> n, so that exp(-(max - z) / T) = 2^(-d / 256) with scale = 256
  log2(e) / T; e = EXP[d & 255] >> (d >> 8), 0 from d = 4096. Then with sum = the sum of e, and
  sum' = sum >> j the first below 2^16: p = e (2^31 // sum') >> 16 >> j. 32768 is a probability of
  1.
- sample: the first i at which the running sum of e exceeds (r sum) >> 16, r the next random number.
- random numbers: xorshift on two words of 16 bits, period 2^32 - 1 (Marsaglia 2003), see `Random`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt.arrays import Array
from microgpt.config import GPTConfig
from microgpt.documents import Batch, check_batch, surprises

Integers = NDArray[np.int64]

EXP: Integers = np.rint(65535 * 2.0 ** (-np.arange(256) / 256)).astype(np.int64)
TEMPERATURES = tuple((i + 1) / 10 for i in range(15))  # what the pad can choose: 0.1 to 1.5


def exp_scale(temperature: float, unit: float = 1 / 256) -> int:
    """Return the factor that softmax takes for a temperature: 256 log2(e) / T, rounded.

    unit is what one unit of softmax's numbers is worth in nats, where it is not 1/256.
    """
    return round(65536 * unit * math.log2(math.e) / temperature)


def softmax(z: Integers, scale: int, n: int = 8) -> tuple[Integers, Integers]:
    """Return the exponentials and the probabilities (32768 = 1) of numbers (..., V)."""
    d = (z.max(axis=-1, keepdims=True) - z) * scale >> n
    exps = np.where(d < 4096, EXP[d & 255] >> np.minimum(d >> 8, 16), 0)
    total = exps.sum(axis=-1, keepdims=True)
    shift = np.maximum(bit_length(total) - 16, 0)
    reciprocal = np.minimum(65535, 2**31 // (total >> shift))
    return exps, exps * reciprocal >> 16 >> shift


class Random:
    """The console's random numbers of a seed (0 to 65535): 16 bits each, period 2^32 - 1."""

    def __init__(self, seed: int) -> None:
        if not 0 <= seed <= 0xFFFF:
            raise ValueError(f"the seed {seed} is not in 0 to 65535, four hexadecimal digits")
        self.x, self.y = seed, 0x9E37
        for _ in range(16):  # seeds that are alike begin alike: let them drift apart
            self.draw()

    def draw(self) -> int:
        """Return the next number, 0 to 65535."""
        t = (self.x ^ self.x << 5) & 0xFFFF
        self.x, self.y = self.y, self.y ^ self.y >> 1 ^ t ^ t >> 3
        return self.y


def sample(exps: Integers, r: int) -> int:
    """Return the token that the random number r (0 to 65535) falls on, given softmax's exps."""
    threshold = r * int(exps.sum()) >> 16
    return int(np.searchsorted(np.cumsum(exps), threshold, side="right"))


class IntegerModel(Protocol):
    """A cartridge's arithmetic, on B documents at once."""

    config: GPTConfig
    units: Mapping[str, Array]  # what 1 is worth in logits (nats), residual and hidden
    saturations: int  # results clamped so far

    def begin(self, batch: int) -> Any:
        """Return an empty KV cache for B documents."""

    def forward(self, tokens: Integers, position: int, cache: Any) -> dict[str, Integers]:
        """Read one token of each document (B,).

        Returns:
            logits (B, vocab_size); attention (B, n_layer, n_head, position + 1), 32768 = 1;
            residual (B, n_layer + 1, n_embd) and hidden (B, n_layer, 4 n_embd).
        """


def loss(model: IntegerModel, batch: Batch) -> float:
    """Return the loss of documents (nats/token): of the integer logits, in exact arithmetic.

    Raises:
        ValueError: the batch is empty, or a token is outside the vocabulary.
    """
    check_batch(model.config, batch, None)
    cut = [tokens[: model.config.block_size + 1] for tokens in batch]
    read = np.zeros((len(cut), max(map(len, cut)) - 1), np.int64)  # all documents side by side
    for row, tokens in zip(read, cut, strict=True):
        row[: len(tokens) - 1] = tokens[:-1]
    cache = model.begin(len(cut))
    seen = [model.forward(column, t, cache)["logits"] for t, column in enumerate(read.T)]
    logits = np.stack(seen, axis=1) * model.units["logits"]  # (B, T, vocab_size)
    pairs = zip(logits, cut, strict=True)
    return fmean(fmean(surprises(row[: len(t) - 1].tolist(), t)) for row, t in pairs)


def logits(model: IntegerModel, tokens: Sequence[int]) -> Integers:
    """Return the logits (T, vocab_size) after each of T tokens, in the model's units."""
    cache = model.begin(1)
    seen = [model.forward(np.array([token]), t, cache) for t, token in enumerate(tokens)]
    return np.concatenate([out["logits"] for out in seen])


@dataclass
class Choice:
    """One token of a list of names, and how it was chosen."""

    token: int  # read
    position: int
    chosen: int  # what came next
    drawn: int  # the random number that chose it; 0 where a prefix did
    logits: Integers = field(repr=False)  # (vocab_size), in the model's units
    probs: Integers = field(repr=False)  # (vocab_size), 32768 = 1


def generate(
    model: IntegerModel,
    seed: int,
    temperature: int = 4,
    prefix: Sequence[int] = (),
    count: int = 20,
) -> Iterator[Choice]:
    """Yield every token of a list of names, as the game makes it.

    temperature is an index of TEMPERATURES; a name's first letters are those of the prefix.
    """
    random, bos = Random(seed), model.config.vocab_size - 1
    scale = exp_scale(TEMPERATURES[temperature], float(model.units["logits"]))
    for _ in range(count):
        cache, token = model.begin(1), bos
        for position in range(model.config.block_size):
            logits = model.forward(np.array([token]), position, cache)["logits"][0]
            exps, probs = softmax(logits, scale)
            drawn = 0 if position < len(prefix) else random.draw()
            chosen = prefix[position] if position < len(prefix) else sample(exps, drawn)
            yield Choice(token, position, chosen, drawn, logits, probs)
            token = chosen
            if token == bos:
                break


def bit_length(x: Integers) -> Integers:
    """Return the bits that each number takes, 0 for 0; below 2^53."""
    return np.asarray(np.frexp(x.astype(float))[1], dtype=np.int64)
