"""The kit: all that it prints comes from what runs, and adds up."""

import random
import re
from pathlib import Path
from typing import Any

import pytest

from microgpt import gpt
from microgpt.school import kit
from microgpt.school.course import Lesson, lessons
from microgpt.school.mistakes import mistakes
from microgpt.school.program import reference

each_lesson = pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
PRINTED = {  # worked out by hand
    "tokens": ["[3, 1, 0, 3]", "nab"],
    "surprise": ["0.693", "[0.5, 0.25, 0.25]"],
    "slope": ["6.0", "0.0"],
    "values": ["(3, 3)", "()"],
    "backward": ["4", "12.0"],
    "softmax": ["[0.5, 0.5]", "(3, 4, 1, 2)"],
    "attention": ["[2.0, 15.0]", "[7.0, 8.0]"],
    "block": ["[0.2, 1.4]", "[1.0, -1.0]"],
    "cache": ["True", "7.6"],
    "loss": ["3.2958", "4192"],
    "adam": ["0.9", "(0.9, 0)"],
    "sample": ["512", "32767"],
    "examples": ["[0.0, 0.5, 0.5]", "3.2958"],
    "rewards": ["[1.0, -0.5, -0.5]", "[1.0, 0.5, 0.0]"],
    "choices": ["(0.5, -0.5)", "True"],
    "subwords": ["[256, 5]", "[0, 256]"],
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return kit.pages(site=False)


@pytest.mark.parametrize("plan", kit.words()["plan"], ids=lambda plan: plan["title"])
def test_a_plan_adds_up(plan: dict[str, Any]) -> None:
    assert sum(minutes for minutes, _ in plan["slots"]) == plan["minutes"]


@each_lesson
def test_the_quiz_prints_what_it_should(lesson: Lesson) -> None:
    quiz = kit.words()["lesson"][lesson.number - 1]["quiz"]
    assert [kit.answer(code, show) for code, show, _ in quiz] == PRINTED[lesson.name]


@each_lesson
def test_a_puzzle_has_one_line_too_many(lesson: Lesson) -> None:
    lines, solution = list(kit.puzzle(lesson).values()), kit.solution(lesson)
    assert sorted(lines) == sorted([*solution, kit.extra(lesson)])
    assert lines != [*solution, kit.extra(lesson)]
    assert kit.extra(lesson).strip() not in {line.strip() for line in solution}


@each_lesson
def test_a_puzzle_solved_is_code(lesson: Lesson) -> None:
    space: dict[str, Any] = {"__name__": "puzzle"}
    exec(reference(), space)
    exec("\n".join(kit.solution(lesson)), space)


def test_the_puzzles_written_for_it_do_what_they_should() -> None:
    space: dict[str, Any] = {}
    exec("\n".join([*kit.solution(lessons()[0]), *kit.solution(lessons()[2])]), space)
    for text in ("", "a", "banana"):
        assert space["encode"](text, "abn") == gpt.encode(text, "abn")
    assert space["slope"](lambda x: x**3, 2.0) == pytest.approx(12)


def test_the_map_is_gpt_py(pages: dict[str, str]) -> None:
    shown = re.sub(r"<b>\d*</b>", "", "".join(re.findall(r"<pre>(.*?)</pre>", pages["map"], re.S)))
    for code, text in (("&quot;", '"'), ("&#x27;", "'"), ("&lt;", "<"), ("&gt;", ">")):
        shown = shown.replace(code, text)
    assert shown.replace("&amp;", "&") == Path(gpt.__file__).read_text("utf-8")


def test_the_key_holds_every_mistake_and_nothing_else_does(pages: dict[str, str]) -> None:
    for mistake in mistakes():
        assert (f"<p>{mistake.id}: " in pages["key"]) == (not mistake.like)
    for name in pages.keys() - {"key"}:
        assert not re.search(r"<p>[A-Z]\d+: ", pages[name])
    for lesson in lessons():
        assert lesson.answer[:30] not in pages["worksheet"]


def test_nothing_is_asked_of_a_network(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        linked = re.findall(r'(?:src|href)="([^"]*)"|url\(([^)]*)\)|@import', page)
        assert all(re.fullmatch(r"\w+\.html|#.*", address) for address, _ in linked), name
        for address, _ in linked:
            if not address.startswith("#"):
                assert address.removesuffix(".html") in pages


def test_it_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    with pytest.raises(ValueError, match="taken is there, and not an empty folder"):
        kit.write(tmp_path / "taken", None)
    with pytest.raises(OSError, match="No such file"):
        kit.write(tmp_path / "missing" / "kit", None)
    kit.write(tmp_path / "kit", None)
    assert {path.stem for path in (tmp_path / "kit").iterdir()} == {"index", *kit.words()["pages"]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kit", "taken"]


def test_the_lab_lies_beside_the_pages_or_nothing_is_there(tmp_path: Path) -> None:
    def add(place: Path) -> None:
        place.mkdir()

    kit.write(tmp_path / "kit", add)
    assert (tmp_path / "kit" / "site").is_dir()
    assert "http://localhost:8000" in (tmp_path / "kit" / "index.html").read_text("utf-8")

    def fail(place: Path) -> None:
        raise ValueError("no lab")

    with pytest.raises(ValueError, match="no lab"):
        kit.write(tmp_path / "other", fail)
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


def test_the_order_of_a_puzzle_does_not_give_it_away() -> None:
    """Mixed by the lesson's number, the same on every machine."""
    lines = [*kit.solution(lessons()[4]), kit.extra(lessons()[4])]
    random.Random(5).shuffle(lines)
    assert list(kit.puzzle(lessons()[4]).values()) == lines
