"""A learner's folder: one growing file, what has passed, and copies of what was there before."""

import ast
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.school.course import Lesson, lessons
from microgpt.school.program import FILE
from microgpt.school.source import Text, begin, reset

STATE, HISTORY = "school.json", "history"


@dataclass
class State:
    """What the folder remembers; lose it, and a check of the file brings back what has passed."""

    passed: dict[str, str] = field(default_factory=dict)  # lesson: a hash of what it passed with
    hints: dict[str, int] = field(default_factory=dict)  # lesson: how many have been shown
    predictions: dict[str, str] = field(default_factory=dict)  # lesson: the learner's answer

    @classmethod
    def of(cls, text: str) -> "State":
        """Return the state in a text; an empty one if it holds none."""
        try:
            found = json.loads(text)
            state = cls(**{name: dict(found[name]) for name in asdict(cls())})
        except (ValueError, TypeError, KeyError, RecursionError):
            return cls()
        texts = [*state.passed.values(), *state.predictions.values()]
        sound = all(isinstance(text, str) for text in texts)
        return state if sound and all(type(n) is int for n in state.hints.values()) else cls()


class Folder:
    """A folder with mygpt.py in it, school.json and history/."""

    def __init__(self, path: files.PathLike) -> None:
        """Find the folder; nothing is made yet."""
        self.path = Path(path)
        self.file, self.history = self.path / FILE, self.path / HISTORY

    @property
    def source(self) -> str:
        """What mygpt.py holds, its lines ended by LF.

        Raises:
            FileNotFoundError: there is none; str() says how to begin.
            ValueError: it is not UTF-8 text.
        """
        return _plain(self._bytes())

    def _bytes(self) -> bytes:
        try:
            return self.file.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(
                2, "it is not there; begin with `microgpt school start 1`", str(self.file)
            ) from None

    def write(self, source: str) -> None:
        """Write mygpt.py, with the line ends that it has."""
        windows = self.file.exists() and b"\r\n" in self.file.read_bytes()
        files.write(self.file, source.replace("\n", "\r\n") if windows else source)

    def start(self, lesson: Lesson) -> bool:
        """Add what a lesson begins with to mygpt.py; return whether anything was added.

        Raises:
            OSError: the folder or the file cannot be written.
            ValueError: mygpt.py is not text or not Python now, or has no room for a method.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        files.target(self.file)
        source = self.source if self.file.exists() else ""
        added = begin(source, lesson)
        if added != source:
            self.write(added)
        return added != source

    def reset(self, lesson: Lesson) -> Path:
        """Put a lesson's stubs back; return where the learner's version is kept.

        Raises:
            OSError: as start.
            ValueError: as start.
        """
        kept = self.keep(f"{lesson.number:02}-before-reset")
        self.write(reset(self.source, lesson))
        return kept

    def keep(self, name: str) -> Path:
        """Copy mygpt.py into history/ under a name, unless its last copy there is the same."""
        self.history.mkdir(exist_ok=True)
        wanted = self.history / f"{name}.py"
        data = self._bytes()
        if not (wanted.exists() and wanted.read_bytes() == data):
            wanted = files.unused(wanted)
            files.write(wanted, data)
        return wanted

    @property
    def state(self) -> State:
        """What is remembered."""
        try:
            return State.of((self.path / STATE).read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return State()

    @state.setter
    def state(self, state: State) -> None:
        files.write(self.path / STATE, json.dumps(asdict(state), indent=1, ensure_ascii=False))

    def passed(self, lesson: Lesson, text: Text) -> bool:
        """Return whether a lesson passed with just what the text holds of it."""
        return self.state.passed.get(str(lesson.number)) == fingerprint(lesson, text)

    def remember(self, kind: str, lesson: Lesson, value: Any) -> None:
        """Note a hash in `passed`, a count in `hints`, or an answer in `predictions`."""
        state = self.state
        vars(state)[kind][str(lesson.number)] = value
        self.state = state


def started(text: Text) -> list[Lesson]:
    """Return the lessons of which something is in a text, stub or written."""
    return [lesson for lesson in lessons() if any(name in text.nodes for name in lesson.writes)]


def fingerprint(lesson: Lesson, text: Text) -> str:
    """Return a hash of what a text holds of a lesson; comments and layout do not count."""
    found = (text.nodes[name] for name in lesson.writes if name in text.nodes)
    return hashlib.sha256("\n".join(map(ast.unparse, found)).encode()).hexdigest()


def _plain(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{FILE} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
