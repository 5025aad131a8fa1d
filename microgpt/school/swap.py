"""Functions of gpt.py replaced by others: how both versions learn, and where they part."""

import ast
import hashlib
import json
import math
import multiprocessing
import os
import queue
import signal
import statistics
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from microgpt import files, xray
from microgpt.checkpoint import SHIPPED
from microgpt.school.learner import Learner
from microgpt.school.program import is_stub
from microgpt.school.source import MAIN, Text, heart
from microgpt.xray.recorder import load

FORMAT = "microgpt swap 1"
HELD_OUT = 200  # documents
OFTEN = 10  # steps between two signs of life
SILENCE = 120  # seconds without one, after which a run is given up
NAMES = 5
SAME = 5e-5  # nats a character; a smaller difference is the rounding of sums in another order
DOCUMENT = "emma"  # what both read, for the first number that differs
# Student's t for 95 %, by the number of seeds: how far a mean of so few can be off by chance.
T = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}


def variant(text: Text, names: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Return gpt.py with functions of a file in place of its own, and their names.

    Without names, every function and class is taken that both have. What else the file holds comes
    along, right before the first of them.

    Raises:
        ValueError: a name is not in both, or there is nothing to take.
    """
    ours = heart()
    both = [n for n in ours.nodes if n in text.written() and "." not in n and n != MAIN]
    for name in names:
        if name not in text.nodes or name not in ours.nodes:
            where = text.file if name not in text.nodes else "gpt.py"
            raise ValueError(f"{name} is not in {where}; in both are {', '.join(both) or 'none'}")
    taken = sorted(names or both, key=lambda name: ours.nodes[name].lineno)
    for name, node in text.nodes.items():
        if is_stub(node) and name.partition(".")[0] in taken:
            raise ValueError(
                f"{text.file}, line {node.lineno}: {name} is not written yet; write it, or name "
                "the functions to take"
            )
    if not taken:
        raise ValueError(f"{text.file} holds no function of gpt.py; give one of the same name")
    for name in (n for n in taken if f"{n}.__init__" in ours.nodes):
        if f"{name}.__init__" not in text.nodes:  # the whole class is to be replaced
            methods = [n for n in ours.nodes if n.startswith(f"{name}.") and n in text.nodes]
            raise ValueError(
                f"class {name} of {text.file} has no __init__; to take its methods alone, "
                f"name them: {' '.join(methods)}"
            )
    lines = list(ours.lines)
    for name in reversed(taken):
        lines[ours.span(name)] = [text.text(name)]
    first = min(ours.span(name.partition(".")[0]).start for name in taken)
    lines.insert(first, "".join(f"{piece}\n" for piece in _rest(text)))
    source = "".join(lines)
    Text(source, text.file)  # as a whole it is Python
    return source, taken


def _rest(text: Text) -> Iterator[str]:
    """Yield what a file holds besides what gpt.py has: imports, helpers, constants."""
    named = {id(node): name for name, node in text.nodes.items() if "." not in name}
    for node in text.tree.body:
        name = named.get(id(node))
        if isinstance(node, ast.Expr):  # its docstring
            continue
        if name is None or (name not in heart().nodes and name in text.written()):
            yield "".join(text.lines[node.lineno - 1 : node.end_lineno])


@dataclass(frozen=True)
class Plan:
    """What is compared, on what."""

    source: str  # the variant, whole
    file: str  # what it is called
    documents: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int

    def jobs(self) -> list[tuple[str, str, int]]:
        """Return what is to be run: a name, a source and a seed; gpt.py and the variant in turn."""
        both = [("gpt.py", heart().source), (self.file, self.source)]
        return [(name, source, seed) for seed in self.seeds for name, source in both]

    def key(self, source: str, seed: int) -> str:
        """Return what a result is kept under: a hash of all that it depends on."""
        parts = [source, self.documents, seed, self.steps, HELD_OUT]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    loss: float  # on held-out documents (nats a character)
    seconds: float  # of processor time, for the steps
    names: list[str]


Results = dict[str, Result]


def load_results(path: files.PathLike) -> Results:
    """Return the results in a file; none if it is not there.

    Raises:
        OSError: it cannot be read.
        ValueError: it is another kind of file.
    """
    try:
        found = json.loads(Path(path).read_bytes())
        if found["format"] != FORMAT:
            raise ValueError
        return {key: Result(**result) for key, result in found["runs"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ValueError(f"{path} does not hold results of swap; name another with -o") from None


def save_results(path: files.PathLike, results: Results) -> None:
    """Write results."""
    runs = {key: asdict(result) for key, result in results.items()}
    files.write(path, json.dumps({"format": FORMAT, "runs": runs}, ensure_ascii=False, indent=1))


def run(plan: Plan, results: Results, workers: int) -> Iterator[int]:
    """Make the runs of a plan that have no result yet, in processes; yield how many steps are done.

    Each result is added as it comes. Leave the iterator, and the processes end.

    Raises:
        ValueError: a run failed; str() says which, and why.
    """
    context = multiprocessing.get_context("spawn")
    heard: Any = context.Queue()
    waiting = {i: job for i, job in enumerate(plan.jobs()) if plan.key(*job[1:]) not in results}
    steps = {i: plan.steps for i in range(len(plan.jobs())) if i not in waiting}
    running: dict[int, tuple[Any, float]] = {}  # a process, and when it was last heard of
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                number = next(iter(waiting))
                name, source, seed = waiting.pop(number)
                job = (number, name, source, plan.documents, seed, plan.steps, heard)
                process: Any = context.Process(target=_work, args=job, daemon=True)
                with _uninterrupted():
                    process.start()
                running[number] = (process, time.monotonic())
            for number, said in _hear(heard, running):
                name, source, seed = plan.jobs()[number]
                if isinstance(said, str):
                    raise ValueError(f"{name}, seed {seed}: {said}")
                if isinstance(said, Result):
                    results[plan.key(source, seed)] = said
                    running.pop(number)
                else:
                    running[number] = (running[number][0], time.monotonic())
                steps[number] = said if isinstance(said, int) else plan.steps
                yield sum(steps.values())
    finally:
        for process, _ in running.values():
            process.terminate()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let what is started here hear no Ctrl-C: it is for us, and we end it."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hear(heard: Any, running: Mapping[int, tuple[Any, float]]) -> Iterator[tuple[int, Any]]:
    """Yield what the processes say: a run, and how far it is, or its result, or why it failed."""
    try:
        yield heard.get(timeout=1)
    except queue.Empty:
        for number, (process, last) in list(running.items()):
            if not process.is_alive() and heard.empty():
                yield number, f"its process ended with exit status {process.exitcode}"
            elif time.monotonic() - last > SILENCE:
                yield number, f"no step in {SILENCE} s; does a loop never end?"


def _work(
    number: int,
    file: str,
    source: str,
    documents: tuple[str, ...],
    seed: int,
    steps: int,
    heard: Any,
) -> None:
    """Make one run, and say how it goes."""
    if hasattr(os, "nice"):
        os.nice(5)  # the machine has other work, too
    try:
        learner = Learner(load(source, file).module, documents, seed, steps)
        began = time.process_time()
        for step in range(steps):
            learner.step()
            if step % OFTEN == 0:
                heard.put((number, step))
        seconds = time.process_time() - began
        loss = learner.held_out(HELD_OUT)
        if not math.isfinite(loss):
            raise ValueError(f"the loss on held-out documents is {loss}")
        heard.put((number, Result(loss, seconds, learner.names(NAMES))))
    except Exception as error:
        heard.put((number, explain(error, file, source)))


def explain(error: BaseException, file: str, source: str) -> str:
    """Return what an error in a variant was, and at which of its lines, quoted."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    line = source.splitlines()[(frames[-1].lineno or 1) - 1].strip() if frames else ""
    where = f", in {frames[-1].name}(): {line}" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


@dataclass(frozen=True)
class Comparison:
    """What a plan's results say."""

    pairs: list[tuple[int, float, float]]  # seed, loss of gpt.py, loss of the variant
    slower: float  # by which factor the variant's steps take longer
    names: tuple[list[str], list[str]]  # that both make, from the first seed

    @property
    def differences(self) -> list[float]:
        """How much more the variant loses, seed by seed (nats a character)."""
        return [theirs - ours for _, ours, theirs in self.pairs]

    def verdict(self) -> str:
        """Return what can be said of the losses: which is lower, or that no difference was seen."""
        found = self.differences
        if not any(found):
            return "The losses are the same, to the last digit."
        if len(found) < 2:
            return "One seed says nothing about a difference: give more."
        if max(map(abs, found)) < SAME:
            return "The losses are the same, to the fourth decimal."
        mean, spread = statistics.mean(found), statistics.stdev(found)
        doubt = T.get(len(found), T[10]) * spread / math.sqrt(len(found))
        seen = f"{mean:+.4f}, 95 % interval {mean - doubt:+.4f} to {mean + doubt:+.4f}"
        if abs(mean) <= doubt:
            return f"No difference seen: {seen}."
        return f"{'Worse' if mean > 0 else 'Better'} than gpt.py: {seen}."


def compare(plan: Plan, results: Results) -> Comparison:
    """Return what the results of a plan say, all of them made."""
    found = [results[plan.key(*job[1:])] for job in plan.jobs()]
    ours, theirs = found[::2], found[1::2]
    seconds = [sum(result.seconds for result in each) for each in (ours, theirs)]
    losses = zip(plan.seeds, (r.loss for r in ours), (r.loss for r in theirs), strict=True)
    names = ours[0].names, theirs[0].names
    return Comparison(list(losses), seconds[1] / max(seconds[0], 1e-9), names)


def part(source: str, file: str) -> xray.Difference:
    """Return the first line and the first number that differ while both read a name.

    Raises:
        ValueError: the variant cannot be watched, or fails; str() says where.
    """
    ours = xray.record(DOCUMENT, SHIPPED)
    theirs = xray.record_source(source, DOCUMENT, SHIPPED, file=file)
    if theirs.error:
        line = theirs.code(theirs.error["line"]) if theirs.error.get("line") else ""
        raise ValueError(f"{file} does not run: {theirs.error['message']}, at {line}")
    return xray.diff(ours, theirs)
