"""A report: one text to hand in, that holds what has passed and the file that passed."""

import hashlib
import platform
from collections.abc import Iterator, Mapping

from microgpt import __version__
from microgpt.school.course import Lesson, lessons
from microgpt.school.folder import started
from microgpt.school.program import FILE
from microgpt.school.sandbox import Answer, check
from microgpt.school.source import Text

TITLE = "MicroGPT school report"
BELOW = f"---- {FILE} ----\n"


def results(source: str) -> Iterator[tuple[Lesson, Answer | None]]:
    """Yield each lesson and the answer of its check, made now; None if it was not begun.

    Raises:
        ValueError: the text is not Python.
    """
    begun = started(Text(source))
    for lesson in lessons():
        yield lesson, check(source, lesson.number) if lesson in begun else None


def line(lesson: Lesson, answer: Answer | None) -> str:
    """Return a lesson's line of the table."""
    words, count = "not begun", ""
    if answer and answer.verdict:
        words = "passed" if answer.passed else "not yet"
        count = f"{answer.verdict.passed:>3} of {answer.verdict.total}"
    elif answer:
        words = "stopped"
    return f"{lesson.number:2} {lesson.name:10} {words:9} {count}".rstrip()


def compose(name: str, source: str, predictions: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a report, as its checks are made.

    Raises:
        ValueError: the text is not Python.
    """
    yield TITLE
    yield f"name      {' '.join(name.split()) or '(none)'}"
    yield f"made by   microgpt {__version__}, Python {platform.python_version()}"
    yield f"file      sha256 {hashlib.sha256(source.encode()).hexdigest()}"
    yield ""
    for lesson, answer in results(source):
        yield line(lesson, answer)
    yield ""
    for lesson in lessons():
        if said := predictions.get(str(lesson.number)):
            yield f"{lesson.number:2} predicted: {' '.join(said.split())}"
    yield ""
    yield f"{BELOW}{source}".rstrip("\n")


def source_of(report: str) -> str:
    """Return the file that a report holds.

    Raises:
        ValueError: it is not a report.
    """
    head, found, source = report.replace("\r\n", "\n").partition(BELOW)
    if not found or not head.startswith(TITLE):
        raise ValueError(f"it does not begin with {TITLE!r}, or lacks the file that it is about")
    return source
