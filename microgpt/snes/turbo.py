"""Write a model as a program of the turbo cartridge: each row of each matrix an unrolled sum.

The weights are in the code: `plus 3, 5` adds 5 times input 3, out of a table of multiples. What is
the same for every model is written by hand, in asm/turbo/. Here it is also shown, row by row, that
no sum leaves 16 bits: so no carry ever has to be cleared between two additions.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from microgpt.integers.base import TEMPERATURES, Integers, exp_scale
from microgpt.integers.turbo import (
    A_MAX,
    H_MAX,
    K_HALF,
    LEVEL,
    Q_HALF,
    RECIPROCAL,
    Quantized,
    Turbo,
    product_table,
    rsqrt_table,
)
from microgpt.snes.tables import words

MULTIPLES = 8  # of each input, in the table; a level above it takes two additions
BANKS = {  # where each matrix's program lies: two banks of 32 KB, shared with the game
    "qkv": "CODE",
    "wo": "CODE1",
    "fc1": "CODE",
    "fc2": "CODE",
    "lm_head": "CODE",
}
INPUT_MAX = 255


def files(model: Turbo) -> dict[str, bytes]:
    """Return the sources that hold the model, and the factors of its temperatures, by file name."""
    weights, unit = model.weights, float(model.units["logits"])
    sources = {
        "formats.inc": _formats(weights),
        "matrices.asm": _matrices(weights),
        "tables.asm": _tables(weights),
    }
    text = {name: "\n".join(lines) + "\n" for name, lines in sources.items()}
    return {
        **{name: source.encode() for name, source in text.items()},
        "temperatures.bin": words(exp_scale(t, unit) for t in TEMPERATURES),
    }


def _formats(weights: Quantized) -> Iterator[str]:
    yield "; Formats of this model's codes; written by turbo.py."
    for name, shift in weights.shifts.items():
        yield f"SHIFT_{name.upper()} = {shift}"
    yield f"EXP_SHIFT = {weights.exp_shift}"
    yield f"EXP_COUNT = {len(weights.exp)}"
    for name, segment in BANKS.items():
        yield f"BANK_OF_{name.upper()} = ${0x810000 if segment == 'CODE1' else 0x800000:06X}"


def _matrices(weights: Quantized) -> Iterator[str]:
    """Yield the lines of the five routines that multiply."""
    yield "; The matrices of the model, each row a program; written by turbo.py."
    yield '        .include "turbo/turbo.inc"'
    for routine in (_qkv, _wo, _fc1, _fc2, _lm_head):
        yield from routine(weights)
        yield from _end()


def _window(weights: Quantized, code: str, half_range: int) -> int:
    """Return what a code is offset by before its shift, and half of what is shifted off."""
    shift = weights.shifts[code]
    return (half_range << shift) + (1 << shift >> 1)


def _qkv(weights: Quantized) -> Iterator[str]:
    yield from _routine("qkv", "q, k and v of the codes: rows of attn_wq, attn_wk, attn_wv")
    for code, half_range in (("q", Q_HALF), ("k", K_HALF), ("v", K_HALF)):
        for i, row in enumerate(weights.levels[code]):
            yield f"; attn_w{code}, row {i}"
            finish = "q_code" if code == "q" else "kv_code"
            where = {"q": "", "k": "keys, ", "v": "values, "}[code]
            tail = "" if code == "q" else f" ::SHIFT_{code.upper()},"
            lines, wrapped = _row(row, _window(weights, code, half_range))
            yield from lines
            yield f"        {finish} {where}{i},{tail} {wrapped}"


def _wo(weights: Quantized) -> Iterator[str]:
    offset = -int(weights.stream1.min())
    yield from _routine("wo", "the stream and what attention adds to it: rows of attn_wo")
    for i, row in enumerate(weights.levels["wo"]):
        yield f"; attn_wo, row {i}"
        yield from (f"        lda codes + {2 * i}", "        asl", "        tax")
        yield "        lda stream1,x"
        constant = _window(weights, "x2", 127) - offset
        lines, wrapped = _row(row, constant, int(np.ptp(weights.stream1)))
        yield from lines
        yield f"        x2_code {i}, {wrapped}"


def _fc1(weights: Quantized) -> Iterator[str]:
    yield from _routine("fc1", "the hidden units: rows of mlp_fc1")
    for i, row in enumerate(weights.levels["fc1"]):
        yield f"; mlp_fc1, row {i}"
        yield from _row(row, _window(weights, "h", 0))[0]
        yield f"        h_code {i}"


def _fc2(weights: Quantized) -> Iterator[str]:
    levels = weights.levels["fc2"]
    yield from _routine(
        "fc2", "the stream and what the hidden units add to it: mlp_fc2, by columns"
    )
    offset, spread = -int(weights.stream2[1:].min()), int(np.ptp(weights.stream2[1:]))
    lows = [int(-row[row < 0].sum()) * H_MAX for row in levels]
    for i, low in enumerate(lows):
        yield from (f"        lda stream + {2 * i}", "        asl", "        tax")
        yield from ("        lda stream2,x", f"        adc #{low}", f"        sta z:{2 * i}")
    for j, column in enumerate(levels.T):
        yield f"; mlp_fc2, column {j}"
        yield from (f"        ldx hidden + {2 * j}", f"        beq column_{j + 1}", "        clc")
        for at in np.flatnonzero(column > 0):
            yield f"        more {at}, {column[at]}"
        yield "        sec"
        for at in np.flatnonzero(column < 0):
            yield f"        less {at}, {-column[at]}"
        yield f"column_{j + 1}:"
    for i, (row, low) in enumerate(zip(levels, lows, strict=True)):
        constant = _window(weights, "x3", 128) - offset - low
        wrapped = _wrapped(constant, constant + spread + int(np.abs(row).sum()) * H_MAX)
        yield from (f"        lda z:{2 * i}", *_constant(constant))
        yield f"        x3_code {i}, {wrapped}"


def _lm_head(weights: Quantized) -> Iterator[str]:
    yield from _routine("lm_head", "the logits: rows of lm_head")
    for i, row in enumerate(weights.levels["lm_head"]):
        yield f"; lm_head, row {i}"
        low = int(-row[row < 0].sum()) * INPUT_MAX
        yield from (f"        lda #{low}", "        clc")
        yield from _terms(row, 0)
        if not (row < 0).any():
            yield "        sec"
        yield f"        sbc #{(low + 128 * int(row.sum())) % 65536}"
        yield f"        sta logits + {2 * i}"


def _routine(name: str, does: str) -> Iterator[str]:
    yield ""
    yield f'        .segment "{BANKS[name]}"'
    yield f"; Compute {does}."
    yield f"routine multiply_{name}, 16, 16"


def _end() -> Iterator[str]:
    yield "        rtl"
    yield ".endproc"


def _row(row: Integers, constant: int, stream: int = 0) -> tuple[list[str], int]:
    """Return the lines that leave sum(row * (code - 128)) + constant, and where negatives begin.

    Where a row starts from the stream (0 to `stream`), that is in the accumulator already, and the
    carry is clear. A sum below zero may borrow once on its way: it is clamped to the lowest anyway.
    """
    constant -= 128 * int(row.sum())
    low = constant - int(-row[row < 0].sum()) * INPUT_MAX
    added = int(row[row > 0].sum()) * INPUT_MAX + stream
    assert added + max(constant, 0) < 65536, "quantize found a step that fits"
    wrapped = _wrapped(low, added + constant)
    if stream:
        return list(_terms(row, constant)), wrapped
    if constant >= 0:
        return [f"        lda #{constant}", "        clc", *_terms(row, 0)], wrapped
    lines = list(_terms(row, constant))
    if lines[0].startswith("        plus"):  # begin with what would be added to 0
        return [lines[0].replace("plus", "first"), "        clc", *lines[1:]], wrapped
    return ["        lda #0", *lines], wrapped


def _wrapped(low: int, high: int) -> int:
    """Return a number above the highest sum, below the lowest: negative, and so wrapped around."""
    assert high < min(65535, 65536 + low), "quantize found a step that fits"
    return (high + 65536 + min(low, 0)) // 2 + 1


def _terms(row: Integers, constant: int) -> Iterator[str]:
    """Yield a row's additions, then its subtractions: so the carry is set but once."""
    if constant > 0:
        yield f"        adc #{constant}"
    for i, level in enumerate(row):
        for k in _multiples(max(0, int(level))):
            yield f"        plus {i}, {k}"
    if constant < 0 or (row < 0).any():
        yield "        sec"
    if constant < 0:
        yield f"        sbc #{-constant}"
    for i, level in enumerate(row):
        for k in _multiples(max(0, -int(level))):
            yield f"        minus {i}, {k}"


