"""A run in progress, for the commands that train: saved, logged, shown, and stopped by Ctrl-C."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Live
from rich.table import Column

from microgpt import files, trials
from microgpt.checkpoint import metadata
from microgpt.cli.interrupts import handling
from microgpt.cli.terminal import note
from microgpt.dataset import Dataset
from microgpt.engines.base import ManyProcessEngine, process
from microgpt.pictures import KINDS
from microgpt.training import Progress, Run

SAVE_EVERY = 10.0  # seconds between the checkpoints of a run
UNITS = ("", "k", "M", "G")
Observer = Callable[[Progress], None]


class Speed(NamedTuple):
    """How fast a run learns, on average since this process took it up."""

    steps: float  # a second
    tokens: float  # a second, that it learned to predict


def best(out: str) -> str:
    """Return where --keep-best writes: m.best.safetensors beside m.safetensors."""
    return str(Path(out).with_suffix(f".best{Path(out).suffix}"))


def one_process(command: str) -> None:
    """Refuse to be one of many processes, for a command that would do the same in each."""
    if process().size > 1:
        raise click.UsageError(
            f"microgpt {command} works in one process, and {process().size} were started; "
            "start it without torchrun"
        )


def can_spread(run: Run[Any]) -> None:
    """Refuse many processes that one engine would not share."""
    if process().size > 1 and not isinstance(run.engine, ManyProcessEngine):
        raise click.UsageError(
            f"{process().size} processes cannot train with the engine {run.engine_name}; "
            "give --engine pytorch"
        )


def advance(
    run: Run[Any],
    out: str | None = None,
    write: Observer = lambda progress: None,
    keep_best: bool = False,
    quiet: bool = False,
) -> bool:
    """Take the steps that are left, saving and showing how it goes; False if interrupted."""
    began = time.monotonic()
    saved = began if process().size == 1 else -SAVE_EVERY  # of many, one may be gone at any time
    first, tokens = run.step, 0
    with _interrupt() as interrupted, _display(run, quiet) as show:
        for progress in run.advance():
            write(progress)
            tokens += progress.tokens
            if out and keep_best and progress.is_best:
                save_model(run, best(out))
            late = bool(out) and time.monotonic() - saved > SAVE_EVERY
            late, stop = _together(run, late, interrupted())
            if out and late:
                save(run, out)
                saved = time.monotonic()
            elapsed = time.monotonic() - began
            show(progress, Speed((progress.step - first) / elapsed, tokens / elapsed))
            if stop:
                break
    return run.finished


def parts(out: str) -> str:
    """Return the folder in which processes that train together save a run: m.parts beside m."""
    return os.path.splitext(out)[0] + ".parts"


def save(run: Run[Any], out: str) -> str:
    """Save a run, and return where --resume finds it."""
    if process().size == 1 or not isinstance(run.engine, ManyProcessEngine):
        run.checkpoint().save(out)
        _drop(parts(out))
        return out
    run.engine.save(parts(out), metadata(run.config, run.feed.tokenizer.vocabulary, run.record()))
    return parts(out)


def save_model(run: Run[Any], out: str) -> None:
    """Save the model of a run, which all processes put together and one of them writes."""
    model = run.checkpoint().model()
    if process().rank == 0:
        model.save(out)
        _drop(parts(out))


def _drop(folder: str) -> None:
    """Remove the folder of a run that is saved elsewhere now."""
    if os.path.exists(os.path.join(folder, "run.json")):
        shutil.rmtree(folder)


def _together(run: Run[Any], *flags: bool) -> Sequence[bool]:
    """Return what processes that train together decide: what any of them would do, all do."""
    if isinstance(run.engine, ManyProcessEngine) and process().size > 1:
        return run.engine.any_of(flags)
    return flags


@contextmanager
def counting(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how much is done, and how long the rest takes."""
    console, began, printed = Console(stderr=True), time.monotonic(), 0
    first: int | None = None
    line = TextColumn(
        "{task.completed:,.0f}/{task.total:,.0f} {task.description}  {task.fields[left]}"
    )
    live = Live(line, BarColumn(bar_width=None), console=console, disable=not console.is_terminal)
    task = live.add_task(what, total=total, left="")

    def show(done: int) -> None:
        nonlocal first, printed
        first = done if first is None else first
        speed = (done - first) / max(time.monotonic() - began, 1e-9)
        left = round((total - done) / speed) if speed else 0
        shown = f"{left // 60}:{left % 60:02} left" if speed else ""
        live.update(task, completed=done, left=shown)
        if not console.is_terminal and done * 10 // total > printed:
            printed = done * 10 // total
            note(f"{done:,}/{total:,} {what} | {shown}")

    with live:
        yield show


