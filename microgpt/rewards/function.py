"""A reward of your own, FILE.py:function, in a process of its own that may fail and never end.

`python -m microgpt.rewards.function FILE.py function` is that process: each line on its standard
input is a JSON list of documents, each line on its standard output what the function gave.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Timer
from typing import Any

from microgpt.tokenizer import shorten

SECONDS = 10.0  # that a call may take
LOADING = 60.0  # seconds that Python may take to begin, and the file to be read


class Function:
    """A function in a file: it takes a list of strings and returns a list of numbers.

    Raises:
        OSError: the file cannot be read.
    """

    def __init__(self, path: str, name: str, seconds: float = SECONDS) -> None:
        self.path, self.name, self.seconds = path, name, seconds
        self._process: subprocess.Popen[str] | None = None
        with open(path, "rb"):  # says what is wrong with the path in the system's own words
            pass

    def __call__(self, documents: Sequence[str]) -> list[float]:
        """Return what the function gives.

        Raises:
            ValueError: it raises, gives no number for a document or too many, ends its process, or
                takes too long; the line names the document.
        """
        given, problem = self._ask(documents)
        if problem is None:
            return given
        for document in documents:  # which one is it?
            _, alone = self._ask([document])
            if alone is not None:
                raise ValueError(f"{self.path}:{self.name} {alone} on {shorten(document)}")
        raise ValueError(
            f"{self.path}:{self.name} {problem} on {len(documents)} documents together, the first "
            f"{shorten(documents[0])}; on each alone it does not"
        )

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream:
                    stream.close()
            self._process = None

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of; it starts a process of its own."""
        return vars(self) | {"_process": None}

    def _ask(self, documents: Sequence[str]) -> tuple[list[float], str | None]:
        """Return the numbers, and what went wrong, as a line that says it without the documents."""
        if self._process is None:
            self._process = _start(self.path, self.name)
            _, problem = self._say(None, LOADING)
            if problem:
                self.close()
                raise ValueError(f"{self.path}:{self.name} cannot be used: it {problem}")
        return self._say(list(documents), self.seconds)

    def _say(self, question: list[str] | None, seconds: float) -> tuple[list[float], str | None]:
        """Return the answer to a question, None being whether the function is there."""
        assert self._process
        process, late = self._process, False

        def stop() -> None:
            nonlocal late
            late = True
            process.kill()

        timer = Timer(seconds, stop)
        timer.start()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            self.close()
            return [], f"took more than {seconds:g} s" if late else "ended its process"
        answer: dict[str, Any] = json.loads(line)
        return answer.get("rewards", []), answer.get("problem")


def _start(path: str, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "microgpt.rewards.function", path, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )


def main() -> None:
    """Answer each line until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asks; this ends with its input
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is not an answer
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    path, name = sys.argv[1:]
    function: Any = None
    for line in questions:
        try:
            function = function or _load(path, name)
            answer = _checked(function, json.loads(line))
        except BaseException as error:
            answer = {
                "problem": f"stops with {type(error).__name__}: {' '.join(str(error).split())}"
            }
        out.write(json.dumps(answer) + "\n")
        out.flush()


def _load(path: str, name: str) -> Any:
    """Return the function of a file; its folder is where it imports from."""
    sys.path.insert(0, str(Path(path).resolve().parent))
    namespace: dict[str, Any] = {"__name__": Path(path).stem, "__file__": path}
    exec(compile(Path(path).read_bytes(), path, "exec"), namespace)
    if not callable(namespace.get(name)):
        raise NameError(f"there is no function {name!r}")
    return namespace[name]


def _checked(function: Any, documents: list[str] | None) -> dict[str, Any]:
    if documents is None:
        return {}
    given = function(documents)
    rewards = given.tolist() if hasattr(given, "tolist") else list(given)
    if len(rewards) != len(documents):
        return {"problem": f"gives {len(rewards)} numbers for {len(documents)} documents"}
    for reward in rewards:
        value = float(reward)
        if value != value or abs(value) == float("inf"):
            return {"problem": f"gives {value}, which is not a finite number,"}
    return {"rewards": [float(reward) for reward in rewards]}


if __name__ == "__main__":
    main()
