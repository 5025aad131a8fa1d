"""The turbo cartridge: its arithmetic's bounds, the programs written from weights, the console."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt import engines
from microgpt.arrays import Array
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import TrainableEngine, initial_state
from microgpt.engines.fixed import FixedEngine
from microgpt.engines.snes import SnesEngine
from microgpt.integers import turbo as arithmetic
from microgpt.integers.base import Integers
from microgpt.integers.turbo import LEVEL, Turbo, norm, rsqrt
from microgpt.quantization import QuantizationAware
from microgpt.snes import rom, turbo
from microgpt.snes.rom import calibrated
from tests.test_snes import Bench, missing, still

SIZES = GPTConfig()
DOCUMENTS = [[26, 4, 12, 12, 0, 26], [26, 25, 26], [26, *range(15), 26]]
console = pytest.mark.skipif(missing() is not None, reason=str(missing()))
levels = st.integers(-LEVEL, LEVEL)
Draw = Callable[..., Integers]  # (rng, half the range, *shape) -> codes


def weights(seed: int, spread: float = 0.3) -> dict[str, Array]:
    """Return parameters as large as trained ones, so that sums and logits are."""
    state = initial_state(SIZES, random.Random(seed))
    return {name: array * (spread / 0.08) for name, array in state.items()}


# ---- the integer model ---------------------------------------------------------------------------


def test_a_norm_fits_eight_bits_whatever_it_reads() -> None:
    """Alone in a vector, x is scaled up the most: S is then (x^2 + 3) >> 2, or more."""
    x = np.arange(128)
    assert (x * rsqrt(x * x + 3 >> 2) + 128 < 2**15).all()
    largest = np.zeros((128, 16), np.int64)
    largest[:, 3] = x
    assert norm(largest).max() == 124  # 4 * NORM
    assert norm(-largest).min() == -124
    assert (norm(np.zeros((1, 16), np.int64)) == 0).all()


@given(st.lists(st.integers(-127, 127), min_size=16, max_size=16).filter(any))
def test_a_norm_is_a_norm(x: list[int]) -> None:
    """To half a unit, and the percent that 8 bits of precision in 1 / sqrt and in squares leave."""
    exact = np.array(x) / np.sqrt(np.mean(np.square(x))) * arithmetic.NORM
    tolerance = 1 + np.abs(exact) * (0.01 + 24 / np.sum(np.square(x)))
    assert (np.abs(norm(np.array([x]))[0] - exact) < tolerance).all()


@given(st.integers(0, 2**32), st.floats(1e-3, 10))
@settings(max_examples=20)
def test_rounded_weights_are_found_again(seed: int, step: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = np.clip(np.rint(rng.normal(0, 5, (16, 16))), -LEVEL, LEVEL)
    drawn[0, 0] = LEVEL
    state = {name: drawn * step for name in arithmetic.MATRICES.values()}
    for name, found in arithmetic.step_sizes(state).items():
        np.testing.assert_allclose(found, step, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("seed", range(1, 5))
def test_it_computes_what_the_float_model_does_within_its_bound(seed: int) -> None:
    """With weights of about 0.2 that are levels already: all but the codes is then the same."""
    state, tokens = weights(seed, spread=0.2), [26, *range(0, 26, 2), 1, 3][:16]
    state = arithmetic.rounding(state)(state)
    found = FixedEngine.of(calibrated(SIZES, state)).inspect(tokens)
    expected = engines.create("scalar", SIZES, state).inspect(tokens)
    assert found.keys() == expected.keys()
    for name in found:
        assert found[name].shape == expected[name].shape, name
    for name in ("probs", "attention"):
        assert np.abs(found[name] - expected[name]).max() < 0.1, name
    for name in ("logits", "residual", "hidden"):
        apart = np.sqrt(np.mean((found[name] - expected[name]) ** 2) / np.mean(expected[name] ** 2))
        assert apart < 0.05, name


def test_codes_are_clamped_and_counted() -> None:
    state = weights(2)
    wide, narrow = (Turbo(SIZES, state, dict.fromkeys(arithmetic.RANGES, s)) for s in (7, 2))
    for model in (wide, narrow):
        model.forward(np.array([3]), 0, model.begin(1))
    assert wide.saturations == 0
    assert narrow.saturations > 10


def test_an_untrained_model_attends_to_all_alike() -> None:
    """Its scores differ by next to nothing, so the table of exponentials must reach far."""
    model = calibrated(SIZES, weights(3, spread=0.02))
    engine = FixedEngine.of(model)
    attention = engine.inspect([26, *range(15)])["attention"][0, :, 15]
    np.testing.assert_allclose(attention, 1 / 16, atol=0.005)
    assert len(model.weights.exp) << model.weights.exp_shift > arithmetic.D_MAX


def test_shifts_that_go_in_a_circle_settle_on_the_largest() -> None:
    """Fresh parameters of this seed want x3 shifted by 6 after 7, and by 7 after 6."""
    assert calibrated(SIZES, initial_state(SIZES, random.Random(1))).weights.shifts["x3"] == 7


def test_it_refuses_what_it_was_not_made_for() -> None:
    config = GPTConfig(n_embd=8)
    with pytest.raises(ValueError, match="made for"):
        calibrated(config, initial_state(config, random.Random(1)))
    state = weights(1)
    with pytest.raises(ValueError, match="lm_head is missing"):
        calibrated(SIZES, {name: array for name, array in state.items() if name != "lm_head"})


def test_rows_too_large_for_16_bits_take_wider_steps() -> None:
    state = weights(1)
    for name in ("layer0.attn_wo", "layer0.mlp_fc2"):
        model = calibrated(SIZES, {**state, name: np.sign(state[name])})
        assert model.forward(np.array([3]), 0, model.begin(1))["logits"].any()
        turbo.files(model)  # asserts for each row that it fits


# ---- the programs --------------------------------------------------------------------------------


@dataclass
class Processor:
    """As much of a 65816 as a row needs: a 16-bit accumulator, and a carry that nobody clears."""

    codes: Sequence[int]
    a: int = 0
    carry: int = 0

    def run(self, lines: Sequence[str]) -> int:
        for line in lines:
            name, _, rest = line.split(";")[0].strip().partition(" ")
            if name in ("clc", "sec"):
                self.carry = int(name == "sec")
                continue
            if name in ("first", "plus", "minus"):
                i, k = map(int, rest.split(","))
                assert 1 <= k <= turbo.MULTIPLES
                operand = k * self.codes[i]
            else:
                operand = int(rest.strip().removeprefix("#"))
            assert 0 <= operand < 65536
            if name in ("lda", "first"):
                self.a = operand
            elif name in ("adc", "plus"):
                self.carry, self.a = divmod(self.a + operand + self.carry, 65536)
            else:
                assert name in ("sbc", "minus"), line
                borrowed = self.a - operand - (1 - self.carry)
                self.carry, self.a = int(borrowed >= 0), borrowed % 65536
        return self.a


rows = st.lists(levels, min_size=16, max_size=16).map(np.array)
codes = st.lists(st.integers(0, 255) | st.sampled_from([0, 255]), min_size=16, max_size=16)


@given(rows, codes, st.integers(0, 20000))
@settings(max_examples=300)
def test_a_row_is_a_sum(row: Integers, x: list[int], constant: int) -> None:
    """Exact where it is positive; where it is negative, seen to be so."""
    lines, wrapped = turbo._row(row, constant)
    found = Processor(x).run(lines)
    exact = constant + int(row @ (np.array(x) - 128))
    if exact >= 0:
        assert found == exact < wrapped
    else:
        assert found >= wrapped


@given(rows, codes, st.integers(0, 8000))
@settings(max_examples=300)
def test_a_row_may_start_from_the_stream(row: Integers, x: list[int], stream: int) -> None:
    lines, wrapped = turbo._row(row, 900, stream=8000)
    found = Processor(x, a=stream).run(lines)
    exact = stream + 900 + int(row @ (np.array(x) - 128))
    assert found == exact if exact >= 0 else found >= wrapped


@given(rows, codes)
@settings(max_examples=300)
def test_a_logit_is_exact_below_zero_too(row: Integers, x: list[int]) -> None:
    low = int(-row[row < 0].sum()) * 255
    lines = [f"lda #{low}", "clc", *turbo._terms(row, 0)]
    lines += [] if (row < 0).any() else ["sec"]
    lines += [f"sbc #{(low + 128 * int(row.sum())) % 65536}"]
    assert Processor(x).run(lines) == int(row @ (np.array(x) - 128)) % 65536


def test_products_never_carry() -> None:
    """Four in a score, sixteen in a mix: the sums of the table's entries stay in 16 bits."""
    table = arithmetic.product_table()
    assert table.min() >= 0
    assert 4 * table.max() < 65536
    mixed = table[arithmetic.Q_HALF : arithmetic.Q_HALF + arithmetic.A_MAX + 1]
    assert 16 * mixed.max() < 65536


