"""A run in progress, for the commands that train: saved, logged, shown, and stopped by Ctrl-C."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Live

from microgpt import files, training
from microgpt.cli import note

SAVE_EVERY = 10.0  # seconds between the checkpoints of a run
Observer = Callable[[training.Progress], None]


def advance(run: training.Run[Any], out: str | None, write: Observer, keep_best: bool) -> bool:
    """Take the steps that are left, saving and showing how it goes; False if interrupted."""
    saved = began = time.monotonic()
    first = run.step
    with _interrupt() as interrupted, _display(run) as show:
        for progress in run.advance():
            write(progress)
            show(progress, (progress.step - first) / (time.monotonic() - began))
            if out and keep_best and progress.is_best:
                run.checkpoint().model().save(Path(out).with_suffix(f".best{Path(out).suffix}"))
            if out and time.monotonic() - saved > SAVE_EVERY:
                run.checkpoint().save(out)
                saved = time.monotonic()
            if interrupted():
                break
    return run.finished


@contextmanager
def log(path: str | None, run: training.Run[Any]) -> Iterator[Observer]:
    """Give a function that writes a progress as JSON lines, going on where the run is."""
    if path is None:
        yield lambda progress: None
        return
    if run.step:  # what an interrupted run logged past its last checkpoint is run again
        kept = Path(path).read_bytes().splitlines(keepends=True)[: run.step]
        files.write(path, b"".join(kept))
    with open(path, "a" if run.step else "w", encoding="utf-8") as file:

        def write(progress: training.Progress) -> None:
            first = progress.step - len(progress.losses)
            for step, loss in enumerate(progress.losses, first):
                lr = run.settings.learning_rate(step)
                line: dict[str, float] = {"step": step + 1, "loss": loss, "lr": lr}
                if step + 1 == progress.step and progress.val_loss is not None:
                    line["val_loss"] = progress.val_loss
                file.write(json.dumps(line) + "\n")
            file.flush()

        yield write


@contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C (or SIGTERM) has asked for a stop."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signum, before[signum])  # asked twice, it stops at once

    before = {int(s): signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _display(run: training.Run[Any]) -> Iterator[Callable[[training.Progress, float], None]]:
    """Give a function that shows a progress and its speed: live, or by a line now and then."""
    console, total = Console(stderr=True), run.settings.steps
    smooth, val = 0.0, ""
    live = Live(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("loss {task.fields[loss]:.4f}{task.fields[val]}"),
        TextColumn("{task.fields[speed]:,.0f} steps/s"),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )
    task = live.add_task("", total=total, completed=run.step, loss=0.0, val="", speed=0.0)
    printed = run.step * 10 // total

    def show(progress: training.Progress, speed: float) -> None:
        nonlocal smooth, val, printed
        for step, loss in enumerate(progress.losses, progress.step - len(progress.losses)):
            keep = min(step / (step + 1), 0.98)  # a mean at first, then one of the last fifty
            smooth = keep * smooth + (1 - keep) * loss if smooth else loss
        if progress.val_loss is not None:
            val = f" val {progress.val_loss:.4f}"
        live.update(task, completed=progress.step, loss=smooth, val=val, speed=speed)
        if not console.is_terminal and progress.step * 10 // total > printed:
            printed = progress.step * 10 // total
            eta = round((total - progress.step) / speed)
            note(
                f"step {progress.step}/{total} | loss {smooth:.4f}{val} | "
                f"{speed:,.0f} steps/s | {eta} s left"
            )

    with live:
        yield show
