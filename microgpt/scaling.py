"""A scaling law at home: how the loss falls with parameters and tokens, and what that predicts.

The law is loss = E + A / N^alpha + B / D^beta for N parameters and D tokens read (Hoffmann et al.
2022, arXiv 2203.15556, approach 3). A list of names is short: tokens that a run reads again and
again teach less than new ones, so runs of more than PASSES passes over their names are shown and
not fitted (Muennighoff et al. 2023, arXiv 2305.16264: up to four are nearly as good as new).
"""

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt import files
from microgpt.dataset import Dataset
from microgpt.feed import Pretraining
from microgpt.pictures import drawing
from microgpt.training import Run, Settings

BATCH = 32  # documents a step
HELD_OUT = 0.1  # share of the unique documents, for validation
PASSES = 4  # over its documents, at most, that a fitted run takes
SHARES = (0.25, 1.0)  # of the documents: what a run may learn from
REFITS = 200  # to samples of the runs, drawn with replacement: how sure the law is
Numbers = NDArray[np.float64]


def learning_rate(n_embd: int) -> float:
    """Return a rate that suits a width: found by trial at 8, 32 and 64; wider wants less."""
    return float(0.01 * math.sqrt(32 / n_embd))


@dataclass(frozen=True)
class Point:
    """A run of the grid."""

    n_embd: int
    share: float  # of the documents
    steps: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    point: Point
    parameters: int
    tokens: int  # read, again and again where `passes` is more than 1
    passes: float  # over its documents
    loss: float  # on the validation documents (nats/token)


def grid(documents: int, widths: Sequence[int], passes: Sequence[float], seeds: int) -> list[Point]:
    """Return the runs of a grid: width by data by steps by seed, the short ones first.

    Args:
        documents: how many there are to learn from.
        passes: over all documents; how many steps that takes is the same for a share of them.
    """
    steps = [max(1, round(p * documents / BATCH)) for p in passes]
    every = product(steps, widths, SHARES, range(seeds))
    return [Point(n_embd, share, n, seed) for n, n_embd, share, seed in every]


def prepare(data: Dataset, point: Point) -> Run[Pretraining]:
    """Return the run of a point, ready to take its steps."""
    feed = Pretraining(data, BATCH, HELD_OUT, point.seed)
    feed.documents = feed.documents[: max(1, round(point.share * len(feed.documents)))]
    settings = Settings(steps=point.steps, lr=learning_rate(point.n_embd))
    return Run(feed, settings, sizes={"n_embd": point.n_embd})


def train(data: Dataset, point: Point) -> Outcome:
    """Make the run of a point.

    Raises:
        ValueError: the width does not suit 4 heads, or the documents are too few.
    """
    run = prepare(data, point)
    for _ in run.advance():
        pass
    return outcome(run, point)


def outcome(run: Run[Pretraining], point: Point) -> Outcome:
    """Return what a finished run came to."""
    block_size, documents = run.config.block_size, run.feed.documents
    lengths = [min(block_size, len(tokens) - 1) for tokens in documents]
    whole_passes, rest = divmod(point.steps * BATCH, len(documents))
    tokens = whole_passes * sum(lengths) + sum(lengths[:rest])
    passes = point.steps * BATCH / len(documents)
    loss = run.engine.loss(run.feed.val)
    return Outcome(point, run.config.n_params, tokens, passes, loss)


def read(run: dict[str, Any]) -> Outcome:
    """Return an outcome from its JSON; raises as trials.load asks where it is none."""
    made = Outcome(**run | {"point": Point(**run["point"])})
    numbers = (made.parameters, made.tokens, made.passes, made.loss)
    if not all(isinstance(x, int | float) and 0 < x < math.inf for x in numbers):
        raise ValueError(f"{made} cannot be")
    return made


# ---- The law -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Law:
    """loss = E + A / N^alpha + B / D^beta (nats/token), for N parameters and D tokens."""

    E: float  # what no size and no reading takes away
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Return the loss that the law predicts."""
        return float(self.E + self.A * parameters**-self.alpha + self.B * tokens**-self.beta)


def fitted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes that a law is fitted to: those of few passes."""
    return [made for made in outcomes if made.passes <= PASSES]


def fit(outcomes: Sequence[Outcome], start: Law | None = None) -> Law:
    """Return the law of some outcomes: least squares of the logarithm, Huber's beyond 0.001.

    Args:
        start: a law near it; else several are tried.

    Raises:
        ValueError: they are too few, or of too few sizes, for five numbers.
    """
    from scipy.optimize import least_squares

    _check(outcomes)
    n = np.log([made.parameters for made in outcomes])
    d = np.log([made.tokens for made in outcomes])
    losses = np.log([made.loss for made in outcomes])

    def errors(x: Numbers) -> Numbers:
        terms = np.array([np.full_like(n, x[0]), x[1] - x[3] * n, x[2] - x[4] * d])
        return np.asarray(np.logaddexp.reduce(terms) - losses)

    least, low, high = losses.min(), [-9.0, -9, -9, 0.01, 0.01], [0.0, 30, 30, 3, 3]
    high[0] = least
    found = min(
        (
            least_squares(errors, x, bounds=(low, high), loss="huber", f_scale=1e-3)
            for x in _starts(start, least, n, d)
        ),
        key=lambda result: float(result.cost),
    )
    e, a, b, alpha, beta = found.x
    return Law(math.exp(e), math.exp(a), math.exp(b), float(alpha), float(beta))


