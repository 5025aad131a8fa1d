"""Many runs for one question: made in processes, kept in a file, gone on with after a stop."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

from microgpt import files
from microgpt.dataset import Dataset


class Outcome(Protocol):
    """What a run came to: a frozen dataclass."""

    @property
    def point(self) -> Hashable:
        """Which run it is."""


Point = TypeVar("Point", bound=Hashable)
AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)
Read = Callable[[dict[str, Any]], AnyOutcome]


def load(
    path: files.PathLike, kind: str, data: Dataset, read: Read[AnyOutcome]
) -> list[AnyOutcome]:
    """Return the outcomes in a file; none if it is not there.

    Args:
        path: the file.
        kind: what the runs are for: the name of the command.
        data: what they must have learned from.
        read: makes an outcome of its JSON; raises ValueError, TypeError or KeyError if it cannot.

    Raises:
        OSError: it cannot be read.
        ValueError: it is another kind of file, or of other documents.
    """
    try:
        found = json.loads(Path(path).read_bytes())
        if found["format"] != _format(kind):
            raise ValueError
        sha256 = found["sha256"]
        outcomes = [read(run) for run in found["runs"]]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} does not hold runs of {kind}; name another with -o") from None
    if sha256 != data.sha256:
        raise ValueError(f"{path} holds runs on other documents; name another with -o")
    return outcomes


def save(path: files.PathLike, kind: str, data: Dataset, outcomes: Sequence[Any]) -> None:
    """Write outcomes to a file, whole or not at all."""
    runs = [asdict(made) for made in outcomes]
    content = {"format": _format(kind), "data": data.name, "sha256": data.sha256, "runs": runs}
    files.write(path, json.dumps(content, indent=1))


def _format(kind: str) -> str:
    return f"microgpt {kind} 1"


def run_all(
    data: Dataset,
    points: Sequence[Point],
    outcomes: list[AnyOutcome],
    train: Callable[[Dataset, Point], AnyOutcome],
    workers: int,
) -> Iterator[int]:
    """Make the runs that have no outcome yet, in processes; yield how many points are done.

    Each outcome is added as it comes. Leave the iterator, and the runs under way are given up.

    Args:
        data: what they learn from.
        points: the runs.
        outcomes: those of runs made before; it grows.
        train: makes a run; a function of a module, which another process finds by its name.
        workers: how many processes there are.
    """
    made = {each.point for each in outcomes}
    left = [point for point in points if point not in made]
    yield len(points) - len(left)
    context = multiprocessing.get_context("spawn")
    others = {*multiprocessing.active_children()}
    pool = ProcessPoolExecutor(min(workers, len(left)) or 1, context, _begin, (data,))
    try:
        with _deaf():
            waiting = {pool.submit(_train, train, point) for point in left}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            outcomes.extend(future.result() for future in done)
            yield len(points) - len(waiting)
    except BaseException:
        for worker in {*multiprocessing.active_children()} - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which is for this one to hear."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_data: Dataset | None = None  # of a worker


def _begin(data: Dataset) -> None:
    global _data
    _data = data
    if hasattr(os, "nice"):
        os.nice(5)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this process when the one that started it has, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _train(train: Callable[[Dataset, Point], AnyOutcome], point: Point) -> AnyOutcome:
    assert _data
    return train(_data, point)
