"""Says whether a learner's file passes a lesson, and if not, what it got wrong.

python -m microgpt.school.judge LESSON < FILE

prints the verdict as JSON; what the file itself prints goes to standard error. The file runs in
this process; the sandbox gives it one of its own, with limits.
"""

import io
import json
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from typing import Any

from microgpt.school.answers import Answer, first_difference, same, show
from microgpt.school.course import lesson as lesson_of
from microgpt.school.fingerprints import answer, asked, fingerprints
from microgpt.school.mistakes import Mistake, mistakes
from microgpt.school.probes import Probe, probes
from microgpt.school.program import FILE, Program
from microgpt.school.source import reset

STUB = "it is not written yet"


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
    earlier: int | None = None  # an earlier lesson that is to blame: look there first

    @property
    def unwritten(self) -> bool:
        """Whether nothing fails but what is a stub."""
        return self.failure is not None and self.failure.got.startswith(STUB)

    @property
    def advice(self) -> str:
        """What to do about the failure, in a sentence or two; "" where there is none."""
        if not self.failure:
            return ""
        if self.mistake:
            return f"{self.mistake.id}: {self.mistake.says}"
        if self.earlier:
            return f"With gpt.py's own lesson {self.earlier} this passes: look at yours first."
        if self.unwritten:
            return "No mistake so far."
        if self.failure.what == FILE and ERROR.match(self.failure.got):
            return "Nothing can be asked of the file before that line is mended."
        if ERROR.match(self.failure.got):
            return "Python stopped there. What does each name in that line hold, and of which type?"
        return "Not a mistake we know, or more than one at once. Try the input above by hand."

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON can hold it; of a mistake, not what would be right."""
        known = None
        if self.mistake:
            known = {name: getattr(self.mistake, name) for name in ("id", "says", "source")}
        return asdict(self) | {"mistake": known, "advice": self.advice}


ERROR = re.compile(rf"[A-Z]\w*: .*, line \d+ of {FILE}", re.DOTALL)  # as explain() writes it
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
        return _judge(program, source, lesson, begun)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Verdict(lesson, 0, total, Failure(FILE, "reading it", "no error", explain(error)))
    finally:
        sys.stdin = stdin


def _judge(program: Program, source: str, lesson: int, begun: Begun) -> Verdict:
    asked_of = probes(lesson)
    total = sum(probe.decides for probe in asked_of)
    answers, failures = _ask(program, asked_of, begun)
    if not failures:
        return Verdict(lesson, total, total)
    written = [(probe, each) for probe, each in failures if not each.got.startswith(STUB)]
    probe, failure = (written or failures)[0]
    mistake, earlier = recognise(answers, lesson), None
    if mistake is None and written:
        earlier = _to_blame(program, source, probe, begun)
    if mistake is None and earlier is None:  # look at one function alone: another may be a stub
        names = [asked(each) for each in asked_of if each.what == probe.what]
        mistake = recognise({name: answers[name] for name in names}, lesson)
    return Verdict(lesson, total - len(failures), total, failure, mistake, earlier)


def _ask(
    program: Program, asked_of: Iterable[Probe], begun: Begun
) -> tuple[dict[str, Answer], list[tuple[Probe, Failure]]]:
    """Return the answers to some probes, and which of them are wrong, and how."""
    right = fingerprints()["right"]
    answers, failures = {}, []
    for probe in asked_of:
        begun(probe)
        given, error = answer(probe, program)
        answers[asked(probe)] = given
        if probe.decides and not same(right[asked(probe)], given):
            failures.append((probe, _failure(probe, right[asked(probe)], given, error)))
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


def _to_blame(program: Program, source: str, failed: Probe, begun: Begun) -> int | None:
    """Return an earlier lesson of the learner's with which in gpt.py's words a probe passes."""
    now = lesson_of(failed.lesson)
    earlier = [n for n in range(1, now.number) if program.own & set(lesson_of(n).writes)]

    def passes(*numbers: int) -> bool:
        writes = tuple(name for number in numbers for name in lesson_of(number).writes)
        mended = Program(reset(source, replace(now, writes=writes, given=())), now.writes)
        return not _ask(mended, [failed], begun)[1]

    try:
        if not passes(*earlier):
            return None
        return next((number for number in earlier if passes(number)), None)
    except Exception:  # a file of the learner's may be of any kind
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
        text = STUB
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
