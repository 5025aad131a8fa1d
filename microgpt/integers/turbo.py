"""The turbo cartridge's integer model: the arithmetic of the console's forward pass, defined once.

Every activation is a small code of 6 to 8 bits. Every weight of a matrix is a level from -15 to 15,
which takes 5 bits, times one step size a matrix. A row of a matrix times a vector is then a sum of
small multiples of codes: exact in 16 bits, and on the console an addition a weight. Real numbers
enter where tables are made, never where the model runs. The rules (>> rounds down):

- embedding: e = wte[token] + wpe[position], whose unit is such that |e| is 127 at most.
- norm: S = sum of (x^2 + 3) >> 2; m = RSQRT[4^n S >> 8] >> (7 - n), 512 NORM / sqrt(S), with n
  such that 4^n S lies in 2^14 to 2^16; y = (x m + 128) >> 8. No y passes 127, since |x| m does not
  pass 2^15 - 256. The norm of a norm is left out: it changes nothing but the last place.
- code: a sum r becomes clamp((r + half) >> shift), half = 2^(shift - 1). Only here can something be
  clamped, and it is counted in `saturations`.
- attention: d = the largest score - the score; a = EXP[d >> exp_shift], 0 to 63. With A = sum of a
  and n such that A 2^n lies in 2^9 to 2^10: R = RECIPROCAL // (A 2^n), and a head's mix is
  ((sum of a v) 2^n R + 2^13) >> 14. As a probability (32768 = 1), a counts (a R 2^n) >> 1.
- residual: a code becomes a number in the unit of what is added to it, by a table of 256.
- logits: the sums of lm_head as they are. 1 is worth units["logits"] nats.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import GPTConfig
from microgpt.documents import Batch
from microgpt.integers.base import Integers

CONFIG = GPTConfig(n_layer=1, n_embd=16, n_head=4, block_size=16, vocab_size=27)
LEVEL = 15  # the largest level of a weight: 5 bits hold -15 to 15
WIDER = 1.15  # 4 % less time on the console, 0.001 nats/token more loss
MATRICES = {  # by the name of their rows in the console's program
    "q": "layer0.attn_wq",
    "k": "layer0.attn_wk",
    "v": "layer0.attn_wv",
    "wo": "layer0.attn_wo",
    "fc1": "layer0.mlp_fc1",
    "fc2": "layer0.mlp_fc2",
    "lm_head": "lm_head",
}
NORM = 31  # units of a normed number: 1.0 is 31, so that sqrt(16) * 31 and rounding stay below 128
Q_HALF, K_HALF = 64, 32  # q: 7 bits; k and v: 6 bits
A_MAX = 63  # attention weights, before they are divided by their sum: 6 bits
D_MAX = 2 * CONFIG.head_dim * Q_HALF * K_HALF  # how far two scores can be apart
H_MAX = 127  # hidden units: 7 bits, so that a row of mlp_fc2 fits 16 bits
RECIPROCAL = 127 * 512  # the largest numerator with which a mix of values fits 8 bits
RANGES = {"q": Q_HALF - 1, "k": K_HALF - 1, "v": K_HALF - 1, "x2": 127, "h": H_MAX, "x3": 127}


def rsqrt_table() -> Integers:
    """Return (256,): 128 * 512 NORM / sqrt(256 i + 128) for i from 64 on, else 0."""
    table = np.zeros(256, dtype=np.int64)
    i = np.arange(64, 256)
    table[64:] = np.round(512 * NORM * 128 / np.sqrt(256 * i + 128))
    return table


def product_table() -> Integers:
    """Return (2 Q_HALF, 2 K_HALF): the product of two codes, offset to be positive."""
    q, k = np.arange(2 * Q_HALF) - Q_HALF, np.arange(2 * K_HALF) - K_HALF
    return np.outer(q, k) + Q_HALF * K_HALF


_RSQRT = rsqrt_table()


def rsqrt(s: Integers) -> Integers:
    """Return 512 NORM / sqrt(s) for s from 0 to 65535; 0 counts as 1."""
    s = np.maximum(s, 1)
    n = np.zeros_like(s)
    for _ in range(7):
        small = s < 0x4000
        s, n = np.where(small, s << 2, s), n + small
    m: Integers = _RSQRT[s >> 8] >> 7 - n
    return m


def norm(x: Integers) -> Integers:
    """Return rmsnorm of 8-bit numbers x (..., 16), in units of 1 / NORM: -127 to 127."""
    s = (x * x + 3 >> 2).sum(axis=-1, keepdims=True)
    return x * rsqrt(s) + 128 >> 8


@dataclass(frozen=True)
class Quantized:
    """All that the console holds in ROM, as integers; and what a unit of each is worth."""

    levels: Mapping[str, Integers]  # each of MATRICES (outputs, inputs), -15 to 15
    wte: Integers  # (vocab_size, n_embd)
    wpe: Integers  # (block_size, n_embd)
    shifts: Mapping[str, int]  # of the codes q, k, v, x2, h, x3
    exp: (
        Integers  # (n,) attention weight by d >> exp_shift, d: how far a score is below the largest
    )
    exp_shift: int
    stream1: Integers  # (256,) code of the first norm -> the same in units of what attn_wo adds
    stream2: Integers  # (256,) x2 + 128 -> the same in units of what mlp_fc2 adds
    units: Mapping[str, float]  # real worth of 1, by the name of the code


def step_sizes(state: State) -> dict[str, float]:
    """Return the steps that round each matrix with the least squared error (Lloyd's iteration)."""
    return {name: _step_size(np.asarray(state[name], dtype=float)) for name in MATRICES.values()}


def rounding(state: State) -> Callable[[State], dict[str, Array]]:
    """Return what rounds each matrix to levels, of steps a little wider than this state's best.

    More levels are then 8 or less, which the console adds at one stroke.
    """
    steps = {name: WIDER * step for name, step in step_sizes(state).items()}

    def rounded(state: State) -> dict[str, Array]:
        levels = {name: _levels(state[name], step) * step for name, step in steps.items()}
        return {**state, **levels}

    return rounded


def quantize(state: State, shifts: Mapping[str, int]) -> Quantized:
    """Turn a float model into the console's integers, with given shifts."""
    found = step_sizes(state)
    step = {name: found[parameter] for name, parameter in MATRICES.items()}
    e = float(np.abs(state["wte"][:, None] + state["wpe"][None]).max()) / 126 or 1.0
    units = {"e": e, "x1": 1 / NORM, "h": step["fc1"] / NORM * 2.0 ** shifts["h"]}
    for code in "qkv":
        units[code] = step[code] / NORM * 2.0 ** shifts[code]
    o = units["v"] * 2**14 / RECIPROCAL
    step["wo"] = _fitting(state[MATRICES["wo"]], step["wo"], 255, units["x1"] / o, shifts["x2"])
    stream1 = o * step["wo"]
    units["x2"] = stream1 * 2.0 ** shifts["x2"]
    ratio = units["x2"] / units["h"]
    step["fc2"] = _fitting(state[MATRICES["fc2"]], step["fc2"], H_MAX, ratio, shifts["x3"])
    stream2 = units["h"] * step["fc2"]
    units["x3"] = stream2 * 2.0 ** shifts["x3"]
    units["logits"] = units["x3"] * step["lm_head"]
    nats = units["q"] * units["k"] / math.sqrt(CONFIG.head_dim)
    reach = min(int(math.log(2 * A_MAX) / nats) + 1, D_MAX + 1)  # beyond, a weight rounds to 0
    exp_shift = next(shift for shift in range(5) if reach - 1 >> shift <= 1024)
    distances = np.arange((reach - 1 >> exp_shift) + 1) << exp_shift
    codes = np.arange(256) - 128
    return Quantized(
        levels={name: _levels(state[MATRICES[name]], step[name]) for name in MATRICES},
        wte=_round(state["wte"] / e),
        wpe=_round(state["wpe"] / e),
        shifts=dict(shifts),
        exp=_round(A_MAX * np.exp(-distances * nats)),
        exp_shift=exp_shift,
        stream1=_round(codes * units["x1"] / stream1),
        stream2=_round(codes * units["x2"] / stream2),
        units=units,
    )


def calibrate(config: GPTConfig, state: State, documents: Batch) -> dict[str, int]:
    """Return the shifts with which hardly a code is clamped on documents.

    The sums that become codes hardly depend on the shifts, so two or three looks settle them; where
    they come back to shifts tried before, the largest of that circle clamp the least.
    """
    read = (tokens[:-1][: config.block_size] for tokens in documents)
    documents = sorted(read, key=len, reverse=True)
    shifts: dict[str, int] = dict.fromkeys(RANGES, 7)
    tried: list[dict[str, int]] = []
    while shifts not in tried:
        tried.append(shifts)
        model = Turbo(config, state, shifts)
        cache = model.begin(len(documents))
        for t in range(len(documents[0])):
            tokens = np.array([tokens[t] for tokens in documents if t < len(tokens)])
            cache = [past[: len(tokens)] for past in cache]
            model.forward(tokens, t, cache)
        shifts = {code: _shift(0.9 * model.peaks[code] / limit) for code, limit in RANGES.items()}
    circle = tried[tried.index(shifts) :]
    return {code: max(each[code] for each in circle) for code in RANGES}


class Turbo:
    """The arithmetic of the turbo cartridge; an IntegerModel.

    Raises:
        ValueError: the sizes are not the cartridge's, or the state is not of these sizes.
    """

    def __init__(self, config: GPTConfig, state: State, shifts: Mapping[str, int]) -> None:
        """Round a state; `shifts` are those of `calibrate`."""
        check_state(config, state)
        if config != CONFIG:
            raise ValueError(f"turbo's arithmetic is made for {CONFIG}; this model is of {config}")
        self.config, self.saturations = config, 0
        self.peaks = dict.fromkeys(RANGES, 0)  # the largest sums that became codes
        self.weights = quantize(state, shifts)
        units = self.weights.units
        self.units: Mapping[str, Array] = {
            "logits": np.array(units["logits"]),
            "residual": np.array([[units["x1"]], [units["x3"]]]),
            "hidden": np.array(units["h"]),
        }

    def begin(self, batch: int) -> list[Integers]:
        """Return an empty KV cache: codes (B, 0, n_head, head_dim) of keys and of values."""
        return [np.zeros((batch, 0, CONFIG.n_head, CONFIG.head_dim), np.int64)] * 2

    def forward(self, tokens: Integers, position: int, cache: list[Integers]) -> dict[str, Any]:
        """Read one token of each document (B,), as IntegerModel.forward."""
        w, heads = self.weights, (-1, CONFIG.n_head, CONFIG.head_dim)
        x1 = norm(w.wte[tokens] + w.wpe[position])  # (B, n_embd)
        q = self._code("q", x1 @ w.levels["q"].T, -Q_HALF, Q_HALF - 1).reshape(heads)
        for i, name in enumerate("kv"):
            code = self._code(name, x1 @ w.levels[name].T, -K_HALF, K_HALF - 1)
            cache[i] = np.concatenate([cache[i], code.reshape(heads)[:, None]], axis=1)
        o, attention = self.attend(q, *cache)
        o = o.reshape(x1.shape)
        x2 = self._code("x2", w.stream1[x1 + 128] + o @ w.levels["wo"].T, -127, 127)
        h = self._code("h", np.maximum(norm(x2) @ w.levels["fc1"].T, 0), 0, H_MAX)
        x3 = self._code("x3", w.stream2[x2 + 128] + h @ w.levels["fc2"].T, -128, 127)
        return {
            "logits": x3 @ w.levels["lm_head"].T,
            "attention": attention[:, None],
            "residual": np.stack([x1, x3], axis=1),
            "hidden": h[:, None],
        }

    def attend(self, q: Integers, keys: Integers, values: Integers) -> tuple[Integers, Integers]:
        """Return the mixed values and the attention, 32768 = 1, of codes.

        Args:
            q: (B, n_head, head_dim); keys, values: (B, T, n_head, head_dim).
        """
        w = self.weights
        scores = np.einsum("bhd,bthd->bht", q, keys)
        d = scores.max(axis=-1, keepdims=True) - scores
        a = np.append(w.exp, 0)[np.minimum(d >> w.exp_shift, len(w.exp))]
        total = a.sum(axis=-1, keepdims=True)
        n = sum((total < bound).astype(np.int64) for bound in (512, 256, 128, 64))
        reciprocal = RECIPROCAL // (total << n)
        mix = np.einsum("bht,bthd->bhd", a, values)
        return (mix << n) * reciprocal + (1 << 13) >> 14, (a * reciprocal << n) >> 1

    def _code(self, name: str, r: Integers, low: int, high: int) -> Integers:
        shift = self.weights.shifts[name]
        code = r + (1 << shift >> 1) >> shift
        self.saturations += int(((code < low) | (code > high)).sum())
        self.peaks[name] = max(self.peaks[name], int(np.abs(r).max()))
        clipped: Integers = np.clip(code, low, high)
        return clipped


def _step_size(w: Array) -> float:
    largest = float(np.abs(w).max()) or 1.0
    best = math.inf, 1.0
    for fraction in np.linspace(0.4, 1, 25):
        step = largest / LEVEL * float(fraction)
        for _ in range(10):
            levels = _levels(w, step)
            step = float((w * levels).sum() / max(1, (levels * levels).sum())) or step
        error = float(((w - step * _levels(w, step)) ** 2).sum())
        best = min(best, (error, step))
    return best[1]


def _fitting(w: Array, step: float, largest: int, ratio: float, shift: int) -> float:
    """Return the step, or if need be a wider one, with which a row fits 16 bits.

    A row spans its weights' levels times the largest input, what it begins with (255 codes of the
    stream, each `ratio` / step) and the window of the code that it becomes.
    """
    while True:
        row = int(np.abs(_levels(w, step)).sum(axis=1).max()) * largest
        if row + 255 * ratio / step + 2 + (129 << shift) < 65536:
            return step
        step *= 1.1


def _levels(w: Array, step: float) -> Integers:
    return np.clip(_round(w / step), -LEVEL, LEVEL)


def _shift(unit: float) -> int:
    """Return the shift (2 to 7) by which a unit at least as large comes about."""
    return min(7, max(2, math.ceil(math.log2(max(unit, 1)))))


def _round(x: Array) -> Integers:
    return np.rint(x).astype(np.int64)
