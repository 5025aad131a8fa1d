"""Learners' files: as the lessons begin them, and as somebody who knows gpt.py ends them."""

import pytest

from microgpt.school.course import lessons
from microgpt.school.source import Text, begin, home
from tests.cli.conftest import cli as cli


def solve(source: str, number: int) -> str:
    """Return a text with a lesson begun, and its stubs replaced by what is right."""
    lesson = lessons()[number - 1]
    text = Text(begin(source, lesson))
    lines = list(text.lines)
    for name in sorted(lesson.writes, key=lambda name: -text.nodes[name].lineno):
        lines[text.span(name)] = [home(name).text(name)]
    return "".join(lines)


@pytest.fixture(scope="session")
def solved() -> list[str]:
    """The text after each lesson, from none to all."""
    texts = [""]
    for lesson in lessons():
        texts.append(solve(texts[-1], lesson.number))
    return texts
