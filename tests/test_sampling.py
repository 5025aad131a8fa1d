"""From logits to tokens: the heart's way, with more dials."""

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from microgpt import engines, gpt
from microgpt.arrays import State
from microgpt.config import GPTConfig
from microgpt.sampling import (
    Sampling,
    Stream,
    choose,
    draw,
    probabilities,
    sample,
    sample_many,
)

logit_lists = st.lists(st.floats(-30, 30), min_size=1, max_size=30)


@given(logit_lists, st.floats(0.05, 5))
def test_without_dials_it_is_the_hearts_softmax(logits: list[float], temperature: float) -> None:
    expected = gpt.softmax([gpt.Value(z) / temperature for z in logits])
    assert probabilities(logits, Sampling(temperature)) == [p.data for p in expected]
    everything = Sampling(temperature, top_k=len(logits), top_p=1.0)
    assert probabilities(logits, everything) == [p.data for p in expected]


@given(logit_lists, st.integers(1, 30), st.floats(0.01, 1))
def test_dials_keep_the_likeliest(logits: list[float], top_k: int, top_p: float) -> None:
    full = probabilities(logits, Sampling(1))
    kept = probabilities(logits, Sampling(1, top_k, top_p))
    assert sum(kept) == pytest.approx(1)
    chosen = [token for token, p in enumerate(kept) if p]
    assert 1 <= len(chosen) <= top_k or top_k > len(full)
    dropped = [full[token] for token, p in enumerate(kept) if not p]
    least = min(full[token] for token in chosen)
    assert all(p <= least for p in dropped)
    mass = sum(full[token] for token in chosen)
    assert mass >= top_p - 1e-9 or len(chosen) == min(top_k, len(full))
    assert mass - least < top_p, "no token more than it takes to reach p"
    for token in chosen:
        assert kept[token] == pytest.approx(full[token] / mass)


@given(logit_lists)
def test_temperature_zero_is_greedy(logits: list[float]) -> None:
    probs = probabilities(logits, Sampling(0))
    assert probs.index(1.0) == logits.index(max(logits))
    assert sum(probs) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers())
def test_a_choice_is_that_of_random_choices(probs: list[float], seed: int) -> None:
    assume(sum(probs) > 0)
    ours, theirs = random.Random(seed), random.Random(seed)
    for _ in range(5):
        assert choose(probs, ours) == theirs.choices(range(len(probs)), probs)[0]


def test_documents_are_the_hearts(state: State) -> None:
    config = GPTConfig()
    engine = engines.create("scalar", config, state)
    params = gpt.init(config, random.Random(42))
    ours, theirs = random.Random(1), random.Random(1)
    for _ in range(5):
        expected = gpt.sample(params, config, theirs)
        assert sample(engine, ours, Sampling()) == expected


def test_prefixes(state: State) -> None:
    engine = engines.create("scalar", GPTConfig(), state)
    for length in (0, 1, 15, 16):
        prefix = [3] * length
        document = sample(engine, random.Random(1), Sampling(), prefix)
        assert document[:length] == prefix
        assert len(document) <= 16
    with pytest.raises(ValueError, match="17 tokens"):
        sample(engine, random.Random(1), Sampling(), [3] * 17)


@pytest.mark.parametrize("prefix", [[], [3], [3] * 15, [3] * 16])
def test_what_is_drawn_comes_with_its_probabilities(state: State, prefix: list[int]) -> None:
    engine = engines.create("scalar", GPTConfig(), state)
    sampling = Sampling(1.5, top_k=20)
    drawn = [*draw(engine, random.Random(2), sampling, prefix)]
    document = [*prefix, *(token for token, _ in drawn)]
    ends = document[-1:] == [26]
    assert sample(engine, random.Random(2), sampling, prefix) == document[: -1 if ends else None]
    assert ends or len(document) == 16
    for i, (_, probs) in enumerate(drawn, len(prefix)):
        logits = engine.inspect([26, *document[:i]])["logits"][-1].tolist()
        assert probs == pytest.approx(probabilities(logits, sampling))


def test_many_names_are_one_each_from_its_stream(state: State) -> None:
    engine = engines.create("scalar", GPTConfig(), state)
    many = sample_many(engine, 4, 9, Sampling())
    assert many == [sample(engine, Stream(9, i), Sampling()) for i in range(4)]
    assert many[:2] == sample_many(engine, 2, 9, Sampling())


def test_streams_are_splitmix64() -> None:
    stream = Stream(0, 0)  # the state is 0: the first outputs are those of the published generator
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [stream.random() for _ in published] == [(x >> 11) / 2**53 for x in published]


def test_streams_are_uniform_and_apart() -> None:
    numbers = [Stream(seed, i).random() for seed in range(50) for i in range(200)]
    assert len(set(numbers)) == 10_000
    counts = [sum(n // 0.1 == tenth for n in numbers) for tenth in range(10)]
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts)
    assert chi_square < 27.9  # 9 degrees of freedom: p = 0.001


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ((-0.1,), "temperature is -0.1"),
        ((math.nan,), "temperature is nan"),
        ((math.inf,), "temperature is inf"),
        ((1, 0), "top-k is 0"),
        ((1, None, 0), "top-p is 0"),
        ((1, None, 1.1), "top-p is 1.1"),
        ((1, None, math.nan), "top-p is nan"),
    ],
)
def test_settings_outside_their_range_are_refused(settings: tuple[float, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Sampling(*settings)  # type: ignore[arg-type]
