"""The lessons' files: each says all that the school needs of it."""

import pytest

from microgpt import gpt
from microgpt.llm import comparison
from microgpt.llm.presets import PRESETS
from microgpt.school import course

LESSONS = course.lessons()


def test_there_are_twelve_and_four_more() -> None:
    assert [lesson.number for lesson in LESSONS] == list(range(1, 17))
    assert len({lesson.name for lesson in LESSONS}) == 16


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_is_whole(lesson: course.Lesson) -> None:
    assert len(lesson.hints) == 3
    assert lesson.writes
    assert lesson.text
    assert 0 < lesson.minutes <= 60
    assert lesson.question.endswith("?")
    for sentence in (lesson.insight, lesson.answer, *lesson.hints):
        assert sentence.rstrip().endswith((".", "?")), sentence
    screen = lesson.place.partition("?")[0]
    assert (course.FOLDER.parents[1] / "lab" / "static" / "screens" / f"{screen}.mjs").exists()


def test_together_they_are_the_heart() -> None:
    """What learners write, and what is given to them, is all of gpt.py and nothing twice."""
    later = [name for each in LESSONS[course.WHOLE :] for name in (*each.writes, *each.given)]
    assert not {*later} & vars(gpt).keys(), "gpt.py is whole with the first twelve"
    names = [name for lesson in LESSONS for name in (*lesson.writes, *lesson.given)]
    assert len(set(names)) == len(names)
    whole = {name for name in vars(gpt) if getattr(gpt, name).__class__.__name__ == "function"}
    missing = {name for name in whole if getattr(gpt, name).__module__ == gpt.__name__} - {*names}
    assert not missing


def test_a_number_that_is_no_lesson() -> None:
    with pytest.raises(ValueError, match="no lesson 17; the lessons are 1 to 16"):
        course.lesson(17)


def test_the_comparison_sends_to_lessons_about_it() -> None:
    """Post-training and subwords, where production models differ, are taught."""
    assert {comparison.POST_TRAINING[word] for word in ("SFT", "RL", "DPO")} == {13, 14, 15}
    changes = comparison.changed(PRESETS["llama-3.1-405b"])
    (after,) = (change for change in changes["training"] if change.name == "post-training")
    named = [course.lesson(number).name for number in after.lessons]
    assert named == ["examples", "choices"], "SFT + rejection sampling + DPO"
    assert "microgpt tune" in after.sentence
    (subwords,) = changes["tokenizer"]
    assert [course.lesson(number).name for number in subwords.lessons] == ["subwords"]
