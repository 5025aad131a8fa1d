"""The classic cartridge's integer model: gpt() of gpt.py in numbers of 16 bits.

A number is a 16-bit integer that stands for itself / 2^n: Qm.n has m bits before the point, the
sign among them, and n behind it. The cartridge uses Q8.8. Products and sums have 32 bits. Whatever
does not fit its register is clamped, and counted in `saturations`; what is not clamped cannot
overflow, by the limits that `check_range` sets to the weights.

The rules, besides those of base.py (>> rounds down):
- linear: (sum of w x + 2^(n-1)) >> n, clamped. Sum of vectors: clamped.
- rmsnorm: mean = (sum of x^2, at most 2^32 - 1) // n_embd + eps; eps is 1e-5, 1 at the least. With
  mean = m 4^k, m from 2^14 to 2^16, 1 / sqrt(mean) is RSQRT[m >> 8] / 2^(23 + k). The magnitude of
  x is multiplied by it, shifted so that 8 bits too many are left, rounded by + 128, and the sign
  put back.
- attention: the products of query and key added up, (sum + 2^(n-1)) >> n, clamped; softmax with T =
  sqrt(head_dim); the values weighted and added up, (sum + 2^14) >> 15.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import GPTConfig
from microgpt.integers.base import Integers, bit_length, exp_scale, softmax

RSQRT: Integers = np.minimum(65535, np.rint(2**23 / np.sqrt(256 * np.arange(256) + 128))).astype(
    np.int64
)


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
        # Sums of 32 bits are exact in float64, too, where NumPy multiplies matrices much faster.
        sums = (x.astype(float) @ self.weights[name].T.astype(float)).astype(np.int64)
        return self._clamp(sums + (1 << (n - 1)) >> n)

    def _rmsnorm(self, x: Integers) -> Integers:
        n, squares = self.format.n, (x * x).sum(axis=-1, keepdims=True)
        self.saturations += int((squares >= 2**32).sum())
        mean = np.minimum(squares, 2**32 - 1) // x.shape[-1] + max(1, round(1e-5 * 4**n))
        k = (bit_length(mean) - 15) // 2
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
