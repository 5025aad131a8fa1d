"""The scaling law: a known one is found again, runs are kept, and what cannot be fitted is said."""

import math
import random
from dataclasses import replace

import pytest

from microgpt import dataset, engines, scaling
from microgpt.feed import Pretraining
from microgpt.scaling import Law, Outcome, Point

pytest.importorskip("scipy", reason="scipy is not installed")
LAW = Law(E=1.8, A=1.6, B=2.4, alpha=0.31, beta=0.22)
needs_native = pytest.mark.skipif(
    bool(engines.missing("native")), reason=str(engines.missing("native"))
)


def outcomes(law: Law, noise: float = 0.0) -> list[Outcome]:
    """Return what runs would come to if a law held."""
    rng = random.Random(3)
    return [
        Outcome(Point(8, 1.0, d, seed), n, d, 1.0, law.loss(n, d) * rng.gauss(1, noise))
        for n in (500, 1300, 4200, 14_000, 53_000)
        for d in (20_000, 40_000, 80_000, 160_000, 320_000)
        for seed in range(2)
    ]


def test_a_known_law_is_found_again() -> None:
    found = scaling.fit(outcomes(LAW))
    for name, value in vars(LAW).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-3), name


def test_a_few_runs_that_went_wrong_do_not_bend_it() -> None:
    made = outcomes(LAW)
    made[3], made[20] = (replace(made[i], loss=made[i].loss * 1.1) for i in (3, 20))
    assert scaling.fit(made).loss(2e5, 7e5) == pytest.approx(LAW.loss(2e5, 7e5), rel=2e-3)


def test_its_interval_holds_what_it_is_to_hold() -> None:
    made = outcomes(LAW, noise=0.002)
    law = scaling.fit(made)
    at = (200_000, 640_000)
    predicted = scaling.predictions(law, scaling.refit(made, law), made, at)
    low, high = scaling.interval(predicted)
    assert low < LAW.loss(*at) < high
    assert high - low < 0.1


def test_too_few_sizes_are_refused() -> None:
    made = [each for each in outcomes(LAW) if each.parameters < 2000]
    with pytest.raises(ValueError, match="needs 3 widths and 3 lengths of at most 4 passes"):
        scaling.fit(made)


def test_a_grid_is_widths_data_steps_and_seeds() -> None:
    points = scaling.grid(3200, [8, 16], [0.5, 2], seeds=2)
    assert len(set(points)) == 2 * 2 * 2 * 2
    assert {point.steps for point in points} == {50, 200}
    aims = scaling.larger(3200, [8, 16], [0.5, 2], seeds=2)
    assert {(p.n_embd, p.share, p.steps) for p in aims} == {(32, 1.0, 400)}


@needs_native
def test_a_run_counts_what_it_reads() -> None:
    data = dataset.load("world")
    feed = Pretraining(data, scaling.BATCH, scaling.HELD_OUT, 0)
    few = feed.documents[: round(0.25 * len(feed.documents))]
    steps = len(few) // scaling.BATCH + 10
    made = scaling.train(data, Point(4, 0.25, steps, 0))
    read = [few[i % len(few)] for i in range(steps * scaling.BATCH)]
    assert made.tokens == sum(min(16, len(tokens) - 1) for tokens in read)
    assert made.passes == pytest.approx(len(read) / len(few))
    assert made.loss < math.log(feed.tokenizer.vocab_size)
    assert made == scaling.train(data, Point(4, 0.25, steps, 0))
