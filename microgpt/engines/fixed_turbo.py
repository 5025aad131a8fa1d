"""The turbo cartridge's integer model: the arithmetic of the console's forward pass, defined once.

Every activation is a small code: 6 to 8 bits, offset so that it is never negative. Every weight of
a matrix is a level from -15 to 15 (5 bits) times one step size a matrix. A row of a matrix times a
vector is then a sum of small multiples, which the console reads from a table; it is exact, in 16
bits. Real numbers enter only where tables are made, never where the model runs. The rules:

- embedding   e = wte[token] + wpe[position], 8-bit signed by construction
- norm        S = sum of ceil(e*e / 4); m = rsqrt(S), by a table of 192; y = (e*m + 128) >> 8
- matvec      r = sum of level * y: |r| <= 15 * 16 * 128, no overflow
- code        clamp((r + half) >> shift), half = 2**(shift - 1): the only place that can saturate
- score       sum of q*k over a head's 4 dimensions; d = the largest score - this one
- attention   a = EXP[d], 0 to 63; mix = sum of a*v; o = (mix/sum(a) * 3.97), by a reciprocal table
- residual    a code becomes a 16-bit number in the unit of what is added to it, by a table of 256
- logits      r of lm_head, as it is: 16 bits, in units of `logit_unit` nats
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from microgpt.config import GPTConfig
from microgpt.engines.base import Array, Document, State, check_tokens

Ints = NDArray[np.int64]

CONFIG = GPTConfig(n_layer=1, n_embd=16, n_head=4, block_size=16, vocab_size=27)
LEVEL = 15  # the largest level of a weight: 5 bits hold -15 to 15
MATRICES = ("attn_wq", "attn_wk", "attn_wv", "attn_wo", "mlp_fc1", "mlp_fc2")
NORM = 31  # units of a normed number: 1.0 is 31, so that sqrt(16) * 31 and rounding stay below 128
Q_HALF, K_HALF, A_MAX = 64, 32, 63  # q: 7 bits, k and v: 6 bits, attention weights: 6 bits
PRODUCT_OFFSET = Q_HALF * K_HALF  # makes every entry of the product table positive
H_MAX = 127  # hidden units: 7 bits, so that a row of mlp_fc2 fits 16 bits
RECIPROCAL = 65024  # 127 * 512: the largest numerator for which o stays within 8 bits


def rsqrt_table() -> Ints:
    """Return T[i] = 512 * NORM * 128 / sqrt(256 i + 128) for i in 64 .. 255, else 0."""
    table = np.zeros(256, dtype=np.int64)
    i = np.arange(64, 256)
    table[64:] = np.round(512 * NORM * 128 / np.sqrt(256 * i + 128))
    return table


def product_table() -> Ints:
    """Return (2 Q_HALF, 2 K_HALF): the product of two codes, offset to be positive."""
    q, k = np.arange(2 * Q_HALF) - Q_HALF, np.arange(2 * K_HALF) - K_HALF
    return np.outer(q, k) + PRODUCT_OFFSET


_RSQRT = rsqrt_table()
_PRODUCT = product_table()


def rsqrt(s: Ints) -> Ints:
    """Return m = 512 * NORM / sqrt(s) for s in 0 .. 65535: shift s up to 14 bits or more, look up."""
    s = np.maximum(s, 1)
    shift = np.zeros_like(s)
    for _ in range(7):
        small = s < 0x4000
        s, shift = np.where(small, s << 2, s), shift + small
    return _RSQRT[s >> 8] >> (7 - shift)


def norm(x: Ints) -> Ints:
    """Return rmsnorm of 8-bit numbers x (..., 16) as codes 0 .. 255: 128 + NORM * x / rms."""
    s = ((x * x + 3) >> 2).sum(-1, keepdims=True)
    return ((x * rsqrt(s) + 128) >> 8) + 128


@dataclass
class Saturation:
    """How often a code was clamped, by the place where it happened."""

    clamped: dict[str, int] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)

    def code(self, name: str, r: Ints, shift: int, low: int, high: int) -> Ints:
        """Return clamp((r + half) >> shift, low, high), counting what was clamped."""
        code = (r + (1 << shift >> 1)) >> shift
        self.clamped[name] = self.clamped.get(name, 0) + int(((code < low) | (code > high)).sum())
        self.total[name] = self.total.get(name, 0) + code.size
        return np.clip(code, low, high)


@dataclass(frozen=True)
class TurboWeights:
    """All that the console holds in ROM, as integers; and what one unit of it means."""

    levels: Mapping[str, Ints]  # each matrix by its short name (outputs, inputs), -15 .. 15
    wte: Ints  # (vocab_size, n_embd)
    wpe: Ints  # (block_size, n_embd)
    shifts: Mapping[str, int]  # of the codes q, k, v, x2, h, x3
    exp: Ints  # (n,) attention weight of a score that is d below the largest; 0 from n on
    stream1: Ints  # (256,) code of the first norm -> 16-bit number in the unit of attn_wo's output
    stream2: Ints  # (256,) code x2 + 128 -> 16-bit number in the unit of mlp_fc2's output
    steps: Mapping[str, float]  # the real number that one level is worth, by matrix
    units: Mapping[str, float]  # the real number that one unit of a code is worth
    logit_unit: float  # nats


def step_size(w: Array) -> float:
    """Return the step that rounds w to levels with the least squared error (Lloyd's iteration)."""
    largest = float(np.abs(w).max())
    if largest == 0:
        return 1.0
    best = (math.inf, 1.0)
    for fraction in np.linspace(0.4, 1, 25):
        step = largest / LEVEL * float(fraction)
        for _ in range(10):
            level = to_levels(w, step)
            step = float((w * level).sum() / (level * level).sum())
        best = min(best, (float(((w - step * to_levels(w, step)) ** 2).sum()), step))
    return best[1]


def to_levels(w: Array, step: float) -> Ints:
    """Round w to the nearest of -15 .. 15 times step; return those levels."""
    return np.clip(np.round(w / step), -LEVEL, LEVEL).astype(np.int64)


def embedding_step(state: State) -> float:
    """Return the step at which every wte + wpe fits 8 signed bits."""
    wte, wpe = state["wte"], state["wpe"]
    return float(np.abs(wte[:, None] + wpe[None]).max()) / 126


def quantize(state: State, shifts: Mapping[str, int]) -> TurboWeights:
    """Turn a float model into the console's integers, with given shifts.

    Raises:
        ValueError: a 16-bit sum could overflow.
    """
    matrices = {name: state[f"layer0.{name}"] for name in MATRICES} | {"lm_head": state["lm_head"]}
    steps = {name: step_size(w) for name, w in matrices.items()}
    levels = {name: to_levels(w, steps[name]) for name, w in matrices.items()}
    e = embedding_step(state)
    units = {"e": e, "x1": 1 / NORM}
    for code, name in (("q", "attn_wq"), ("k", "attn_wk"), ("v", "attn_wv")):
        units[code] = steps[name] / NORM * 2 ** shifts[code]
    units["o"] = units["v"] * 16384 / RECIPROCAL
    units["stream1"] = units["o"] * steps["attn_wo"]
    units["x2"] = units["stream1"] * 2 ** shifts["x2"]
    units["h"] = steps["mlp_fc1"] / NORM * 2 ** shifts["h"]
    units["stream2"] = units["h"] * steps["mlp_fc2"]
    units["x3"] = units["stream2"] * 2 ** shifts["x3"]
    nats = units["q"] * units["k"] / math.sqrt(CONFIG.head_dim)
    d = np.arange(int(math.log(2 * A_MAX) / nats) + 1)
    codes = np.arange(256) - 128
    weights = TurboWeights(
        levels=levels,
        wte=np.round(state["wte"] / e).astype(np.int64),
        wpe=np.round(state["wpe"] / e).astype(np.int64),
        shifts=dict(shifts),
        exp=np.round(A_MAX * np.exp(-d * nats)).astype(np.int64),
        stream1=np.round(codes * units["x1"] / units["stream1"]).astype(np.int64),
        stream2=np.round(codes * units["x2"] / units["stream2"]).astype(np.int64),
        steps=steps,
        units=units,
        logit_unit=units["x3"] * steps["lm_head"],
    )
    for stream, name, code, largest in (
        ("stream1", "attn_wo", "x2", 128),
        ("stream2", "mlp_fc2", "x3", H_MAX),
    ):
        table: Ints = getattr(weights, stream)
        spread = np.ptp(table) + np.abs(levels[name]).sum(1).max() * largest * (2 - (largest == H_MAX))
        if spread + 256 * 2 ** shifts[code] > 65535:
            raise ValueError(
                f"a row of {name} can span {spread}, past 16 bits; train with quantization"
            )
    return weights


class TurboModel:
    """Runs TurboWeights, exactly as the console does."""

    def __init__(self, weights: TurboWeights) -> None:
        self.config, self.weights = CONFIG, weights
        self.saturation = Saturation()
        self.reset()

    def reset(self) -> None:
        self._tokens: list[int] = []

    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        if len(self._tokens) >= self.config.block_size:
            raise ValueError(f"the context is full: block_size is {self.config.block_size}; reset")
        self._tokens.append(token_id)
        return self.logits(np.array([self._tokens]))[0, -1] * self.weights.logit_unit

    def logits(self, tokens: Ints) -> Ints:
        """Return the logits (B, T, vocab_size) of tokens (B, T), in units of logit_unit."""
        return self.trace(tokens)["logits"]

    def trace(self, tokens: Ints) -> dict[str, Ints]:
        """Return every code on the way from tokens (B, T) to logits, by its name; (B, T, ...)."""
        w, c = self.weights, self.config
        code = self.saturation.code
        batch, count = tokens.shape
        heads = (batch, count, c.n_head, c.head_dim)

        def matvec(name: str, x: Ints) -> Ints:
            return x @ w.levels[name].T

        e = w.wte[tokens] + w.wpe[:count]                                    # (B, T, n_embd)
        x1 = norm(e)
        y = x1 - 128
        q = code("q", matvec("attn_wq", y), w.shifts["q"], -Q_HALF, Q_HALF - 1).reshape(heads)
        k = code("k", matvec("attn_wk", y), w.shifts["k"], -K_HALF, K_HALF - 1).reshape(heads)
        v = code("v", matvec("attn_wv", y), w.shifts["v"], -K_HALF, K_HALF - 1).reshape(heads)
        scores = np.einsum("bthd,bshd->bhts", q, k)
        past = np.tril(np.ones((count, count), dtype=bool))
        scores = np.where(past, scores, -(1 << 20))
        d = scores.max(-1, keepdims=True) - scores
        table = np.append(w.exp, 0)
        a = table[np.minimum(d, len(w.exp))]                                 # (B, n_head, T, T)
        mix = np.einsum("bhts,bshd->bthd", a, v)
        total = a.sum(-1).transpose(0, 2, 1)[..., None]                      # (B, T, n_head, 1)
        shift = sum((total < bound).astype(np.int64) for bound in (512, 256, 128, 64))
        o = ((mix << shift) * (RECIPROCAL // (total << shift)) + 8192) >> 14
        o = o.reshape(batch, count, c.n_embd)
        x2 = code("x2", w.stream1[x1] + matvec("attn_wo", o), w.shifts["x2"], -127, 127)
        h = code("h", matvec("mlp_fc1", norm(x2) - 128), w.shifts["h"], 0, H_MAX)
        x3 = code("x3", w.stream2[x2 + 128] + matvec("mlp_fc2", h), w.shifts["x3"], -128, 127)
        return {
            "e": e, "x1": x1, "q": q, "k": k, "v": v, "scores": scores, "a": a, "o": o,
            "x2": x2, "h": h, "x3": x3, "logits": matvec("lm_head", x3),
        }


def held_out(weights: TurboWeights, documents: Sequence[Document]) -> tuple[float, Saturation]:
    """Return the mean loss over documents (nats/token, averaged by document) and what was clamped."""
    model = TurboModel(weights)
    size = model.config.block_size
    lengths = np.array([min(len(tokens) - 1, size) for tokens in documents])
    padded = np.full((len(documents), size + 1), model.config.vocab_size - 1)
    for row, tokens in zip(padded, documents, strict=True):
        row[: min(len(tokens), size + 1)] = tokens[: size + 1]
    z = model.logits(padded[:, :-1]) * weights.logit_unit
    z -= z.max(-1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(-1, keepdims=True))
    surprise = -np.take_along_axis(log_probs, padded[:, 1:, None], -1)[..., 0]
    surprise *= np.arange(size) < lengths[:, None]
    return float((surprise.sum(1) / lengths).mean()), model.saturation


def calibrate(state: State, documents: Sequence[Document]) -> TurboWeights:
    """Choose the shifts that give the least loss on documents, one after another; quantize so."""
    shifts = {"q": 6, "k": 7, "v": 6, "x2": 6, "h": 5, "x3": 6}
    losses: dict[tuple[int, ...], float] = {}

    def loss(shifts: Mapping[str, int]) -> float:
        key = tuple(shifts.values())
        if key not in losses:
            try:
                losses[key] = held_out(quantize(state, shifts), documents)[0]
            except ValueError:
                losses[key] = math.inf
        return losses[key]

    before: dict[str, int] = {}
    while before != shifts:
        before = dict(shifts)
        for name in shifts:
            options = [shifts | {name: shifts[name] + by} for by in (0, -1, 1)]
            shifts = min(options, key=loss)
    return quantize(state, shifts)