# ---- quantization-aware training -----------------------------------------------------------------


def trained(engine: TrainableEngine, steps: int) -> list[float]:
    return engine.train([DOCUMENTS[:2]] * steps, [0.01] * steps)


def around(start: int) -> tuple[TrainableEngine, QuantizationAware]:
    state = weights(4)
    plain, inner = (engines.create_trainable("scalar", SIZES, state, Adam()) for _ in range(2))
    return plain, QuantizationAware(inner, arithmetic.rounding, start)


def test_before_its_start_training_is_as_ever() -> None:
    plain, aware = around(start=3)
    assert isinstance(aware, TrainableEngine)
    assert trained(aware, 3) == trained(plain, 3)
    for name, array in plain.state().items():
        assert (aware.state()[name] == array).all(), name


def test_from_its_start_on_what_runs_is_rounded() -> None:
    plain, aware = around(start=1)
    assert trained(aware, 1) == trained(plain, 1)
    steps = arithmetic.step_sizes(plain.state())
    trained(aware, 3)
    for name, step in steps.items():
        level = aware.state()[name] / (arithmetic.WIDER * step)
        np.testing.assert_allclose(level, np.rint(level), atol=1e-9, err_msg=name)
        assert np.abs(level).max() < LEVEL + 0.5
    assert aware.loss(DOCUMENTS) == aware.engine.loss(DOCUMENTS)
    assert aware.state()["adam.t"] == 4


