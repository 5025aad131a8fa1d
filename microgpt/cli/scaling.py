"""A scaling law of this machine's own runs: microgpt scaling."""

import statistics
from collections.abc import Sequence

import click

from microgpt import dataset, scaling, trials
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import check_targets, make_all, one_process
from microgpt.cli.terminal import say
from microgpt.dataset import Dataset
from microgpt.scaling import Law, Outcome, Point


def _list(context: click.Context, param: click.Parameter, text: str) -> list[float]:
    try:
        numbers = sorted({float(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if len(numbers) < 3 or not 0 < numbers[0] <= numbers[-1] < 10_000:
        raise click.BadParameter(f"{text!r} is not a list of 3 or more numbers, such as 4,8,16")
    return numbers


def _widths(context: click.Context, param: click.Parameter, text: str) -> list[int]:
    widths = _list(context, param, text)
    if odd := [n for n in widths if n % 4]:
        raise click.BadParameter(f"{odd[0]:g} is not a width for 4 heads; give multiples of 4")
    return [int(n) for n in widths]


@group.command(name="scaling")
@options.out("Keep the runs in a file; those that it holds are not made again.")
@click.option("--plot", metavar="FILE", type=options.File(), help="Draw it: FILE.png or FILE.svg.")
@options.data("What to learn from.", default="names, else world")
@click.option("--widths", default="8,16,24,32,48,64", callback=_widths, help="n_embd of the grid.")
@click.option("--passes", default="0.125,0.25,0.5,1,2", callback=_list, help="Over the names.")
@click.option("--seeds", type=click.IntRange(1, 20), default=3, help="Runs of each kind.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=1.0, help="What to spend best.")
def fit_scaling(
    out: str | None,
    plot: str | None,
    data: str | None,
    widths: list[int],
    passes: list[float],
    seeds: int,
    seconds: float,
) -> int:
    """Fit a scaling law to small runs; predict a larger one; train it.

    A grid of widths, data and steps on all cores, in minutes; Ctrl-C stops it, and with -o the same
    command goes on. Then the best loss that a second of training here can buy, by that law.
    """
    one_process("scaling")
    check_targets(out, plot, data)
    known = dataset.load(data) if data else dataset.default()
    count = len(scaling.prepare(known, Point(widths[0], 1.0, 1, 0)).feed.documents)
    points = scaling.grid(count, widths, passes, seeds)
    aims = scaling.larger(count, widths, passes, seeds)
    kept = trials.load(out, "scaling", known, scaling.read) if out else []
    if not make_all("scaling", known, points + aims, kept, scaling.train, out):
        return 130
    made = {each.point: each for each in kept}
    outcomes, reached = [made[p] for p in points], [made[p] for p in aims]
    used = scaling.fitted(outcomes)
    law = scaling.fit(used)
    laws = scaling.refit(used, law)
    say(f"{len(outcomes)} runs on {known.name}, {len(used)} of them of at most "
        f"{scaling.PASSES} passes: fitted")  # fmt: skip
    _say_law(law, laws)
    _say_prediction(law, laws, used, reached)
    _say_seconds(known, law, [*widths, aims[0].n_embd], seconds)
    if plot:
        scaling.plot(plot, outcomes, law, laws, reached)
        say(f"{plot}: the runs and the law")
    return 0


def _say_law(law: Law, laws: Sequence[Law]) -> None:
    say("loss = E + A / N^alpha + B / D^beta   (nats/token; N parameters, D tokens read)")
    for name, value in vars(law).items():
        low, high = scaling.interval([getattr(each, name) for each in laws])
        say(f"  {name:6}{value:10.4g}   95 %: {low:.4g} to {high:.4g}")


def _say_prediction(
    law: Law, laws: Sequence[Law], used: Sequence[Outcome], reached: Sequence[Outcome]
) -> None:
    first = reached[0]
    loss = statistics.fmean(made.loss for made in reached)
    at = first.parameters, statistics.fmean(made.tokens for made in reached)
    predicted = law.loss(*at)
    low, high = scaling.interval(scaling.predictions(law, laws, used, at))
    say(f"Predicted for n_embd {first.point.n_embd}, {first.passes:.3g} passes ({at[0]:,} "
        f"parameters, {at[1]:,.0f} tokens):")  # fmt: skip
    say(f"  {predicted:.4f}   95 %: {low:.4f} to {high:.4f}")
    inside = "inside" if low <= loss <= high else "outside"
    say(f"Trained, mean of {len(reached)}:")
    say(f"  {loss:.4f}   the miss is {loss - predicted:+.4f}, {inside}")


def _say_seconds(data: Dataset, law: Law, widths: Sequence[int], seconds: float) -> None:
    say(f"The best that {seconds:g} s of training on this machine can buy:")
    say("  n_embd    steps   passes   by the law   trained")
    rows = []
    for n_embd in widths:
        made = scaling.train(data, scaling.in_time(data, n_embd, seconds))
        rows.append((law.loss(made.parameters, made.tokens), made))
    within = [row for row in rows if row[1].passes <= scaling.PASSES] or rows
    best = min(predicted for predicted, _ in within)
    for predicted, made in rows:
        mark = "  <- the law's choice" if predicted == best else ""
        say(f"  {made.point.n_embd:6}{made.point.steps:9,}{made.passes:9.2f}{predicted:13.4f}"
            f"{made.loss:10.4f}{mark}")  # fmt: skip
    if any(made.passes > scaling.PASSES for _, made in rows):
        say(f"  beyond {scaling.PASSES} passes the law promises too much: documents repeat")
