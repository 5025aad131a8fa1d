"""What the first screens ask, answered beforehand: the page is alive before any engine is.

    python -m microgpt.lab.recorded > microgpt/lab/static/recorded.json

The file holds rows [name, question, answer]. The page looks there first, so what each screen asks
when it opens is asked here in the same words.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from microgpt.lab.answers import Answers
from microgpt.lab.server import MODEL
from microgpt.model import Model

NAME = "emma"  # what Forward and Backward open with
STEP = 2  # of backward(): the first that is more than an end of the chain
DIALS = {"temperature": 0.7, "top_k": None, "top_p": None}


def record(answers: Answers) -> list[list[Any]]:
    """Return what Play, Forward and Backward ask as they open, each question with its answer.

    A model that cannot read what a screen opens with is asked the other questions alone.
    """
    rows: list[list[Any]] = []
    for ask in (_play, _forward, _backward):
        with suppress(ValueError):  # a letter is not in its vocabulary
            for name, question in ask(rows):
                rows.append([name, question, answers.answer(name, question)])
    return rows


def _play(rows: list[list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "model", {}
    yield "next", {"text": "ma", **DIALS}
    yield "names", {"prefix": "ma", "count": 12, "seed": 42, **DIALS}


def _forward(rows: list[list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "trace", {"text": NAME}


def _backward(rows: list[list[Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "order", {"example": "twice"}
    yield "backward", {"text": NAME, "look": "document"}
    whole = rows[-1][2]
    second = whole["positions"][1]
    yield "backward", {"text": NAME, "look": "operations", "call": second["call"]}
    yield "backward", {"text": NAME, "look": "turn", "step": STEP}
    node = rows[-1][2]["node"]["node"]
    yield "backward", {"text": NAME, "look": "around", "node": node, "step": STEP}


if __name__ == "__main__":  # by gpt.py itself: the same numbers, whatever machine records them
    rows = record(Answers(Model.load(MODEL, "scalar"), built_in=True))
    print(json.dumps(rows, separators=(",", ":")))
