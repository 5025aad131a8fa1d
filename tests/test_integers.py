"""The integer models: their rules against floats, their limits, their console's random numbers."""

import math
import random
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import engines
from microgpt.arrays import State
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.engines.fixed import FixedEngine
from microgpt.integers.base import TEMPERATURES, Random, exp_scale, generate, sample, softmax
from microgpt.integers.classic import Classic, Format

SIZES = GPTConfig(block_size=8)
DOCUMENTS = [[26, 4, 12, 12, 0, 26], [26, 25, 26], [26, *range(12), 26]]


def weights(seed: int, spread: float = 0.3, config: GPTConfig = SIZES) -> State:
    """Return parameters as large as trained ones, so that sums and logits are."""
    state = initial_state(config, random.Random(seed))
    return {name: array * (spread / 0.08) for name, array in state.items()}


@pytest.mark.parametrize(
    "config",
    [SIZES, GPTConfig(n_layer=2, n_embd=12, n_head=3, block_size=5, vocab_size=7)],
    ids=["classic", "two layers"],
)
def test_it_computes_what_the_float_model_does_within_its_bound(config: GPTConfig) -> None:
    """The stated bound of Q8.8: 0.1 on logits, 0.02 on probabilities, for weights of about 0.3."""
    state = weights(1, config=config)
    tokens = [(7 * i + 3) % config.vocab_size for i in range(config.block_size)]
    found = FixedEngine(config, state).inspect(tokens)
    expected = engines.create("scalar", config, state).inspect(tokens)
    assert found.keys() == expected.keys()
    for name, bound in {"logits": 0.1, "residual": 0.1, "hidden": 0.1}.items():
        assert found[name].shape == expected[name].shape
        assert np.abs(found[name] - expected[name]).max() < bound, name
    for name in ("probs", "attention"):
        assert np.abs(found[name] - expected[name]).max() < 0.02, name
    assert (found["logits"].argmax(1) == expected["logits"].argmax(1)).mean() >= 0.8


def test_steps_equal_inspection() -> None:
    engine = FixedEngine(SIZES, weights(2))
    tokens = [26, 4, 12, 12, 0]
    expected = engine.inspect(tokens)["logits"]
    for _ in range(2):
        engine.reset()
        assert (np.array([engine.step(token) for token in tokens]) == expected).all()


def test_steps_end_where_the_context_does() -> None:
    engine = FixedEngine(SIZES, weights(2))
    for _ in range(8):
        engine.step(26)
    with pytest.raises(ValueError, match="block_size 8"):
        engine.step(0)
    with pytest.raises(ValueError, match="9 tokens do not fit block_size 8"):
        engine.inspect([0] * 9)
    with pytest.raises(ValueError, match="token 27"):
        engine.step(27)


def test_loss_is_the_mean_surprise() -> None:
    """The batched loss against one computed token by token."""
    engine = FixedEngine(SIZES, weights(3))
    means = []
    for tokens in DOCUMENTS:
        engine.reset()
        surprises = []
        for token, following in pairwise(tokens[:9]):
            logits = engine.step(token)
            surprises.append(math.log(np.exp(logits).sum()) - logits[following])
        means.append(sum(surprises) / len(surprises))
    assert engine.loss(DOCUMENTS) == pytest.approx(sum(means) / len(means), abs=1e-12)
    assert engine.loss(DOCUMENTS[:1]) == pytest.approx(means[0], abs=1e-12)