def check_targets(out: str | None, plot: str | None, data: str | None) -> None:
    """Refuse what could not be finished, before the runs of a grid begin."""
    missing = [name for name in ("scipy", "matplotlib")[: 2 if plot else 1] if not find_spec(name)]
    if missing:
        raise click.UsageError(f"{missing[0]} is missing; pip install 'microgpt-lab[scaling]'")
    taken = [*filter(None, [data])]
    for path in filter(None, (out, plot)):
        files.target(path, taken)
        taken.append(path)
    if plot and Path(plot).suffix.lower() not in KINDS:
        raise click.UsageError(f"--plot is {plot}; it must end in {' or '.join(KINDS)}")


def make_all(
    kind: str,
    data: Dataset,
    points: Sequence[trials.Point],
    kept: list[trials.AnyOutcome],
    train: Callable[[Dataset, trials.Point], trials.AnyOutcome],
    out: str | None,
) -> bool:
    """Make the runs that are missing, saving and showing how far they are; False if interrupted."""
    known = len(kept)
    try:
        with counting(len(points), "runs") as show:
            for done in trials.run_all(data, points, kept, train, os.cpu_count() or 1):
                if out and len(kept) > known:
                    known = len(kept)
                    trials.save(out, kind, data, kept)
                show(done)
    except KeyboardInterrupt:
        note("stopped" + ("; the same command goes on" if out else "; with -o, it can go on"))
        return False
    return True


@contextmanager
def log(path: str | None, run: Run[Any]) -> Iterator[Observer]:
    """Give a function that writes a progress as JSON lines, going on where the run is.

    Raises:
        OSError: the file cannot be written.
        ValueError: the run goes on, and the file is not the log of a run.
    """
    if path is None:
        yield lambda progress: None
        return
    kept = _logged(path, run.step)
    with open(path, "ab", buffering=0) as file:
        file.truncate(kept)  # what an interrupted run logged past its last checkpoint is run again

        def write(progress: Progress) -> None:
            lines = "".join(f"{json.dumps(line)}\n" for line in _log_lines(run, progress)).encode()
            try:
                while lines:  # in one piece, so that runs which share a log tear no line
                    lines = lines[file.write(lines) :]
            except OSError as error:
                error.filename = path
                raise

        yield write


def _logged(path: str, step: int) -> int:
    """Return how many bytes of a log are about the first steps of its run."""
    if not step or not os.path.exists(path):
        return 0
    kept = 0
    for number, line in enumerate(Path(path).read_bytes().splitlines(keepends=True), 1):
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                break
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path} is not the log of a run (line {number}); give --log another file"
            ) from None
        kept += len(line)
    return kept


def _log_lines(run: Run[Any], progress: Progress) -> Iterator[dict[str, float]]:
    for step, loss in enumerate(progress.losses, progress.step - len(progress.losses)):
        line = {"step": step + 1, "loss": loss, "lr": run.settings.learning_rate(step)}
        if step + 1 == progress.step:
            line |= progress.measures
            line |= {} if progress.val_loss is None else {"val_loss": progress.val_loss}
        yield line


@contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Give a function that returns whether Ctrl-C (or SIGTERM) has asked for a stop."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:  # asked twice, it stops at once
            raise KeyboardInterrupt
        asked = True

    with handling({signal.SIGINT: ask, signal.SIGTERM: ask}):
        yield lambda: asked


@contextmanager
def _display(run: Run[Any], quiet: bool) -> Iterator[Callable[[Progress, Speed], None]]:
    """Give a function that shows a progress and its speed: live, or by a line now and then."""
    console, total = Console(stderr=True), run.settings.steps
    text = TextColumn("{task.fields[line]}", table_column=Column(no_wrap=True))
    bar = BarColumn(bar_width=None)
    shown = console.is_terminal and not quiet
    live = Live(text, console=console, expand=True, disable=not shown)
    task = live.add_task("", total=total, line="")
    mean: float | None = None
    numbers: dict[str, float | None] = dict.fromkeys(["loss", "val"] if run.val else ["loss"])
    printed = run.step * 10 // total

    def draw(step: int, speed: Speed) -> None:
        line = fit(line_parts(step, total, numbers, speed), console.width)
        live.columns = (text, bar) if console.width - len(line) > 10 else (text,)
        live.update(task, completed=step, line=line)

    def show(progress: Progress, speed: Speed) -> None:
        nonlocal mean, numbers, printed
        for step, loss in enumerate(progress.losses, progress.step - len(progress.losses)):
            keep = min(step / (step + 1), 0.98)  # a mean at first, then one of the last fifty
            mean = loss if mean is None else keep * mean + (1 - keep) * loss
        # a feed that weighs its documents says what to watch; its loss is not a curve
        numbers = {**progress.measures} if progress.measures else {**numbers, "loss": mean}
        if progress.val_loss is not None:
            numbers["val"] = progress.val_loss
        if shown:
            draw(progress.step, speed)
        elif not quiet and progress.step * 10 // total > printed:
            printed = progress.step * 10 // total
            known = {name: value for name, value in numbers.items() if value is not None}
            line = " ".join(f"{name} {short(value)}" for name, value in known.items())
            note(
                f"step {progress.step}/{total} | {line} | "
                f"{speed.steps:,.0f} steps/s | {speed.tokens:,.0f} tokens/s | "
                f"{(total - progress.step) / speed.steps:.0f} s left"
            )

    draw(run.step, Speed(0.0, 0.0))
    with live:
        yield show


def line_parts(
    step: int, total: int, numbers: Mapping[str, float | None], speed: Speed
) -> list[str]:
    """Return the parts of the progress line, the most important first, each of a fixed width."""
    left = round((total - step) / speed.steps) if speed.steps else 0
    minutes = f"{left // 60}:{left % 60:02}" if speed.steps else "-"
    watched = [f"{name} {short(value):>6}" for name, value in numbers.items()]
    return [
        f"step {step:>{len(str(total))}}/{total}",
        *watched[:2],
        f"{minutes:>5} left",
        *watched[2:],
        f"{rounded(speed.tokens):>4} tokens/s",
        f"{rounded(speed.steps):>4} steps/s",
    ]


def short(value: float | None) -> str:
    """Return a number in six characters, where it is one that runs show."""
    if value is None:
        return "-"
    return f"{value:.4f}" if 0 <= value < 10 else f"{value:.3f}"


def rounded(value: float) -> str:
    """Return a number of 0 or more in four characters.

    >>> [rounded(each) for each in (0.25, 42, 1234, 211_294, 999_700)]
    ['0.2', '42', '1.2k', '211k', '1.0M']
    """
    unit = 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{int(value < 9.95)}f}{UNITS[unit]}"


def fit(parts: Sequence[str], width: int) -> str:
    """Return a line of the first parts, as many as a width has room for; the first in any case."""
    line = parts[0]
    for part in parts[1:]:
        if len(f"{line}  {part}") > width:
            break
        line = f"{line}  {part}"
    return line
