"""Says whether a learner's file passes a lesson, and if not, what it got wrong.

python -m microgpt.school.judge LESSON < FILE

prints the verdict as JSON; what the file itself prints goes to standard error. The file runs in
this process; the sandbox gives it one of its own, with limits.
"""

import io
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

from microgpt.school.answers import Answer, first_difference, same, show
from microgpt.school.course import lesson as lesson_of
from microgpt.school.fingerprints import answer, asked, fingerprints
from microgpt.school.mistakes import Mistake, mistakes
from microgpt.school.probes import Probe, probes
from microgpt.school.program import FILE, Program


@dataclass(frozen=True)
class Failure:
    """The smallest input that shows that a program is wrong."""

    what: str  # the function that was asked
    input: str
    expected: str
    got: str


@dataclass(frozen=True)
class Verdict:
    """How a program did in a lesson."""

    lesson: int
    passed: int  # probes
    total: int
    failure: Failure | None = None
    mistake: Mistake | None = None  # if it is a known one
    earlier: int | None = None  # an earlier lesson that the program does not pass, to look at first

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON can hold it; of a mistake, not what would be right."""
        known = None
        if self.mistake:
            known = {name: getattr(self.mistake, name) for name in ("id", "says", "source")}
        return asdict(self) | {"mistake": known}


Begun = Callable[[Probe], None]


def judge(source: str, lesson: int, begun: Begun = lambda probe: None) -> Verdict:
    """Return how a learner's file does in a lesson.

    begun is called with each probe before it is asked, so that one which never ends can be named.

    Raises:
        ValueError: there is no such lesson.
    """
    writes = lesson_of(lesson).writes
    total = sum(probe.decides for probe in probes(lesson))
    fingerprints(), mistakes()  # read before the learner's file can change how files are read
    stdin, sys.stdin = sys.stdin, io.StringIO()  # input() has nobody to ask here
    try:
        program = Program(source, writes)
        for name in writes:
            if name not in program.own:
                failure = Failure(name, FILE, f"a definition of {name}", "none")
                return Verdict(lesson, 0, total, failure)
        return _judge(program, lesson, begun)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Verdict(lesson, 0, total, Failure(FILE, "reading it", "no error", explain(error)))
    finally:
        sys.stdin = stdin


def _judge(program: Program, lesson: int, begun: Begun) -> Verdict:
    asked_of = probes(lesson)
    total = sum(probe.decides for probe in asked_of)
    answers, failures = _ask(program, asked_of, begun)
    if not failures:
        return Verdict(lesson, total, total)
    mistake, earlier = recognise(answers, lesson), None
    if mistake is None:
        earlier = _first_failed(program, lesson, begun)
    if mistake is None and earlier is None:  # look at one function alone: another may be a stub
        names = [asked(probe) for probe in asked_of if probe.what == failures[0].what]
        mistake = recognise({name: answers[name] for name in names}, lesson)
    return Verdict(lesson, total - len(failures), total, failures[0], mistake, earlier)


def _ask(
    program: Program, asked_of: Iterable[Probe], begun: Begun
) -> tuple[dict[str, Answer], list[Failure]]:
    """Return the answers to some probes, and what is wrong with them."""
    right = fingerprints()["right"]
    answers, failures = {}, []
    for probe in asked_of:
        begun(probe)
        given, error = answer(probe, program)
        answers[asked(probe)] = given
        if probe.decides and not same(right[asked(probe)], given):
            failures.append(_failure(probe, right[asked(probe)], given, error))
    return answers, failures


def recognise(answers: dict[str, Answer], lesson: int) -> Mistake | None:
    """Return the one mistake of a lesson that gives these answers to what was asked."""
    prints = fingerprints()
    found = []
    for mistake in mistakes():
        if mistake.lesson == lesson and prints[mistake.id].keys() & answers.keys():
            expected = prints["right"] | prints[mistake.id]
            if all(same(expected[name], given) for name, given in answers.items()):
                found.append(mistake)
    return found[0] if len(found) == 1 else None


def _first_failed(program: Program, lesson: int, begun: Begun) -> int | None:
    """Return the first lesson before this one that fails, of those that the program has begun."""
    for number in range(1, lesson):
        if program.own & set(lesson_of(number).writes) and _ask(program, probes(number), begun)[1]:
            return number
    return None


def _failure(probe: Probe, right: Answer, given: Answer, error: BaseException | None) -> Failure:
    if error is not None:
        name, first = next(iter(right.items())) if isinstance(right, dict) else ("", right)
        expected, _ = show(name, first, None)
        return Failure(probe.what, probe.input, expected, explain(error))
    difference = first_difference(right, given)
    assert difference
    return Failure(probe.what, probe.input, *show(*difference))


def explain(error: BaseException) -> str:
    """Return an exception as a line: its type, what it says, and where in the learner's file."""
    line: int | None = None
    for frame in traceback.extract_tb(error.__traceback__):
        line = frame.lineno if frame.filename == FILE else line
    if isinstance(error, SyntaxError) and error.filename == FILE:
        line = error.lineno
    said = error.msg if isinstance(error, SyntaxError) else _words(error)
    text = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, NotImplementedError):
        text = "it is not written yet"
    return text + (f", line {line} of {FILE}" if line else "")


def _words(error: BaseException) -> str:
    try:
        words = str(error)
    except BaseException:  # a class of the learner's
        return ""
    return words if len(words) <= 200 else words[:200] + "..."


def main(arguments: Iterable[str]) -> None:
    """Judge standard input."""
    (lesson,) = arguments
    source = sys.stdin.buffer.read().decode("utf-8-sig", "replace")
    with redirect_stdout(sys.stderr):
        verdict = judge(source, int(lesson))
    print(json.dumps(verdict.to_json()))


if __name__ == "__main__":
    main(sys.argv[1:])
