"""From gpt.py's model to a small Llama, brick by brick: what each buys, on one budget.

A rung is the rung below with one more brick. All take as many steps, on the same documents in the
same order. A learning rate that suits one need not suit another, so each has the best of three: a
run of its own with each chooses, by the validation documents. What a brick buys is then the mean
difference from the rung below over other seeds, on the test documents, which chose nothing.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from microgpt import engines, files
from microgpt.config import GPTConfig
from microgpt.dataset import Dataset
from microgpt.engines.base import Learner, initial_params
from microgpt.feed import Pretraining
from microgpt.llm.architecture import Architecture, Experts, RoPE
from microgpt.pictures import drawing
from microgpt.training import Settings

BATCH = 32  # documents a step
HELD_OUT = 0.1  # share of the unique documents held out to choose by, and again to report on
RATES = 0.005, 0.01, 0.02  # the first learning rate: one of these
CHOOSING = 1000  # the seed of the runs that choose it
ROUNDS = 300  # of timing: a step of each rung in one
Changes = Callable[[Architecture], dict[str, Any]]


@dataclass(frozen=True)
class Rung:
    """A brick on the rung below."""

    below: str | None  # the name of that rung
    who: str  # which models have the brick
    brick: str  # the function of llm/bricks.py that holds it
    changes: Changes  # what differs from the architecture below


RUNGS = {
    "gpt.py's model": Rung(None, "the heart", "forward", lambda a: {}),
    # To Llama: each has the one before.
    "norm at the end": Rung(
        "gpt.py's model",
        "all: it leaves the start",
        "norm",
        lambda a: {"embedding_norm": False, "final_norm": True},
    ),
    "gains": Rung(
        "norm at the end", "Llama, Qwen, ...", "gained_rmsnorm", lambda a: {"norm": "gained rms"}
    ),
    "SwiGLU": Rung(  # three matrices of 8/3 n are as many numbers as two of 4 n
        "gains",
        "Llama, Qwen, ...",
        "mlp",
        lambda a: {"activation": "silu", "gated": True, "n_hidden": 8 * a.n_embd // 3},
    ),
    "RoPE": Rung("SwiGLU", "all but GPT-2", "turn", lambda a: {"rope": RoPE(10_000.0)}),
    "grouped queries": Rung(
        "RoPE", "Llama 3, Qwen, ...", "grouped_attention", lambda a: {"n_kv_head": a.n_head // 2}
    ),
    "tied embeddings": Rung("grouped queries", "small models", "forward", lambda a: {"tied": True}),
    # To GPT-2.
    "LayerNorm": Rung("norm at the end", "GPT-2", "layernorm", lambda a: {"norm": "layer"}),
    "GELU": Rung("LayerNorm", "GPT-2", "gelu", lambda a: {"activation": "gelu"}),
    "biases": Rung(
        "GELU",
        "GPT-2",
        "affine",
        lambda a: {"qkv_bias": True, "out_bias": True, "mlp_bias": True},
    ),
    # What others put on a Llama, each by itself.
    "q/k norm": Rung("tied embeddings", "Qwen3", "gained_rmsnorm", lambda a: {"qk_norm": True}),
    "sliding window": Rung(
        "tied embeddings", "Mistral", "grouped_attention", lambda a: {"windows": (4,) * a.n_layer}
    ),
    "experts": Rung(  # a token visits two of four, each half as wide: the work of one MLP
        "tied embeddings",
        "Mixtral, Qwen3-MoE",
        "experts",
        lambda a: {"experts": Experts(n_expert=4, n_used=2, n_hidden=a.n_hidden // 2)},
    ),
}
FOOT = next(iter(RUNGS))
LLAMA, GPT2 = "tied embeddings", "biases"  # where the two ways end
BEGINNINGS = {  # the first rung of each part, and what the part is
    FOOT: "to a small Llama, each on the one before:",
    "LayerNorm": "from `norm at the end` to a small GPT-2:",
    "q/k norm": "on the small Llama, each by itself:",
}


def architecture(name: str, vocab_size: int) -> Architecture:
    """Return the architecture of a rung."""
    rung = RUNGS[name]
    if rung.below is None:
        return Architecture.of(GPTConfig(vocab_size=vocab_size))
    below = architecture(rung.below, vocab_size)
    return replace(below, **rung.changes(below))


@dataclass(frozen=True)
class Point:
    """A run on a rung."""

    rung: str
    lr: float
    steps: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    point: Point
    parameters: int
    val: float  # loss on the validation documents (nats/token)
    loss: float  # on the test documents


def choosing(steps: int) -> list[Point]:
    """Return the runs that choose the learning rates."""
    return [Point(rung, lr, steps, CHOOSING) for lr in RATES for rung in RUNGS]


def points(outcomes: Sequence[Outcome], seeds: int) -> list[Point]:
    """Return the runs of a ladder, seed by seed, after those that choose the learning rates."""
    best: dict[str, Outcome] = {}
    for made in sorted(outcomes, key=lambda made: made.val):
        best.setdefault(made.point.rung, made)
    return [replace(best[rung].point, seed=seed) for seed in range(seeds) for rung in RUNGS]


def prepare(data: Dataset, point: Point) -> tuple[Pretraining, Learner]:
    """Return what a run learns from, and the engine that learns."""
    feed = Pretraining(data, BATCH, HELD_OUT, point.seed)
    a = architecture(point.rung, feed.tokenizer.vocab_size)
    params = initial_params(a, random.Random(point.seed))
    return feed, engines.create_learner("pytorch", a, params, dtype="float32", device="cpu")


def train(data: Dataset, point: Point) -> Outcome:
    """Make a run.

    Raises:
        ValueError: the documents are too few to hold some out, or PyTorch is not installed.
    """
    feed, engine = prepare(data, point)
    settings = Settings(steps=point.steps, lr=point.lr)
    for step in range(point.steps):
        engine.train([feed.batch(step)[0]], [settings.learning_rate(step)])
    return Outcome(point, engine.config.n_params, engine.loss(feed.val), engine.loss(feed.test))


def read(run: dict[str, Any]) -> Outcome:
    """Return an outcome from its JSON; raises as trials.load asks where it is none."""
    made = Outcome(**run | {"point": Point(**run["point"])})
    if not all(
        isinstance(x, int | float) and 0 < x < math.inf for x in (made.parameters, made.loss)
    ):
        raise ValueError(f"{made} cannot be")
    return made


# ---- What it shows -------------------------------------------------------------------------------
@dataclass(frozen=True)
class Row:
    """A rung in the table."""

    rung: str
    below: str | None
    who: str
    brick: str
    parameters: int
    lr: float
    losses: list[float]  # of each seed, on the test documents (nats/token)
    loss: float  # their mean
    spread: float  # their standard deviation
    change: float | None  # the mean difference from the rung below, seed by seed
    margin: float | None  # half the width of its 95 % interval
    speed: float  # training steps a second, as a share of those of gpt.py's model

    @property
    def differs(self) -> bool:
        """Whether the change is more than chance makes of so few runs."""
        return (
            self.change is not None and self.margin is not None and abs(self.change) > self.margin
        )


def table(outcomes: Sequence[Outcome], speeds: dict[str, float]) -> list[Row]:
    """Return the rungs, one after another.

    Args:
        outcomes: of every rung the same seeds, two or more.
        speeds: of each rung.
    """
    return [_row(name, outcomes, speeds[name]) for name in RUNGS]


def _row(name: str, outcomes: Sequence[Outcome], speed: float) -> Row:
    rung, mine = RUNGS[name], _losses(name, outcomes)
    first = next(made for made in outcomes if made.point.rung == name)
    change = margin = None
    if rung.below:
        below = _losses(rung.below, outcomes)
        change, margin = paired(mine, below)
    losses = [*mine.values()]
    return Row(
        name,
        rung.below,
        rung.who,
        rung.brick,
        first.parameters,
        first.point.lr,
        losses,
        statistics.fmean(losses),
        statistics.stdev(losses),
        change,
        margin,
        speed,
    )


def _losses(name: str, outcomes: Sequence[Outcome]) -> dict[int, float]:
    """Return the loss of each seed."""
    return {o.point.seed: o.loss for o in outcomes if o.point.rung == name}


def paired(these: dict[int, float], those: dict[int, float]) -> tuple[float, float]:
    """Return the mean difference, seed by seed, and half of its 95 % interval (Student's t)."""
    from scipy.stats import t

    differences = [these[seed] - those[seed] for seed in sorted(these)]
    n = len(differences)
    error = statistics.stdev(differences) / math.sqrt(n)
    return statistics.fmean(differences), float(t.ppf(0.975, n - 1)) * error


def speeds(data: Dataset) -> Iterator[dict[str, float]]:
    """Time training steps of all rungs in turns; yield, after each round, what is known.

    Yields:
        how fast each rung trains, as a share of gpt.py's model: by the shortest time of each, which
        is the one that other work on the machine disturbed the least.
    """
    made = {rung: prepare(data, Point(rung, RATES[0], 1, 0)) for rung in RUNGS}
    shortest = dict.fromkeys(RUNGS, math.inf)
    for _ in range(ROUNDS):
        for rung, (feed, engine) in made.items():
            batch, _ = feed.batch(0)
            began = time.perf_counter()
            engine.train([batch], [1e-3])
            shortest[rung] = min(shortest[rung], time.perf_counter() - began)
        yield {rung: shortest[FOOT] / its for rung, its in shortest.items()}


def plot(path: files.PathLike, rows: Sequence[Row]) -> None:
    """Draw each rung's losses, seed by seed, their mean, and its speed.

    Raises:
        ValueError: the path ends in a kind of picture that is unknown.
    """
    names = [("" if row.below is None else "+ ") + row.rung for row in rows]
    colors = [_color(row) for row in rows]
    with drawing(path, 1, 2, figsize=(9, 5), sharey=True, width_ratios=(3, 1)) as (_, axes):
        losses, speed = axes
        for y, (row, color) in enumerate(zip(rows, colors, strict=True)):
            losses.scatter(row.losses, [y] * len(row.losses), s=14, color=color, alpha=0.6)
            losses.plot([row.loss] * 2, [y - 0.32, y + 0.32], color=color, linewidth=2)
            speed.barh(y, row.speed, height=0.55, color="#94a3b8")
        losses.set_yticks(range(len(names)), names)
        losses.invert_yaxis()
        losses.set_xlabel("loss on held-out documents (nats/token)")
        speed.set_xlabel("speed of training")
        speed.axvline(1, color="gray", linewidth=0.8, linestyle=":")
        losses.set_title(
            "Each point a seed, the bar their mean. Blue: better than the rung it is put on;\n"
            "orange: worse; gray: no difference seen.",
            fontsize=10,
            loc="left",
        )
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
            for y, row in enumerate(rows):
                if row.rung in (LLAMA, GPT2):
                    axis.axhline(y + 0.5, color="lightgray", linewidth=0.8)


def _color(row: Row) -> str:
    if row.change is None:
        return "#334155"
    if not row.differs:
        return "#94a3b8"
    return "#2563eb" if row.change < 0 else "#d97706"
