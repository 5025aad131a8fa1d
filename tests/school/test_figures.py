"""What the lessons say in numbers is what a run computes; what they show is there."""

import json
import math
import re
from importlib import import_module
from pathlib import Path

import pytest

import microgpt
from microgpt.school import course, figures, pages

LESSONS = course.lessons()
lesson_runs = import_module("scripts.lesson_runs")
SOURCES = [*course.FOLDER.glob("*.md"), course.TOUR]


def test_the_figures_are_what_a_run_computes() -> None:
    kept = json.loads(course.FIGURES.read_text("utf-8"))
    assert kept == figures.compute(), "run `make docs`"


def test_every_figure_is_spoken_of() -> None:
    text = " ".join(path.read_text("utf-8") for path in SOURCES)
    spoken = set(re.findall(r"\{\{(\w+)\}\}", text))
    assert spoken == set(json.loads(course.FIGURES.read_text("utf-8")))


def test_a_figure_that_is_not_there_is_named() -> None:
    assert course.fill("{{a}} and {{b}}", {"a": "1", "b": "2"}) == "1 and 2"
    with pytest.raises(ValueError, match="no figure 'c'"):
        course.fill("{{c}}", {"a": "1"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_losses_and_shares_are_figures(path: Path) -> None:
    """A number with a fraction is computed, or it is a setting or a sum that anyone can check."""
    text = path.read_text("utf-8").split("+++")[-1]
    written = set(re.findall(r"(?<![\w.])\d+\.\d+(?!\w)", text))
    settings = {"0.5", "0.25", "0.1", "0.05", "0.03", "0.01", "0.001"}
    assert written <= settings | {"0.005", "3.3660", "8.8"}


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)
def test_a_lesson_shows_asks_and_ends_in_the_world(lesson: course.Lesson) -> None:
    before, after = pages.around(lesson.text)
    assert f'<a href="#{lesson.place.replace("&", "&amp;")}">' in before
    assert re.findall("<h2>(.*)</h2>", after) == ["Do", "Write", "In a production model"]
    for name in lesson.writes:
        assert name.removeprefix("Value.") in after or name.startswith("Value.")
    assert len(re.sub("<[^>]*>", "", before + after).split()) < 450


def test_the_tour_takes_ten_minutes() -> None:
    stops = course.tour()
    assert 10 <= len(stops) <= 12
    for stop in stops:
        assert stop.question.endswith("?")
        assert len(f"{stop.text} {stop.question} {stop.answer}".split()) < 75


def test_a_word_is_explained_in_a_sentence() -> None:
    words = course.glossary()
    assert {"token", "logit", "BOS", "residual", "nat"} <= set(words)
    assert [*words] == sorted(words, key=str.lower)
    for meaning in words.values():
        assert meaning.endswith(".")
        assert ". " not in meaning
    lines = course.GLOSSARY.read_text("utf-8").split("\n")
    assert len(words) == sum(line.startswith("**") for line in lines)


def test_html_in_a_text_stays_text() -> None:
    assert pages.html("a <script>b</script>") == "<p>a &lt;script&gt;b&lt;/script&gt;</p>\n"
    assert pages.html("```view\nplay?text=a&x=1\n*look*\n```") == (
        '<p class="look"><a href="#play?text=a&amp;x=1"><em>look</em></a></p>\n'
    )
    with pytest.raises(ValueError, match="one fence marked predict, not 0"):
        pages.around("nothing")


@pytest.mark.slow
def test_what_is_said_of_post_training_holds_on_another_seed() -> None:
    base = microgpt.train("world", steps=2000, batch=32, val=lesson_runs.HELD_OUT, seed=26).model()
    row = lesson_runs.examples(base, 26)
    blind = math.log(27)
    assert row["answers alone"]["old"] > 2 * blind > row["replayed"]["old"] + blind
    assert row["replayed"]["old"] < row["before"]["old"] + 0.15
    assert min(row[way]["right"] for way in ("answers alone", "replayed")) > 0.97
    row = lesson_runs.rewarded(base, 26)
    assert min(row[way]["reward"] for way in ("hole", "no hole", "KL")) > 0.99
    assert row["no hole"]["distinct"] < 0.2
    assert row["no hole"]["unfinished"] < 0.01
    assert row["KL"]["distinct"] > 0.95
    assert row["KL"]["kl"] < 1.3
    row = lesson_runs.preferences(base, 26)
    loose, tight = row["beta 0.1"], row["beta 1"]
    assert loose["rejected"] < loose["chosen"] < -20
    assert -10 < tight["chosen"] < 0
    assert min(loose["won"], tight["won"]) > 0.9


@pytest.mark.slow
def test_what_is_said_of_subwords_is_what_is_learned() -> None:
    assert lesson_runs.subwords() == json.loads(figures.RUNS.read_text("utf-8"))["subwords"]
