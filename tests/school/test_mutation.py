"""The measurement of the checks by mutants of gpt.py: that its result is of today's file."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from microgpt import gpt

mutation = pytest.importorskip("scripts.mutation", reason="limits of time are Unix's")

ROWS: list[dict[str, Any]] = json.loads(mutation.FILE.read_text("utf-8"))["rows"]
LINES = Path(gpt.__file__).read_text("utf-8").splitlines()


def lines(row: dict[str, Any]) -> tuple[str, str]:
    before, _, after = row["change"].partition("  ->  ")
    return before, after


def test_the_result_is_of_this_gpt_py() -> None:
    for row in ROWS:
        assert LINES[row["line"] - 1].strip() == lines(row)[0], "run scripts/mutation.py again"


def test_every_mutant_is_rejected_or_the_same_for_a_reason_that_is_given() -> None:
    assert len(ROWS) > 400
    for row in ROWS:
        assert row["rejected"] or mutation.because(row), row["change"]
    assert sum(map(mutation.ran, ROWS)) > 60


SIMPLE = [row for row in ROWS if row["operator"] in ("one more", "another operation", "no minus")]


@pytest.mark.parametrize("row", random.Random(4).sample(SIMPLE, 10), ids=lambda row: row["change"])
def test_a_mutant_is_rejected_by_what_the_result_says(row: dict[str, Any]) -> None:
    changed = list(LINES)
    before, after = lines(row)
    changed[row["line"] - 1] = LINES[row["line"] - 1].replace(before, after)
    assert mutation.check("\n".join(changed) + "\n") == row["rejected"]