def _constant(constant: int) -> list[str]:
    if constant < 0:
        return ["        sec", f"        sbc #{-constant}"]
    return ["        clc", f"        adc #{constant}"]


def _multiples(level: int) -> list[int]:
    """Return entries of the table that add up to a level.

    >>> _multiples(5), _multiples(13), _multiples(0)
    ([5], [8, 5], [])
    """
    if level > MULTIPLES:
        return [MULTIPLES, level - MULTIPLES]
    return [level] if level else []


def reciprocals() -> Integers:
    """Return (16 * A_MAX + 1,): for a sum of attention weights its reciprocal + 256 (4 - shift)."""
    total = np.arange(16 * A_MAX + 1)
    shift = sum((total < bound).astype(np.int64) for bound in (512, 256, 128, 64))
    table = RECIPROCAL // np.maximum(total << shift, 512) + 256 * (4 - shift)
    return np.where(total < A_MAX, 0, table)


def _tables(weights: Quantized) -> Iterator[str]:
    wte_low = weights.wte.min(axis=0)  # what keeps both summands of an embedding positive
    squares = (np.arange(255) - 127) ** 2
    yield "; The tables of the model; written by turbo.py."
    yield '        .include "turbo/turbo.inc"'
    yield '        .segment "PRODUCTS"'
    yield from _table("products", product_table())
    yield '        .segment "RODATA1"'
    yield from _table("wte", weights.wte - wte_low)
    yield from _table("wpe", weights.wpe + 127 + wte_low)
    yield from _table("squares", (squares + 3) >> 2)
    yield from _table("rsqrt", rsqrt_table()[64:])
    yield from _table("exp_rows", 0x8000 + ((Q_HALF + weights.exp) << 7))
    yield from _table("reciprocals", reciprocals())
    yield from _table("times_h", np.outer(np.arange(1, LEVEL + 1), np.arange(H_MAX + 1)))
    yield from _table("stream1", weights.stream1 - weights.stream1.min())
    yield from _table("stream2", weights.stream2[1:] - weights.stream2[1:].min())


def _table(name: str, table: Integers) -> Iterator[str]:
    assert ((table >= 0) & (table < 65536)).all(), name
    yield f"        .export {name}"
    yield f"{name}:"
    numbers: Sequence[int] = table.ravel().tolist()
    for start in range(0, len(numbers), 16):
        yield "        .word " + ",".join(map(str, numbers[start : start + 16]))