def test_what_is_too_small_to_round_another_way_is_not_lost() -> None:
    """Each step moves a weight by about the learning rate: an eighth of a level, kept unrounded."""
    _, aware = around(start=0)
    aware.train([DOCUMENTS[:1]], [1e-9])
    name = "lm_head"
    step = arithmetic.step_sizes(weights(4))[name]
    before = aware.state()[name]
    aware.train([DOCUMENTS[:1]], [step / 8])
    small = np.abs(aware.state()[name] - before) > 0
    aware.train([DOCUMENTS[:1]] * 15, [step / 8] * 15)
    large = np.abs(aware.state()[name] - before) > 0
    assert small.mean() < 0.3
    assert large.mean() > 0.6


# ---- the console ---------------------------------------------------------------------------------


@dataclass
class Pair:
    """The same model on the console and in Python."""

    snes: SnesEngine
    fixed: FixedEngine


@pytest.fixture(
    scope="module", params=[(1, 0.3), (2, 1.0), (3, 0.02)], ids=["usual", "large", "none"]
)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    made, model = rom.build("turbo", SIZES, weights(*request.param))
    snes = SnesEngine.of(made.data, model)
    yield Pair(snes, FixedEngine.of(model))
    snes.console.close()


@console
def test_the_console_computes_the_same_bits(pair: Pair) -> None:
    rng = random.Random(5)
    documents = [[26, *rng.choices(range(27), k=15)], [26] * 16, [26, *[rng.randrange(27)] * 8]]
    for tokens in documents:
        found, expected = pair.snes.inspect(tokens), pair.fixed.inspect(tokens)
        for name in ("logits", "attention", "residual", "hidden"):
            assert (found[name] == expected[name]).all(), name


@console
def test_the_console_clamps_and_counts_the_same() -> None:
    """Codes far too narrow for their sums: above and below, each of the six kinds is clamped."""
    state = weights(6, spread=0.5)
    model = Turbo(SIZES, state, {"q": 5, "k": 5, "v": 5, "x2": 3, "h": 3, "x3": 3})
    made = rom.assemble(rom.spec("turbo"), turbo.files(model))
    snes, inspected = SnesEngine.of(made.data, model), FixedEngine.of(model)
    before = snes.console.word(snes.console.at["saturations"])
    model.saturations = 0
    for tokens in DOCUMENTS:
        found, expected = snes.inspect(tokens[:16]), inspected.inspect(tokens[:16])
        for name in ("logits", "attention", "residual", "hidden"):
            assert (found[name] == expected[name]).all(), name
    counted = snes.console.word(snes.console.at["saturations"]) - before
    assert counted == model.saturations > 100
    snes.console.close()


# ---- its routines, one by one --------------------------------------------------------------------

