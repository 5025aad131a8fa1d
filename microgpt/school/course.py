"""The lessons, read from their files: what each one asks, hints at, and has written."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

WHOLE = 12  # lessons after which mygpt.py is whole; the others are about what large models add
FOLDER = Path(__file__).parent / "lessons"
TOUR, GLOSSARY = (Path(__file__).parent / name for name in ("tour.toml", "glossary.md"))
WORD = re.compile(r"^\*\*(.+)\*\*: (.+)$", re.M)
VIEW, PREDICT = re.compile(r"```view\n(.*)\n(.*)\n```"), re.compile(r"```predict\n```")
FIGURES = Path(__file__).parent / "figures.json"  # made by figures.py
FILE = re.compile(r"\+\+\+\n(?P<front>.*?)\n\+\+\+\n(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True)
class Lesson:
    """A lesson: the front matter of its file, and the text."""

    number: int  # from 1 on
    name: str  # of its file and in addresses: "backward"
    title: str
    minutes: int
    insight: str  # the one idea, in a sentence
    question: str  # to be answered before anything is shown
    answer: str
    writes: tuple[str, ...]  # names that the learner writes: "encode", "Value.backward"
    hints: tuple[str, ...]  # three, each says more than the one before
    place: str  # the address of a screen of the lab
    text: str  # Markdown
    given: tuple[str, ...] = ()  # names that come ready-made with the lesson

    def page(self) -> str:
        """Return the text as it is read in an editor or on paper, which show no view."""
        text = VIEW.sub(rf"**In the lab, lesson {self.number}:** \2", self.text)
        text = PREDICT.sub(f"**Predict first:** {self.question}", text)
        return f"# {self.number}. {self.title}\n\n{self.minutes} minutes\n\n{text}\n"


@dataclass(frozen=True)
class Stop:
    """A stop of the tour: a place in the lab, what is to be seen there, and what to ask oneself."""

    title: str
    place: str
    text: str
    question: str
    answer: str


@cache
def lessons() -> tuple[Lesson, ...]:
    """Return all lessons in their order."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.md")))


def lesson(number: int) -> Lesson:
    """Return a lesson by its number.

    Raises:
        ValueError: there is no such lesson.
    """
    if not 1 <= number <= len(lessons()):
        raise ValueError(f"there is no lesson {number}; the lessons are 1 to {len(lessons())}")
    return lessons()[number - 1]


@cache
def tour() -> tuple[Stop, ...]:
    """Return the stops of the tour in their order."""
    return tuple(Stop(**stop) for stop in tomllib.loads(_filled(TOUR))["stop"])


@cache
def glossary() -> dict[str, str]:
    """Return what each word means, in a sentence."""
    return dict(WORD.findall(GLOSSARY.read_text("utf-8")))


def _filled(path: Path) -> str:
    return fill(path.read_text("utf-8"), json.loads(FIGURES.read_text("utf-8")))


def _read(path: Path) -> Lesson:
    found = FILE.fullmatch(_filled(path))
    if not found:
        raise ValueError(f"{path} does not begin with front matter between two lines of +++")
    number, _, name = path.stem.partition("-")
    front: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in tomllib.loads(found["front"]).items()
    }
    return Lesson(number=int(number), name=name, text=found["text"].strip(), **front)


def fill(text: str, figures: Mapping[str, str]) -> str:
    """Return a text with a figure in the place of each {{name}}.

    Raises:
        ValueError: there is no such figure.
    """
    first, *rest = text.split("{{")
    for piece in rest:
        name, _, after = piece.partition("}}")
        if name not in figures:
            raise ValueError(f"there is no figure {name!r}; microgpt/school/figures.py makes them")
        first += figures[name] + after
    return first