def test_fewer_bits_are_worse() -> None:
    """The dial of the lesson: each bit less moves the logits farther from the float model's."""
    state, tokens = weights(4), [26, 4, 12, 12, 0]
    exact = engines.create("scalar", SIZES, state).inspect(tokens)["logits"]
    errors = [
        np.abs(FixedEngine(SIZES, state, m=6, n=n).inspect(tokens)["logits"] - exact).mean()
        for n in (9, 8, 6, 4, 2)
    ]
    assert errors == sorted(errors)
    assert errors[-1] > 20 * errors[0]


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=32), st.sampled_from(range(15)))
def test_softmax_is_softmax(z: list[int], temperature: int) -> None:
    scale = exp_scale(TEMPERATURES[temperature])
    exps, probs = softmax(np.array(z), scale)
    real = np.exp((np.array(z) - max(z)) / 256 / TEMPERATURES[temperature])
    assert exps.min() >= 0
    assert exps.max() == 65535, "the largest is exp(0)"
    assert np.abs(probs / 32768 - real / real.sum()).max() < 0.004
    assert probs.sum() <= 32768


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=27), st.integers(0, 65535))
def test_sample_always_finds_a_token_that_is_possible(exps: list[int], r: int) -> None:
    exps[len(exps) // 2] = 65535  # softmax always gives one
    token = sample(np.array(exps), r)
    assert exps[token] > 0
    threshold = r * sum(exps) >> 16
    assert sum(exps[:token]) <= threshold < sum(exps[: token + 1])


def test_sample_gives_every_token_its_share() -> None:
    """All 65,536 random numbers once: each token comes as often as its probability says, +- 1."""
    exps = softmax(np.array(range(-1000, 900, 75)), 739)[0]
    counts = np.bincount([sample(exps, r) for r in range(65536)], minlength=len(exps))
    assert np.abs(counts - 65536 * exps / exps.sum()).max() <= 1


def test_names_are_drawn_as_softmax_says() -> None:
    """Chi-square of 20,000 draws by the console's random numbers; 26 degrees of freedom."""
    rng = np.random.default_rng(5)
    exps = softmax(rng.integers(-500, 500, 27), exp_scale(1.0))[0]
    console, expected = Random(0x1990), 20_000 * exps / exps.sum()
    counts = np.bincount([sample(exps, console.draw()) for _ in range(20_000)], minlength=27)
    assert ((counts - expected) ** 2 / expected).sum() < 54.1, "p < 0.001"


def test_random_numbers_have_the_full_period() -> None:
    """A step is linear over GF(2): its period is the order of a matrix of 32 x 32 bits."""
    assert order_is_full(matrix(step), 32)


def test_seeds_that_are_alike_drift_apart() -> None:
    firsts = [Random(seed).draw() for seed in range(256)]
    counts = np.bincount([first >> 12 for first in firsts], minlength=16)
    assert ((counts - 16) ** 2 / 16).sum() < 37.7, "chi-square, 15 degrees of freedom: p < 0.001"


@pytest.mark.parametrize("seed", [-1, 65536])
def test_seeds_have_four_digits(seed: int) -> None:
    with pytest.raises(ValueError, match="0 to 65535"):
        Random(seed)


def test_generate_completes_prefixes_and_repeats_itself() -> None:
    model = Classic(SIZES, weights(5))
    first = list(generate(model, 7, prefix=(10, 0), count=5))
    again = list(generate(model, 7, prefix=(10, 0), count=5))
    other = list(generate(model, 8, prefix=(10, 0), count=5))
    chosen = [record.chosen for record in first]
    assert chosen == [record.chosen for record in again]
    assert chosen != [record.chosen for record in other]
    starts = [i for i, record in enumerate(first) if record.position == 0]
    assert len(starts) == 5
    assert all(chosen[i : i + 2] == [10, 0] for i in starts)
    assert all(first[i].drawn == first[i + 1].drawn == 0 for i in starts)


def test_clamped_results_are_counted() -> None:
    state = weights(6)
    assert FixedEngine(SIZES, state).saturations == 0
    small = FixedEngine(SIZES, state, m=2, n=6)  # -2 to 1.98: a normed vector does not fit
    logits = small.inspect([26, 4, 12])["logits"]
    assert small.saturations > 0
    assert logits.max() <= 127 / 64


def test_integers_round_and_clamp() -> None:
    given_ = np.array([0.5 / 256, 1.5 / 256, -1.5 / 256, 1.0, 127.999, 128.0, -200.0])
    assert Format().integers(given_).tolist() == [0, 2, -2, 256, 32767, 32767, -32768]


@pytest.mark.parametrize(("m", "n"), [(0, 8), (8, 0), (9, 8)])
def test_formats_fit_16_bits(m: int, n: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        FixedEngine(SIZES, weights(1), m=m, n=n)


@pytest.mark.parametrize(
    ("name", "size"), [("lm_head", 17.0), ("layer0.attn_wq", 1.5), ("layer0.mlp_fc2", 5.0)]
)
def test_weights_whose_sums_could_overflow_are_refused(name: str, size: float) -> None:
    state = dict(weights(1))
    Classic(SIZES, state)
    state[name] = np.full_like(state[name], size)
    with pytest.raises(ValueError, match=f"a row of {name} adds up to"):
        Classic(SIZES, state)


def test_integers_lose_next_to_nothing(trained: State) -> None:
    """The cartridge's bar: within 0.03 nats/token of the float model."""
    documents = [
        [26, *(ord(c) - 97 for c in name), 26] for name in ("emma", "olivia", "zoe", "max")
    ]
    exact = engines.create_trainable("scalar", SIZES, trained).loss(documents)
    assert abs(FixedEngine(SIZES, trained).loss(documents) - exact) < 0.01


@pytest.fixture(scope="module")
def trained() -> State:
    """Return a model that has learned a little."""
    engine = engines.create_trainable(
        engines.default(), SIZES, initial_state(SIZES, random.Random(42))
    )
    names = ["emma", "olivia", "ava", "sophia", "mia", "luna", "ella", "zoe", "leo", "liam"]
    batch = [[26, *(ord(c) - 97 for c in name), 26] for name in names]
    engine.train([batch] * 12, [0.02] * 12)
    return {name: a for name, a in engine.state().items() if not name.startswith("adam.")}


def step(state: int) -> int:
    """Return the console's random state, x below y, after a draw."""
    generator = Random(0)
    generator.x, generator.y = state & 0xFFFF, state >> 16
    generator.draw()
    return generator.x | generator.y << 16


def matrix(transition: Callable[[int], int], bits: int = 32) -> list[int]:
    """Return the matrix of a linear transition: where each single bit goes."""
    return [transition(1 << bit) for bit in range(bits)]


def order_is_full(columns: list[int], bits: int) -> bool:
    """Tell whether the matrix's powers go through all 2^bits - 1 states that are not 0."""

    def apply(m: list[int], vector: int) -> int:
        result = 0
        for bit in range(bits):
            if vector >> bit & 1:
                result ^= m[bit]
        return result

    def power(exponent: int) -> list[int]:
        result, base = [1 << bit for bit in range(bits)], columns
        while exponent:
            if exponent & 1:
                result = [apply(base, column) for column in result]
            base = [apply(base, column) for column in base]
            exponent >>= 1
        return result

    identity, period = [1 << bit for bit in range(bits)], 2**bits - 1
    primes = {32: (3, 5, 17, 257, 65537), 16: (3, 5, 17, 257)}[bits]  # of 2^bits - 1
    return power(period) == identity and all(power(period // p) != identity for p in primes)
