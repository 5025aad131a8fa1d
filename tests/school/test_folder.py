"""The learner's folder: nothing of the learner's is lost, and what is remembered can be lost."""

import json
import os
from pathlib import Path

import pytest

from microgpt.school.course import lesson
from microgpt.school.folder import Folder, State, fingerprint, started
from microgpt.school.source import Text


def test_start_adds_and_says_so(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "deep" / "school")
    assert folder.start(lesson(1))
    assert not folder.start(lesson(1))
    assert [each.number for each in started(Text(folder.source))] == [1]


def test_line_ends_stay_as_they_are(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.file.write_bytes(b"# mine\r\nx = 1\r\n")
    folder.start(lesson(1))
    data = folder.file.read_bytes()
    assert data.startswith(b"# mine\r\nx = 1\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")


def test_reset_keeps_what_was_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.start(lesson(1))
    for mine in ("return 1", "return 2"):
        folder.write(folder.source.replace("raise NotImplementedError", mine, 1))
        kept = folder.reset(lesson(1))
        assert mine in kept.read_text("utf-8")
    assert len(list(folder.history.iterdir())) == 2


def test_the_same_file_is_kept_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.start(lesson(1))
    assert folder.keep("01") == folder.keep("01")
    folder.write(folder.source + "\n# more\n")
    assert folder.keep("01").name == "01-2.py"


def test_a_pass_holds_for_what_has_passed(tmp_path: Path) -> None:
    """Comments, layout and other lessons do not matter to it; its own functions do."""
    folder = Folder(tmp_path)
    folder.write("def encode(a, b):\n    return a\ndef decode(a, b): return b\n")
    text = Text(folder.source)
    folder.remember("passed", lesson(1), fingerprint(lesson(1), text))
    assert folder.passed(lesson(1), text)
    assert folder.passed(
        lesson(1), Text(text.source.replace("    return a", "    return (a)  # a"))
    )
    assert not folder.passed(lesson(1), Text(text.source.replace("return a", "return b")))
    assert not folder.passed(lesson(2), text)


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "[]", "null", '{"passed": {}}', "[" * 100_000, '{"passed": 1, "hints": 2}'],
        json.dumps({"passed": {"1": 2}, "hints": {}, "predictions": {}}),
        json.dumps({"passed": {}, "hints": {"1": "x"}, "predictions": {}}),
    ],
)
def test_a_state_that_is_broken_is_an_empty_one(text: str) -> None:
    assert State.of(text) == State()


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.file.write_bytes(b"x = '\xe9'")
    with pytest.raises(ValueError, match=r"not UTF-8 text \(byte 5\); save it as UTF-8"):
        folder.start(lesson(1))
    assert folder.file.read_bytes() == b"x = '\xe9'"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        Folder(tmp_path).start(lesson(1))
