"""The models that the page may ask about: the lab's own, and those that its runs have trained."""

import re
from functools import lru_cache
from pathlib import Path

from microgpt.lab.answers import Answers
from microgpt.model import Model

OPEN = 4  # models whose engines stay in memory


class Models:
    """Finds models by name: "" is the lab's own, RUN-STEP one that a run has left in a folder."""

    def __init__(self, own: Path, folder: Path) -> None:
        self._own, self._folder = own, folder
        self.answers = lru_cache(OPEN)(self._answers)

    def path(self, name: str) -> Path:
        """Return a model's file.

        Raises:
            ValueError: there is no such model.
        """
        if not name:
            return self._own
        path = self._folder / f"{name}.safetensors"
        if not re.fullmatch(r"[\w-]{1,99}", name, re.ASCII) or not path.is_file():
            raise ValueError("that model is gone: the lab has been restarted; train another")
        return path

    def _answers(self, name: str) -> Answers:
        return Answers(Model.load(self.path(name)))
