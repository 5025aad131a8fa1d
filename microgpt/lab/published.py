"""A published model in the lab: a folder of Hugging Face or a GGUF file, to be looked into."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microgpt.lab.answers import reply
from microgpt.lab.inside import DIGITS, picture, stream
from microgpt.language import LanguageModel
from microgpt.llm import pretrained

MOST = 40  # tokens: more cannot be seen in a picture of every head
LONGEST = 1_000  # characters: to find out that they are too many tokens


class Published:
    """Answers what the page asks of a published model.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not understood in every part, or does not fit the memory.
    """

    def __init__(self, path: Path) -> None:
        self._model = LanguageModel(pretrained.load(path))
        self._text: str | None = None  # the last one read: more is asked of it
        self._seen: dict[str, Any] = {}

    def answer(self, name: str, question: dict[str, Any]) -> Any:
        """Return the answer to a question; raises as Answers.answer does."""
        questions: dict[str, Callable[..., Any]] = {
            "model": self.describe,
            "inside": self.inside,
            "stream": self.stream,
        }
        return reply(questions, name, question)

    def describe(self) -> dict[str, Any]:
        """Return its sizes; it has no letters."""
        a = self._model.architecture
        config = {
            name: getattr(a, name)
            for name in ("n_layer", "n_head", "n_kv_head", "n_embd", "vocab_size", "block_size")
        }
        return {"vocabulary": None, "config": config, "n_params": a.n_params, "steps": None}

    def inside(self, text: str) -> dict[str, Any]:
        """Return the picture of a text."""
        seen = self._read(text)
        tokens = self._model.tokens(text)
        probs = [seen["probs"][t, token] for t, token in enumerate(tokens[1:])]
        losses = [-math.log(max(p, math.ulp(0))) for p in probs]
        guesses = [
            [
                [(token, round(p, DIGITS)) for token, p in zip(*row, strict=True)]
                for row in zip(*layer, strict=True)
            ]
            for layer in zip(seen["lens"].tolist(), seen["lens_probs"].tolist(), strict=True)
        ]
        return picture(seen["tokens"], losses, seen, guesses)

    def stream(self, text: str, pos: int) -> list[list[float]]:
        """Return (n_layer + 1, n_embd): the residual stream at a position of a text."""
        return stream(self._read(text), pos)

    def _read(self, text: str) -> dict[str, Any]:
        if not isinstance(text, str):
            raise ValueError(f"the text is {text!r}; it must be a string")
        if len(text) > LONGEST:
            raise ValueError(f"the text has {len(text):,} characters; give {LONGEST:,} at most")
        if text != self._text:
            if (count := len(self._model.tokens(text))) > MOST:
                raise ValueError(f"the text has {count} tokens; the picture has room for {MOST}")
            self._seen, self._text = self._model.inspect(text), text
        return self._seen
