"""A check in a process of its own: what a learner's code does in there, it does to nobody else.

It has limits of time and memory, its output is cut, and it is killed with all that it started. That
stops mistakes, not malice: code that wants to read or delete your files can.
"""

import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO

from microgpt.school.judge import Failure, Verdict, judge
from microgpt.school.mistakes import mistakes
from microgpt.school.probes import Probe
from microgpt.school.program import FILE
from microgpt.school.source import Text

try:
    import resource
except ImportError:  # Windows has none
    resource = None  # type: ignore[assignment]

GRACE = 5  # seconds that what was asked to end has for it
SHOWN, LIMIT = 2000, 10**7  # bytes of what the code prints: as much is shown, is too much
# Asks a process where it is, and ends it; Windows can only end it.
ENOUGH = getattr(signal, "SIGXCPU", signal.SIGTERM)
VERDICT, STACK, PROBE = "verdict.json", "stack.txt", "probe.txt"
FRAME = re.compile(rf'File "{re.escape(FILE)}", line (\d+) in (.+)')  # as faulthandler writes it
PACKAGE = Path(__file__).parents[2]  # where the child finds microgpt, installed or not


@dataclass(frozen=True)
class Limits:
    """What a check may use."""

    seconds: int = 10  # of processor time, where the system can count it: a busy machine costs none
    patience: int = (
        60 if resource else 30
    )  # seconds by the clock: for code that sleeps, for Windows
    memory: int = 2 * 2**30  # bytes of address space, where the system has such a limit


@dataclass(frozen=True)
class Answer:
    """What came of a check."""

    verdict: Verdict | None  # None: the code did not let the check end
    stopped: str  # why, in a sentence or two; "" with a verdict
    printed: str  # what the code printed, its beginning
    unshown: int  # bytes that it printed besides
    seconds: float  # that the check took

    @property
    def passed(self) -> bool:
        """Whether every probe passed."""
        return self.verdict is not None and self.verdict.passed == self.verdict.total


LIMITS = Limits()


def check(source: str, lesson: int, limits: Limits = LIMITS) -> Answer:
    """Judge a learner's text in a process of its own.

    Raises:
        ValueError: it is not Python.
    """
    text = Text(source)
    with tempfile.TemporaryDirectory(prefix="microgpt-school-") as name:
        folder = Path(name)
        (folder / FILE).write_bytes(source.encode())
        with _process(lesson, folder, limits) as process:
            assert process.stdout
            output = Output(process.stdout, partial(process.send_signal, ENOUGH))
            with suppress(subprocess.TimeoutExpired):
                process.wait(limits.patience + GRACE)
            _kill(process)
            output.thread.join(1)  # at once, unless something that it started has got away
        found = _read(folder / VERDICT)
        flood = output.unshown > LIMIT
        stopped = "" if found else _why(process.returncode, folder, text, flood, limits)
    verdict, seconds = found or (None, 0.0)
    return Answer(verdict, stopped, output.shown, output.unshown, seconds)


class Output:
    """What a process prints: its beginning is kept, the rest is counted."""

    def __init__(self, pipe: IO[bytes], stop: Callable[[], None]) -> None:
        """Begin to read, in a thread; stop the process when it is too much."""
        self.pipe, self.stop, self.kept, self.unshown = pipe, stop, b"", 0
        self.thread = Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with suppress(OSError, ValueError):  # closed, as Ctrl-C does
            while part := os.read(self.pipe.fileno(), 2**16):
                room = SHOWN - len(self.kept)
                self.kept += part[:room]
                self.unshown += len(part[room:])
                if self.unshown > LIMIT:
                    return self.stop()

    @property
    def shown(self) -> str:
        """The beginning, as text."""
        return self.kept.decode("utf-8", "replace")


@contextmanager
def _process(lesson: int, folder: Path, limits: Limits) -> Iterator[subprocess.Popen[bytes]]:
    """Start the child; in the end kill it, and all that it started."""
    paths = [str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-X", "utf8", "-m", "microgpt.school.sandbox"]
    process = subprocess.Popen(
        [*command, str(lesson), str(folder), json.dumps(asdict(limits))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environ,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        if process.poll() is None:
            tree = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(tree, capture_output=True, check=False)
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _read(path: Path) -> tuple[Verdict, float] | None:
    """Return what the child has written, and how long it took; None if it did not come to that."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    names = ("seconds", "failure", "mistake", "advice")
    seconds, failure, mistake, _ = (found.pop(name) for name in names)
    known = {each.id: each for each in mistakes()}
    return Verdict(
        **found,
        failure=failure and Failure(**failure),
        mistake=mistake and known[mistake["id"]],
    ), seconds


def _why(status: int, folder: Path, text: Text, flood: bool, limits: Limits) -> str:
    """Return why a child gave no verdict: what it was asked, where it was, how it ended."""
    asked, seen = (_text(folder / name) for name in (PROBE, STACK))
    if frame := FRAME.search(seen):
        line, where = int(frame[1]), "" if frame[2] == "<module>" else f", in {frame[2]}"
        after = f"{limits.patience if 'Timeout' in seen else limits.seconds} s"
        after = f"{LIMIT // 10**6} MB of output" if flood else after
        why = f"Stopped after {after}, at {FILE} line {line}{where}: {text.lines[line - 1].strip()}"
        why += "\nDoes a loop never end?"
    elif flood:
        why = f"Stopped after {LIMIT // 10**6} MB of output. Does a loop never end?"
    else:
        how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
        why = f"Your code ended Python itself, {how}, before the check was over."
    return f"{asked}\n{why}" if asked else why


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""


def _main(lesson: int, folder: Path, limits: Limits) -> None:
    """Judge the text in a folder, within limits, and write the verdict beside it."""
    source = (folder / FILE).read_bytes().decode()
    with open(folder / STACK, "w") as stack:
        faulthandler.dump_traceback_later(limits.patience, exit=True, file=stack)
        if resource:
            faulthandler.register(signal.SIGXCPU, stack, all_threads=False, chain=True)
            resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + GRACE))
            with suppress(ValueError, OSError):  # macOS refuses it
                resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
        began = time.perf_counter()
        verdict = judge(source, lesson, partial(_note, folder / PROBE))
        seconds = time.perf_counter() - began
    (folder / VERDICT).write_text(json.dumps(verdict.to_json() | {"seconds": seconds}), "utf-8")


def _note(path: Path, probe: Probe) -> None:
    path.write_text(f"{probe.what}: {probe.input}", "utf-8")


if __name__ == "__main__":
    _main(int(sys.argv[1]), Path(sys.argv[2]), Limits(**json.loads(sys.argv[3])))
