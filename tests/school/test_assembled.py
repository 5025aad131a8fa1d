"""Lesson by lesson a learner's file passes its checks; in the end it prints the published names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.school.course import Lesson, lessons
from microgpt.school.judge import judge
from tests.test_gpt import LOSSES, NAMES


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_a_file_passes_a_lesson_when_it_is_written_and_not_before(
    lesson: Lesson, solved: list[str]
) -> None:
    before, after = solved[lesson.number - 1], solved[lesson.number]
    assert judge(before, lesson.number).failure
    assert judge(after, lesson.number).failure is None


def run(source: str, folder: Path, names: Path, count: int) -> list[str]:
    """Return the first lines that a learner's file prints when it is run."""
    (folder / "mygpt.py").write_text(source, "utf-8")
    with subprocess.Popen(
        [sys.executable, "-u", folder / "mygpt.py", names], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines = [line for _, line in zip(range(count), process.stdout, strict=False)]
        process.kill()
    return lines


def losses(lines: list[str]) -> list[str]:
    return [found[1] for line in lines if (found := re.search(r"loss ([\d.]+)", line))]


def test_the_assembled_file_prints_the_published_losses(
    solved: list[str], tmp_path: Path, published: Path
) -> None:
    lines = run(solved[-1], tmp_path, published, 4)
    assert losses(lines) == LOSSES.split()[:3]


@pytest.mark.slow
def test_the_assembled_file_prints_the_published_names(
    solved: list[str], tmp_path: Path, published: Path
) -> None:
    lines = run(solved[-1], tmp_path, published, 1021)
    assert losses(lines)[:13] == LOSSES.split()
    assert [line.strip() for line in lines[-20:]] == NAMES.split()
