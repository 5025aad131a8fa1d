"""The models that the page may ask about: the lab's own, those beside it, those trained here."""

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from microgpt.checkpoint import SHIPPED
from microgpt.lab.answers import Answers
from microgpt.llm import pretrained
from microgpt.model import Model

OPEN = 4  # models whose engines stay in memory


class Answering(Protocol):
    """What knows a model."""

    def answer(self, name: str, question: dict[str, Any]) -> Any:
        """Return the answer to a question."""


class Models:
    """Finds models by name.

    "" is the lab's own, the first file of ours or the one that ships with microgpt, which is also
    "shipped"; opened-0 and opened-1 are the others that were opened; RUN-STEP is one that a run has
    left in a folder.

    Raises:
        OSError: a model cannot be read.
        ValueError: a model cannot be used.
    """

    def __init__(self, opened: Sequence[Path], folder: Path) -> None:
        self._folder = folder
        named = dict(zip(self.names(opened), opened, strict=True))
        self._own = named.pop("", SHIPPED)
        self._others = named
        self._published: dict[str, Answering] = {}  # seconds to load: they stay
        self._small = lru_cache(OPEN)(self._load)
        for name in ("", *self._others):  # before anyone asks, it is known that they are there
            self.answers(name)

    @staticmethod
    def names(opened: Sequence[Path]) -> list[str]:
        """Return the name of each model that was opened."""
        own = next((i for i, path in enumerate(opened) if not pretrained.is_one(path)), None)
        return ["" if i == own else f"opened-{i}" for i in range(len(opened))]

    def listed(self) -> list[dict[str, str]]:
        """Return each model's name and title, but those trained here."""
        named = {"": self._own, **self._others}
        if SHIPPED not in named.values():
            named["shipped"] = SHIPPED
        return [{"name": name, "title": title(path)} for name, path in named.items()]

    def answers(self, name: str) -> Answering:
        """Return who answers about a model; raises as path does."""
        path = self._others.get(name)
        if path is None or not pretrained.is_one(path):
            return self._small(name)
        if name not in self._published:
            from microgpt.lab.published import Published

            self._published[name] = Published(path)
        return self._published[name]

    def path(self, name: str) -> Path:
        """Return a model's file.

        Raises:
            ValueError: there is no such model, or it is a published one.
        """
        known = {"": self._own, "shipped": SHIPPED, **self._others}
        if name not in known:
            path = self._folder / f"{name}.safetensors"
            if not re.fullmatch(r"[\w-]{1,99}", name, re.ASCII) or not path.is_file():
                raise ValueError("that model is gone: the lab has been restarted; train another")
            return path
        if pretrained.is_one(known[name]):
            raise ValueError(f"{known[name].name} is a published model; the screen Inside shows it")
        return known[name]

    def _load(self, name: str) -> Answers:
        path = self.path(name)
        return Answers(Model.load(path), built_in=path == SHIPPED)


def title(path: Path) -> str:
    """Return what the page calls a model that was opened."""
    return "the built-in model" if path == SHIPPED else path.name
