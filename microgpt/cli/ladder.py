"""From gpt.py's model to a small Llama, brick by brick: microgpt ladder."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import click

from microgpt import dataset, engines, ladder, trials
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import check_targets, counting, make_all, one_process
from microgpt.cli.terminal import note, say
from microgpt.dataset import Dataset
from microgpt.ladder import Outcome, Point, Row


@group.command(name="ladder")
@options.out("Keep the runs in a file; those that it holds are not made again.")
@click.option("--plot", metavar="FILE", type=options.File(), help="Draw it: FILE.png or FILE.svg.")
@options.data("What to learn from.", default="names, else world")
@click.option("--steps", type=click.IntRange(1), default=1000, help="Of every run.")
@click.option("--seeds", type=click.IntRange(2, 20), default=5, help="Runs on each rung.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def climb(
    out: str | None, plot: str | None, data: str | None, steps: int, seeds: int, as_json: bool
) -> int:
    """Train from gpt.py's model to a small Llama: what each brick buys.

    All runs have one budget: the same documents, steps and seeds; the learning rate is the best of
    three. PyTorch trains them on all cores, in minutes; Ctrl-C stops it, and with -o the same
    command goes on.
    """
    one_process("ladder")
    check_targets(out, plot, data)
    if reason := engines.missing("pytorch"):
        raise click.UsageError(reason)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a run has one core; PyTorch reads it at first
    known = dataset.load(data) if data else dataset.default()
    choosing = ladder.choosing(steps)
    ladder.prepare(known, choosing[0])  # refuses data that cannot be learned from
    kept = trials.load(out, "ladder", known, ladder.read) if out else []
    if not make_all("ladder", known, choosing, kept, ladder.train, out):
        return 130
    points = ladder.points(_those(choosing, kept), seeds)
    if not make_all("ladder", known, points, kept, ladder.train, out):
        return 130
    rows = ladder.table(_those(points, kept), _timed(known))
    if plot:
        ladder.plot(plot, rows)
        note(f"{plot}: the ladder")
    if as_json:
        budget = {"data": known.name, "sha256": known.sha256, "steps": steps, "seeds": seeds}
        shown = [asdict(row) | {"differs": row.differs} for row in rows]
        say(json.dumps({"budget": budget, "rungs": shown}, ensure_ascii=False))
    else:
        _print(rows, known.name, steps, seeds)
    return 0


def _those(points: Sequence[Point], kept: Sequence[Outcome]) -> list[Outcome]:
    made = {each.point: each for each in kept}
    return [made[point] for point in points]


def _timed(data: Dataset) -> dict[str, float]:
    """Return how fast each rung trains, showing how far the timing is."""
    known: dict[str, float] = {}
    with counting(ladder.ROUNDS, "rounds of timing") as show:
        for done, speeds in enumerate(ladder.speeds(data), 1):
            known = speeds
            show(done)
    return known


def _print(rows: Sequence[Row], data: str, steps: int, seeds: int) -> None:
    say(f"{len(rows)} rungs on {data}: {steps:,} steps of {ladder.BATCH} documents, {seeds} seeds")
    say("loss: nats/token on held-out documents; change: from the rung it is put on, 95 %")
    say("")
    say("                    parameters   rate  loss            change              speed")
    for row in rows:
        if row.rung in ladder.BEGINNINGS:
            say(ladder.BEGINNINGS[row.rung])
        name = row.rung if row.below is None else f"+ {row.rung}"
        say(f"  {name:17}{row.parameters:11,}{row.lr:7.3g}  {row.loss:.4f} ±{row.spread:.4f}  "
            f"{_change(row):18}{row.speed:7.2f}")  # fmt: skip


def _change(row: Row) -> str:
    if row.change is None:
        return ""
    return f"{row.change:+.4f} ±{row.margin:.4f}" if row.differs else "no difference seen"
