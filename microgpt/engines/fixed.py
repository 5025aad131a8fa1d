"""The integer models: what the cartridges compute, each rule of their arithmetic stated once.

A number is a 16-bit integer that stands for itself / 2^n: Qm.n has m bits before the point, the
sign among them, and n behind it. The cartridges use Q8.8. Products and sums have 32 bits. Whatever
does not fit its register is clamped, and counted in `saturations`; what is not clamped cannot
overflow, by the limits that `check_range` sets to the weights.

The rules, which microgpt/snes/asm follows bit for bit (>> rounds down):
- linear: (sum of w x + 2^(n-1)) >> n, clamped. Sum of vectors: clamped.
- rmsnorm: mean = (sum of x^2, at most 2^32 - 1) // n_embd + eps; eps is 1e-5, 1 at the least. With
  mean = m 4^k, m from 2^14 to 2^16, 1 / sqrt(mean) is RSQRT[m >> 8] / 2^(23 + k). The magnitude of
  x is multiplied by it, shifted so that 8 bits too many are left, rounded by + 128, and the sign
  put back.
- softmax: d = (max - z) scale >> n, so that exp(-(max - z) / T) = 2^(-d / 256) with scale = 256
  log2(e) / T; e = EXP[d & 255] >> (d >> 8), 0 from d = 4096. Then with sum = the sum of e, and
  sum' = sum >> j the first below 2^16: p = e (2^31 // sum') >> 16 >> j. 32768 is a probability of
  1.
- attention: the products of query and key added up, (sum + 2^(n-1)) >> n, clamped; softmax with T =
  sqrt(head_dim); the values weighted and added up, (sum + 2^14) >> 15.
- sample: the first i at which the running sum of e exceeds (r sum) >> 16, r the next random number.
- random numbers: xorshift on two words of 16 bits, period 2^32 - 1 (Marsaglia 2003), see `Random`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import GPTConfig
from microgpt.documents import Batch, Document, check_batch, check_context, check_tokens

Integers = NDArray[np.int64]

INDEX = np.arange(256)
EXP: Integers = np.rint(65535 * 2.0 ** (-INDEX / 256)).astype(np.int64)
RSQRT: Integers = np.minimum(65535, np.rint(2**23 / np.sqrt(256 * INDEX + 128))).astype(np.int64)
TEMPERATURES = tuple((i + 1) / 10 for i in range(15))  # what the pad can choose: 0.1 to 1.5


@dataclass(frozen=True)
class Format:
    """Qm.n: how a 16-bit register, or a shorter one, holds a real number.

    Raises:
        ValueError: m or n is less than 1, or m + n more than 16.
    """

    m: int = 8
    n: int = 8

    def __post_init__(self) -> None:
        if self.m < 1 or self.n < 1 or self.m + self.n > 16:
            raise ValueError(
                f"Q{self.m}.{self.n} does not fit; m and n are 1 or more, and 16 together at most"
            )

    @property
    def limit(self) -> int:
        """One more than the largest number; the smallest is -limit."""
        return 1 << (self.m + self.n - 1)

    def integers(self, array: Array) -> Integers:
        """Return real numbers in units of 2^-n, rounded to the nearest and clamped."""
        scaled = np.rint(np.asarray(array, dtype=float) * 2**self.n)
        return np.asarray(np.clip(scaled, -self.limit, self.limit - 1), dtype=np.int64)


Q8_8 = Format(8, 8)


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
    shift = np.maximum(_bit_length(total) - 16, 0)
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


class Classic:
    """The arithmetic of the classic cartridge: Qm.n throughout, Q8.8 on the console.

    Raises:
        ValueError: the sizes or the weights are beyond what 32-bit sums hold.
    """

    def __init__(self, config: GPTConfig, state: State, form: Format = Q8_8) -> None:
        check_state(config, state)
        self.config, self.format, self.saturations = config, form, 0
        self.units: Mapping[str, Array] = {
            "logits": np.array(1 / 256),
            "residual": np.array(2.0**-form.n),
            "hidden": np.array(2.0**-form.n),
        }
        self.weights = {name: form.integers(state[name]) for name, _ in config.shapes()}
        check_range(config, self.weights, form)

    def begin(self, batch: int) -> list[list[Integers]]:
        c = self.config
        return [[np.zeros((batch, 0, c.n_embd), np.int64)] * 2 for _ in range(c.n_layer)]

    def forward(
        self, tokens: Integers, position: int, cache: list[list[Integers]]
    ) -> dict[str, Integers]:
        weights = self.weights
        x = self._clamp(weights["wte"][tokens] + weights["wpe"][position])
        x = self._rmsnorm(x)
        residual, hidden, attention = [x], [], []
        for i in range(self.config.n_layer):
            h = self._rmsnorm(x)
            q, k, v = (self._linear(h, f"layer{i}.attn_w{which}") for which in "qkv")
            cache[i] = [
                np.concatenate([old, new[:, None]], axis=1)
                for old, new in zip(cache[i], (k, v), strict=True)
            ]
            h, probs = self._attention(q, *cache[i])
            x = self._clamp(x + self._linear(h, f"layer{i}.attn_wo"))
            h = np.maximum(self._linear(self._rmsnorm(x), f"layer{i}.mlp_fc1"), 0)
            x = self._clamp(x + self._linear(h, f"layer{i}.mlp_fc2"))
            residual.append(x)
            hidden.append(h)
            attention.append(probs)
        logits = self._linear(x, "lm_head")
        return {
            "logits": logits if self.format.n == 8 else logits * 256 >> self.format.n,
            "attention": np.stack(attention, 1),
            "residual": np.stack(residual, 1),
            "hidden": np.stack(hidden, 1),
        }

    def _clamp(self, x: Integers) -> Integers:
        clamped = np.clip(x, -self.format.limit, self.format.limit - 1)
        self.saturations += int((clamped != x).sum())
        return clamped

    def _linear(self, x: Integers, name: str) -> Integers:
        n = self.format.n
        return self._clamp(x @ self.weights[name].T + (1 << (n - 1)) >> n)

    def _rmsnorm(self, x: Integers) -> Integers:
        n, squares = self.format.n, (x * x).sum(axis=-1, keepdims=True)
        self.saturations += int((squares >= 2**32).sum())
        mean = np.minimum(squares, 2**32 - 1) // x.shape[-1] + max(1, round(1e-5 * 4**n))
        k = (_bit_length(mean) - 15) // 2
        m = np.where(k < 0, mean << np.maximum(-2 * k, 0), mean >> np.maximum(2 * k, 0))
        steps = 15 - n + k  # and 8 more, rounded
        y = np.abs(x) * RSQRT[m >> 8]
        y = np.where(steps < 0, y << np.maximum(-steps, 0), y >> np.maximum(steps, 0)) + 128 >> 8
        return self._clamp(np.where(x < 0, -y, y))

    def _attention(
        self, q: Integers, keys: Integers, values: Integers
    ) -> tuple[Integers, Integers]:
        c, n = self.config, self.format.n
        heads = (*keys.shape[:2], c.n_head, c.head_dim)
        scores = np.einsum("bhd,bthd->bht", q.reshape(-1, *heads[2:]), keys.reshape(heads))
        scores = self._clamp(scores + (1 << (n - 1)) >> n)
        _, probs = softmax(scores, exp_scale(math.sqrt(c.head_dim)), n)
        mix = np.einsum("bht,bthd->bhd", probs, values.reshape(heads)) + (1 << 14) >> 15
        return mix.reshape(q.shape), probs


def check_range(config: GPTConfig, weights: Mapping[str, Integers], form: Format) -> None:
    """Raise ValueError if a sum of products could leave 32 bits.

    A normed vector's numbers are at most sqrt(n_embd), so those of queries and keys are bounded by
    their rows; any other vector's only by their register.
    """
    for name, matrix in weights.items():
        if name in ("wte", "wpe"):
            continue
        row = int(np.abs(matrix).sum(axis=1).max())
        limit = 2**31 // form.limit
        if name.endswith(("attn_wq", "attn_wk")):  # head_dim * (row * sqrt(n_embd))^2 < 2^31
            normed = 1.01 * math.sqrt(config.n_embd)
            limit = min(limit, int(math.sqrt(2**31 / config.head_dim) / normed))
        if row >= limit:
            raise ValueError(
                f"a row of {name} adds up to {row / 2**form.n:.1f} in magnitude, and sums of "
                f"products hold {limit / 2**form.n:.1f} at most; train with a lower learning rate"
            )


class FixedEngine:
    """Runs an integer model behind the engines' protocol: Classic in Qm.n, or another. No learning.

    Raises:
        ValueError: the integer model cannot hold these sizes or weights.
    """

    def __init__(
        self, config: GPTConfig, state: State, optimizer: object = None, m: int = 8, n: int = 8
    ) -> None:
        self._take(Classic(config, state, Format(m, n)))

    @classmethod
    def of(cls, model: IntegerModel) -> "FixedEngine":
        """Return the engine of an integer model that is there already."""
        engine = cls.__new__(cls)
        engine._take(model)
        return engine

    def _take(self, model: IntegerModel) -> None:
        self._model, self.config = model, model.config
        self.reset()

    @property
    def saturations(self) -> int:
        """How many results were clamped so far."""
        return self._model.saturations

    def reset(self) -> None:
        self._pos, self._cache = 0, self._model.begin(1)

    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        out = self._model.forward(np.array([token_id]), self._pos, self._cache)
        self._pos += 1
        return np.asarray(out["logits"][0] * self._model.units["logits"])

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        check_context(c, count)
        cache, attention = self._model.begin(1), np.zeros((c.n_layer, c.n_head, count, count))
        seen = []
        for t, token in enumerate(tokens):
            seen.append(self._model.forward(np.array([token]), t, cache))
            attention[:, :, t, : t + 1] = seen[-1]["attention"][0] / 32768
        logits = np.concatenate([out["logits"] for out in seen])
        units = self._model.units
        residual = np.concatenate([out["residual"] for out in seen]) * units["residual"]
        hidden = np.concatenate([out["hidden"] for out in seen]) * units["hidden"]
        return {
            "logits": logits * units["logits"],
            "probs": softmax(logits, exp_scale(1, float(units["logits"])))[1] / 32768,
            "attention": attention,
            "residual": residual.swapaxes(0, 1),
            "hidden": hidden.swapaxes(0, 1),
        }

    def loss(self, batch: Batch) -> float:
        """Return the loss of a batch (nats/token), as a trainable engine does."""
        return loss(self._model, batch)


def loss(model: IntegerModel, batch: Batch) -> float:
    """Return the loss of documents (nats/token): of the integer logits, in exact arithmetic.

    Raises:
        ValueError: the batch is empty, or a token is outside the vocabulary.
    """
    check_batch(model.config, batch, None)
    lengths = np.array([min(len(tokens) - 1, model.config.block_size) for tokens in batch])
    padded = np.zeros((len(batch), int(lengths.max()) + 1), np.int64)
    for row, tokens in zip(padded, batch, strict=True):
        row[: min(len(tokens), len(row))] = tokens[: len(row)]
    cache, sums = model.begin(len(batch)), np.zeros(len(batch))
    for t in range(padded.shape[1] - 1):
        logits = model.forward(padded[:, t], t, cache)["logits"] * model.units["logits"]
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        surprise = log_sum - logits[np.arange(len(batch)), padded[:, t + 1]]
        sums += np.where(t < lengths, surprise, 0)
    return float((sums / lengths).mean())


@dataclass
class Record:
    """One token of a list of names, as the console's ring buffer tells of it."""

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
) -> Iterator[Record]:
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
            yield Record(token, position, chosen, drawn, logits, probs)
            token = chosen
            if token == bos:
                break


def _bit_length(x: Integers) -> Integers:
    return np.asarray(np.frexp(x.astype(float))[1], dtype=np.int64)
