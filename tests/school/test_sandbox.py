"""Whatever a learner's code does, the check ends, and says clearly what happened."""

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from microgpt import gpt
from microgpt.school.program import FILE
from microgpt.school.sandbox import Answer, Limits, check

RIGHT = """
def encode(doc, alphabet):
    return [len(alphabet), *map(alphabet.index, doc), len(alphabet)]

def decode(tokens, alphabet):
    return "".join(alphabet[token] for token in tokens)
"""
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")


def edited(line: str) -> str:
    """Return the right answer with a line at the beginning of encode()."""
    return RIGHT.replace("alphabet):\n", f"alphabet):\n    {line}\n", 1)


def failure(answer: Answer) -> str:
    assert answer.verdict
    assert answer.verdict.failure
    assert not answer.passed
    return answer.verdict.failure.got


def test_the_right_answer_passes() -> None:
    answer = check(RIGHT, 1)
    assert answer.passed
    assert (answer.stopped, answer.printed, answer.unshown) == ("", "", 0)


@POSIX
def test_an_endless_loop_is_named() -> None:
    answer = check(edited("while True: pass"), 1, Limits(seconds=2))
    assert answer.verdict is None
    asked, where, question = answer.stopped.splitlines()
    assert asked.startswith("encode: ")
    assert where == f"Stopped after 2 s, at {FILE} line 3, in encode: while True: pass"
    assert question == "Does a loop never end?"


def test_code_that_waits_is_named() -> None:
    answer = check(edited("__import__('threading').Event().wait()"), 1, Limits(patience=3))
    assert f"Stopped after 3 s, at {FILE} line 3, in encode" in answer.stopped


def test_code_that_stops_python_is_named() -> None:
    answer = check(edited("__import__('os')._exit(3)"), 1)
    assert "Your code ended Python itself, with exit status 3" in answer.stopped


def test_little_output_is_shown() -> None:
    answer = check("print('h\u00e9llo')\n" + RIGHT, 1)
    assert answer.passed
    assert (answer.printed.strip(), answer.unshown) == ("h\u00e9llo", 0)


def test_much_output_is_cut_and_counted() -> None:
    answer = check("print('x' * 3_000_000)\n" + RIGHT, 1)
    assert answer.passed
    assert len(answer.printed) + answer.unshown >= 3_000_000
    assert answer.printed == "x" * 2000


def test_endless_output_is_stopped() -> None:
    answer = check(edited("while True: print('x' * 10_000)"), 1)
    assert "Stopped after 10 MB of output" in answer.stopped
    assert answer.printed.startswith("xxx")


@POSIX
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such limit")
def test_memory_is_limited() -> None:
    answer = check(edited("bytearray(10**10)"), 1, Limits(memory=10**9))
    assert failure(answer) == f"MemoryError, line 3 of {FILE}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", f"ZeroDivisionError: division by zero, line 3 of {FILE}"),
        ("encode(doc, alphabet)", "RecursionError"),
        ("np.zeros(3)", "NameError: name 'np' is not defined"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("input()", "EOFError"),
    ],
)
def test_an_error_is_the_learners_with_its_line(line: str, said: str) -> None:
    assert failure(check(edited(line), 1)).startswith(said)


def test_a_missing_import_is_an_error_of_the_file() -> None:
    got = failure(check("import numpyy\n" + RIGHT, 1))
    assert got == f"ModuleNotFoundError: No module named 'numpyy', line 1 of {FILE}"


def test_what_is_changed_elsewhere_stays_there() -> None:
    """A check is a process of its own, and its judge a program of its own."""
    answer = check("from microgpt import gpt\ngpt.encode = gpt.decode = None" + RIGHT, 1)
    assert answer.passed
    assert gpt.encode("a", "a") == [1, 0, 1]


def test_a_file_in_the_current_folder_hides_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert check(RIGHT, 1).passed


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no pidfd to wait with")
def test_what_it_started_ends_with_it() -> None:
    begin = "import subprocess, sys\n"
    begin += "command = [sys.executable, '-c', 'import signal; signal.pause()']\n"
    begin += "print(subprocess.Popen(command).pid)\n"
    answer = check(begin + RIGHT, 1)
    assert answer.passed
    with suppress(ProcessLookupError):  # it is gone without a trace
        ended = os.pidfd_open(int(answer.printed))
        assert select.select([ended], [], [], 60)[0], "it lives on"
        os.close(ended)