# What lies in bank $81 cannot be called from the mailbox: these step across.
PROBE = """
        .segment "CODE"
routine probe_{name}, 16, 16
        phb
        jsl far_{name} | $810000
        plb
        rts
.endproc
        .segment "CODE1"
routine far_{name}, 16, 16
        phk
        plb
        page {page}
        ldx #mixed
        call {name}
        page 0
        rtl
.endproc
"""
PROBED = {"norm": "multiples", "build_multiples": "multiples", "attend": "attention_page"}


@pytest.fixture(scope="module")
def probed() -> Iterator[Bench]:
    model = calibrated(SIZES, weights(1))
    probes = "".join(PROBE.format(name=name, page=page) for name, page in PROBED.items())
    source = '        .include "turbo/turbo.inc"\n' + probes
    made = rom.assemble(rom.spec("turbo"), {**turbo.files(model), "probe.asm": source.encode()})
    bench = still((made, model))
    yield bench
    bench.console.close()


def table_of(bench: Bench) -> Integers:
    """Return what lies in the table of multiples: (16 inputs, 8 multiples)."""
    words = bench.console.words(bench.labels["multiples"], 128) & 0xFFFF
    return words.reshape(16, 8)


@console
@pytest.mark.parametrize(
    "x",
    [
        [0] * 16,
        [1] + [0] * 15,
        [127] * 16,
        [-127] * 16,
        [127, -127] * 8,
        [0] * 15 + [-127],
        [127, 1] + [0] * 14,
        list(range(-8, 8)),
        [7 * i * i % 255 - 127 for i in range(16)],
    ],
    ids=str,
)
def test_norm(probed: Bench, x: list[int]) -> None:
    probed.call("probe_norm", stream=[xi + 127 for xi in x])
    expected = norm(np.array([x]))[0] + 128
    assert probed.read("codes", 16) == expected.tolist()
    assert (table_of(probed) == np.outer(expected, np.arange(1, 9))).all()


@console
def test_multiples(probed: Bench) -> None:
    for codes in ([0] * 16, [255] * 16, list(range(0, 256, 17))):
        probed.call("probe_build_multiples", mixed=codes)
        assert (table_of(probed) == np.outer(codes, np.arange(1, 9))).all()


def ends(rng: np.random.Generator, half: int, *shape: int) -> Integers:
    return rng.choice([-half, half - 1], shape)


def small(rng: np.random.Generator, half: int, *shape: int) -> Integers:
    return rng.integers(-2, 3, shape)


def any_code(rng: np.random.Generator, half: int, *shape: int) -> Integers:
    return rng.integers(-half, half, shape)


def low(rng: np.random.Generator, half: int, *shape: int) -> Integers:
    return np.full(shape, -half)


def high(rng: np.random.Generator, half: int, *shape: int) -> Integers:
    return np.full(shape, half - 1)


@console
@pytest.mark.parametrize("position", [0, 1, 2, 7, 14, 15])
@pytest.mark.parametrize("draw", [ends, small, any_code, low, high], ids=lambda d: d.__name__)
def test_attend(probed: Bench, draw: Draw, position: int) -> None:
    """With all codes at their ends, too: what is exact there never left 16 bits."""
    rng, heads = np.random.default_rng(position), (4, 4)
    assert isinstance(probed.model, Turbo)
    q = draw(rng, arithmetic.Q_HALF, *heads)
    keys, values = (draw(rng, arithmetic.K_HALF, position + 1, *heads) for _ in range(2))
    rows = arithmetic.Q_HALF + q.ravel() << 7 | 0x8000
    for i, row in enumerate(rows.tolist()):
        probed.console.write(probed.labels["attention_page"] + 16 * i + 8, row)
    for name, codes in (("keys", keys), ("values", values)):
        offsets = (2 * (arithmetic.K_HALF + codes.ravel())).astype(np.uint8)
        probed.console.write(probed.labels[name], *offsets.view("<u2").tolist())
    before = probed.console.read(0, 256)
    probed.call("probe_attend", position=position, watched=1)
    mixed, attention = probed.model.attend(q[None], keys[None], values[None])
    assert probed.read("mixed", 16) == (mixed.ravel() + 128).tolist()
    seen = probed.console.words(probed.labels["attention"], 64).reshape(4, 16)
    assert (seen[:, : position + 1] == attention[0]).all()
    after = probed.console.read(0, 256)
    changed = {at for at in range(256) if before[at] != after[at]}
    others = {"frames", "pad_repeat", "dirty", "position", "watched"}  # the interrupt's, and given
    known = {probed.labels[name] + i for name in others for i in (0, 1)}
    assert changed <= known, "a variable of the game was changed"
