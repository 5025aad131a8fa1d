"""What a learner writes beside gpt.py: held to gpt.py, to the package's own, to exact fractions."""

import math
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import engines, gpt
from microgpt.arrays import array
from microgpt.bigram import Bigram
from microgpt.config import GPTConfig
from microgpt.gpt import Config
from microgpt.school import reference
from microgpt.tuning.weights import advantages, dpo_weights, forbid_unfinished, sft_weights

CONFIG = Config(vocab_size=5, n_layer=2, n_embd=6, n_head=2, block_size=4)
DOCS = [[4, 0, 1, 2, 4], [4, 3, 4], [4, 0, 0, 4]]


@pytest.fixture
def params() -> "gpt.Params":
    params = gpt.init(CONFIG, random.Random(1))
    for p in gpt.flat(params):
        p.data *= 10
    return params


def test_bigram_agrees_with_the_package() -> None:
    table, theirs = reference.bigram(DOCS, 5), Bigram.of(5, 16, DOCS)
    for tokens in DOCS:
        ours = [reference.surprise(table[a][b]) for a, b in pairwise(tokens)]
        assert ours == pytest.approx(theirs.losses(tokens))


def test_slope_is_exact_for_a_parabola_and_converges_for_others() -> None:
    assert reference.slope(lambda x: x * x, 3.0, 0.5) == 6
    errors = [abs(reference.slope(math.exp, 0.0, h) - 1) for h in (0.1, 0.01)]
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.01)  # it falls with h squared


def test_recompute_gives_the_logits_that_the_cache_gives(params: "gpt.Params") -> None:
    keys, values = gpt.cache(CONFIG)
    tokens = [4, 1, 1, 3]
    for pos_id, token in enumerate(tokens):
        logits = gpt.gpt(params, CONFIG, token, pos_id, keys, values)
        again = reference.recompute(params, CONFIG, tokens[: pos_id + 1])
        assert [z.data for z in again] == pytest.approx([z.data for z in logits])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counts = [0]

    def linear(x: "gpt.Vector", w: "gpt.Matrix") -> "gpt.Vector":
        counts[0] += len(x) * len(w)
        return original(x, w)

    original = gpt.linear
    monkeypatch.setattr(gpt, "linear", linear)
    monkeypatch.setattr(reference, "linear", linear)
    return counts


def test_multiplications_are_those_that_linear_does(
    params: "gpt.Params", counted: list[int]
) -> None:
    tokens = [4, 1, 1, 3]
    keys, values = gpt.cache(CONFIG)
    for pos_id, token in enumerate(tokens):
        gpt.gpt(params, CONFIG, token, pos_id, keys, values)
    assert counted.pop() == reference.multiplications(CONFIG, 4, True)
    counted.append(0)
    for length in range(1, 5):
        reference.recompute(params, CONFIG, tokens[:length])
    assert counted.pop() == reference.multiplications(CONFIG, 4, False)


@given(
    st.integers(-(2**15), 2**15 - 1),
    st.integers(-(2**15), 2**15 - 1),
    st.sampled_from([(8, 8), (4, 4), (1, 15), (16, 0)]),
)
def test_fixed_mul_is_the_nearest_fixed_number(a: int, b: int, sizes: tuple[int, int]) -> None:
    m, n = sizes
    limit = 2 ** (m + n - 1)
    exact = Fraction(a * b, 2**n)
    nearest = math.floor(exact + Fraction(1, 2))
    assert reference.fixed_mul(a, b, m, n) == max(-limit, min(limit - 1, nearest))


def test_weighted_loss_is_what_the_engines_go_down(params: "gpt.Params") -> None:
    """Its value and every gradient are the native engine's, for weights of any sign."""
    tokens, weights = [4, 0, 3, 1, 4], [0.0, 2.0, -0.5, 0.25]
    engine = engines.create_trainable(
        "native",
        GPTConfig(*CONFIG),
        {name: array([[p.data for p in row] for row in rows]) for name, rows in params.items()},
        dtype="float64",
    )
    loss = reference.weighted_loss(params, CONFIG, tokens, weights)
    assert loss.data == pytest.approx(engine.loss([tokens], [weights]), rel=1e-12)
    loss.backward()
    for name, gradients in engine.gradients([tokens], [weights]).items():
        ours = [p.grad for row in params[name] for p in row]
        assert ours == pytest.approx(gradients.ravel().tolist(), rel=1e-9, abs=1e-12)


def test_weighted_loss_with_equal_weights_is_the_loss(params: "gpt.Params") -> None:
    tokens = [4, 2, 2, 4]
    whole = reference.weighted_loss(params, CONFIG, tokens, sft_weights(tokens, 0))
    assert whole.data == pytest.approx(gpt.loss(params, CONFIG, tokens).data)


@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(0.05, 2))
def test_dpo_weights_are_minus_the_slopes_of_its_loss(
    chosen: float, rejected: float, beta: float
) -> None:
    up, down = dpo_weights(chosen, rejected, beta)
    slopes = (
        reference.slope(lambda x: reference.dpo_loss(x, rejected, beta), chosen, 1e-4),
        reference.slope(lambda x: reference.dpo_loss(chosen, x, beta), rejected, 1e-4),
    )
    assert (-up, -down) == pytest.approx(slopes, rel=1e-4, abs=1e-8)


def test_dpo_bears_any_difference() -> None:
    assert reference.dpo_loss(-1000, 1000, 1) == 2000
    assert reference.dpo_loss(1000, -1000, 1) == 0
    assert dpo_weights(-1000, 1000, 1) == (1, -1)
    assert dpo_weights(1000, -1000, 1) == pytest.approx((0, 0))


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.booleans()), min_size=2))
def test_advantages_and_unfinished_documents(each: list[tuple[float, float, bool]]) -> None:
    """What one gains the others lose; what does not end earns no more than any other."""
    rewards, ratios, finished = (list(column) for column in zip(*each, strict=True))
    assert sum(advantages(rewards, ratios, 0.1)) == pytest.approx(0, abs=1e-9)
    shifted = advantages([r + 5 for r in rewards], ratios, 0.1)
    assert shifted == pytest.approx(advantages(rewards, ratios, 0.1), abs=1e-9)
    kept = forbid_unfinished(rewards, finished)
    for reward, earned, ended in zip(rewards, kept, finished, strict=True):
        assert earned == reward if ended else earned <= min(0, *rewards)