def _check(outcomes: Sequence[Outcome]) -> None:
    sizes = {made.parameters for made in outcomes}
    tokens = {made.tokens for made in outcomes}
    if len(sizes) < 3 or len(tokens) < 3:
        raise ValueError(
            f"a law needs 3 widths and 3 lengths of at most {PASSES} passes; "
            f"the runs have {len(sizes)} and {len(tokens)}"
        )


def _starts(start: Law | None, least: float, n: Numbers, d: Numbers) -> Iterator[list[float]]:
    if start:
        logs = [math.log(x) for x in (start.E, start.A, start.B)]
        yield [min(logs[0], least - 1e-9), *logs[1:], start.alpha, start.beta]
        return
    for alpha, beta in product((0.3, 0.7, 1.2), repeat=2):
        yield [least - 0.1, alpha * n.min() - 1, beta * d.min() - 1, alpha, beta]


def refit(outcomes: Sequence[Outcome], law: Law, seed: int = 0) -> list[Law]:
    """Return the laws of samples of the outcomes, drawn with replacement."""
    rng = random.Random(seed)
    laws: list[Law] = []
    while len(laws) < REFITS:
        sample = rng.choices(outcomes, k=len(outcomes))
        try:
            laws.append(fit(sample, law))
        except ValueError:  # too few sizes happened to be drawn
            continue
    return laws


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return where 95 % of some values lie."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def predictions(
    law: Law, laws: Sequence[Law], outcomes: Sequence[Outcome], at: tuple[float, float]
) -> list[float]:
    """Return what one more run may come to: each refit's loss, and how far a run strays from it."""
    rng = random.Random(1)
    strays = [made.loss / law.loss(made.parameters, made.tokens) for made in outcomes]
    return [each.loss(*at) * rng.choice(strays) for each in laws]


# ---- What it is good for -------------------------------------------------------------------------
def larger(
    documents: int, widths: Sequence[int], passes: Sequence[float], seeds: int
) -> list[Point]:
    """Return the runs that a grid is to predict: twice its widest, twice its longest."""
    longest = min(PASSES, 2 * max(passes))
    points = grid(documents, [2 * max(widths)], [longest], seeds)
    return [point for point in points if point.share == 1]


def in_time(data: Dataset, n_embd: int, seconds: float) -> Point:
    """Return the run that takes so many seconds here, by the speed of its first steps."""
    trial = prepare(data, Point(n_embd, 1.0, 10**6, 0))
    done, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds / 4:
        trial.engine.train([trial.feed.batch(done + i)[0] for i in range(20)], [1e-3] * 20)
        done += 20
    return Point(n_embd, 1.0, max(1, int(seconds * done / spent)), 0)


def plot(
    path: files.PathLike, outcomes: Sequence[Outcome], law: Law, laws: Sequence[Law],
    predicted: Sequence[Outcome],
) -> None:  # fmt: skip
    """Draw the runs, the law with its 95 % band, and the runs that it was to predict.

    Raises:
        ValueError: the path ends in a kind of picture that is unknown.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    every = [*outcomes, *predicted]
    tokens = np.geomspace(min(o.tokens for o in every), max(o.tokens for o in every), 60)
    sizes = sorted({made.parameters for made in every})
    few = {id(made) for made in fitted(outcomes)}
    with drawing(path, figsize=(9, 5.5)) as (pyplot, axes):
        for i, size in enumerate(sizes):
            color = pyplot.get_cmap("viridis")(0.9 * i / len(sizes))
            mine = [made for made in outcomes if made.parameters == size]
            width = next(made.point.n_embd for made in every if made.parameters == size)
            band = np.array([[each.loss(size, d) for d in tokens] for each in laws])
            low, high = np.percentile(band, [2.5, 97.5], axis=0)
            axes.fill_between(tokens, low, high, color=color, alpha=0.15, linewidth=0)
            label = f"n_embd {width}: {size:,}"
            axes.plot(tokens, [law.loss(size, d) for d in tokens], color=color, label=label)
            for many, face in ((False, color), (True, "none")):
                shown = [made for made in mine if (id(made) not in few) == many]
                places = [made.tokens for made in shown], [made.loss for made in shown]
                axes.scatter(*places, s=16, facecolors=face, edgecolors=color, linewidths=0.8)
            stars = [made for made in predicted if made.parameters == size]
            axes.scatter(
                [made.tokens for made in stars], [made.loss for made in stars],
                s=110, marker="*", color=color, edgecolors="black", linewidths=0.6, zorder=3,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="tokens read", ylabel="loss on held-out names (nats/token)")
        axes.set_title(
            "Lines and bands: the law, 95 %. Hollow: more than "
            f"{PASSES} passes, not fitted. Stars: predicted, then trained.",
            fontsize=10,
            loc="left",
        )
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.legend(title="parameters", frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
