"""The Lessons screen: it asks before it tells, shows the model beside the text, and keeps a bet."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from microgpt.lab import lessons
from microgpt.lab.server import STATIC
from microgpt.school import course
from tests.lab.conftest import Lab, Open, check_axe, needs_axe, picture

LESSONS = course.lessons()
LIVE = {  # what a screen shows once it has its numbers
    "play": ".name",
    "forward": ".code .now",
    "backward": ".middle .grad",
    "training": ".losses",
    "edit": ".judged",
    "tune": ".headline",
    "scale": ".scale-title",
}


def live(page: Page, place: str) -> None:
    """Wait until the place that a text speaks of is shown beside it."""
    screen = place.partition("?")[0]
    page.locator(f".live-screen .view.{screen} {LIVE[screen]}").first.wait_for(state="attached")


def test_the_lab_opens_on_the_lessons(show: Open, lab: Lab) -> None:
    page = show("lessons")
    page.goto(f"http://127.0.0.1:{lab.port}/")
    expect(page.locator(".lessons-list li")).to_have_count(len(LESSONS))
    titles = page.locator(".lessons-list b").all_inner_texts()
    assert titles == [lesson.title for lesson in LESSONS]
    page.get_by_role("link", name="The first lesson").click()
    expect(page.get_by_role("heading", level=1, name=LESSONS[0].title)).to_be_visible()


def test_the_page_is_given_what_the_school_says(lab: Lab) -> None:
    with lab.send("GET", "/lessons.json") as response:
        found = json.load(response)
    assert found == json.loads(lessons.to_json())
    assert [each["answer"] for each in found["lessons"]] == [each.answer for each in LESSONS]
    assert found["words"] == course.glossary()
    assert not [each["name"] for each in found["lessons"] if "{{" in json.dumps(each)]


def test_a_lesson_asks_before_it_tells(show: Open) -> None:
    """By keyboard alone, as far as the answer; it is kept."""
    lesson = LESSONS[0]
    page = show("lessons?lesson=1")
    live(page, lesson.place)
    rest = page.get_by_role("heading", name="Do")
    expect(rest).to_be_hidden()
    button = page.get_by_role("button", name="Show the answer")
    expect(button).to_be_disabled()
    expect(page.get_by_text(lesson.answer)).to_have_count(0)
    page.get_by_label("Your prediction").focus()
    page.keyboard.type("I think so")
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".predict")).to_contain_text(lesson.answer)
    expect(rest).to_be_visible()
    page.get_by_label("I have done this lesson").check()
    page.reload()
    expect(page.locator(".predict")).to_contain_text("You: I think so")
    expect(page.get_by_role("heading", name="Do")).to_be_visible()
    page.get_by_role("link", name="Lessons").last.click()
    expect(page.locator(".lessons-list .done")).to_have_count(1)
    expect(page.locator(".lessons-list .done")).to_contain_text("done")


def test_what_is_beside_a_text_leaves_the_focus_where_it_is(show: Open) -> None:
    """Play takes it where it is alone; here someone may be writing what they predict."""
    page = show("lessons?lesson=1")
    page.locator(".live-screen .bar").first.wait_for()
    assert page.evaluate("document.activeElement === document.body")
    go(page, "play")
    expect(page.get_by_label("The beginning of a name")).to_be_focused()


def test_hints_come_one_at_a_time(show: Open) -> None:
    page = show("lessons?lesson=2")
    page.get_by_label("Your prediction").fill("?")
    page.get_by_role("button", name="Show the answer").click()
    expect(page.locator(".rebuild")).to_contain_text("microgpt school start 2")
    for i, hint in enumerate(LESSONS[1].hints):
        page.get_by_role("button", name="hint").click()
        expect(page.locator(".hints li")).to_have_count(i + 1)
        expect(page.locator(".hints li").last).to_have_text(hint)
    expect(page.get_by_role("button", name="hint")).to_be_disabled()


def go(page: Page, place: str) -> None:
    page.evaluate("(place) => { location.hash = place; }", place)


def test_beside_each_text_is_the_place_that_it_speaks_of(show: Open) -> None:
    page = show("lessons")
    figures = json.loads(course.FIGURES.read_text("utf-8"))
    for lesson in LESSONS:
        go(page, f"lessons?lesson={lesson.number}")
        expect(page.get_by_role("heading", level=1, name=lesson.title, exact=True)).to_be_visible()
        live(page, lesson.place)
        if found := re.search(r"pos=(\d)&line=(.*)", lesson.place):
            expect(page.locator(".live-screen .code .now")).to_contain_text(found[2])
            here = page.locator(".live-screen .position[aria-current]")
            expect(here).to_have_attribute("data-pos", found[1])
        if "softmax" in lesson.place:
            expect(page.locator(".live-screen .prob").first).to_be_in_viewport()
        if "node=" in lesson.place:
            expect(page.locator(".live-screen .middle .grad")).to_contain_text(
                figures["nudged_grad"]
            )
        assert page.url.endswith(f"#lessons?lesson={lesson.number}")  # still the lesson's


def test_the_keys_step_what_is_beside_the_text(show: Open) -> None:
    page = show("lessons?lesson=7", height=860)
    picture(page, "lessons", page.locator(".head:not(.raw)"))
    counter = page.locator(".live-screen .counter")
    expect(counter).to_contain_text("78 of")
    page.keyboard.press("ArrowRight")
    expect(counter).to_contain_text("79 of")
    page.get_by_role("link", name="Open it alone").click()
    expect(page.locator(".view.forward > .transport .counter")).to_contain_text("79 of")


def test_the_tour_leads_from_a_letter_to_a_name(show: Open) -> None:
    page = show("lessons?tour=1")
    stops = course.tour()
    for i, stop in enumerate(stops):
        expect(page.get_by_role("heading", level=1, name=stop.title, exact=True)).to_be_visible()
        expect(page.get_by_text(stop.answer)).to_have_count(0)
        live(page, stop.place)
        if piece := re.search(r"line=(.*)", stop.place):
            expect(page.locator(".live-screen .code .now")).to_contain_text(piece[1])
        page.get_by_role("button", name="Show the answer").click()
        expect(page.get_by_text(stop.answer)).to_be_visible()
        name = "Now the lessons" if i == len(stops) - 1 else "Next: "
        page.get_by_role("link", name=name).click()
    expect(page.locator(".lessons-list").first).to_be_visible()


def test_a_bet_comes_before_what_was_measured(show: Open) -> None:
    measured = json.loads((STATIC / "ablations.json").read_text("utf-8"))
    ideas = [idea for idea in measured["ideas"] if "mirror" in idea["measured"]]
    page = show("lessons?page=parts")
    expect(page.locator(".bet")).to_have_count(len(ideas))
    card = page.get_by_label("no attention", exact=True)
    expect(card.locator("[data-verdict]")).to_have_count(0)
    card.get_by_role("group", name="On names").get_by_label("no clear difference").check()
    expect(card.locator("[data-verdict]")).to_have_count(0)
    card.get_by_role("group", name="On mirror words").get_by_label("much worse").check()
    names, mirror = card.locator("[data-verdict]").all()
    expect(names).to_contain_text("On names: a little worse. You said: no clear difference.")
    expect(mirror).to_contain_text("On mirror words: much worse. You were right.")
    page.reload()
    expect(card.locator("[data-verdict]")).to_have_count(2)


RIGHT = """
def encode(doc, alphabet):
    tokens = [alphabet.index(character) for character in doc]
    return [len(alphabet)] + tokens + [len(alphabet)]

def decode(tokens, alphabet):
    return "".join([alphabet[token] for token in tokens])
"""


def begin_to_write(page: Page) -> None:
    """Answer the question, and open the editor."""
    page.locator(".predict").wait_for()
    if page.get_by_label("Your prediction").is_visible():
        page.get_by_label("Your prediction").fill("5")
        page.get_by_role("button", name="Show the answer").click()
    page.get_by_role("button", name="Write it here").click()


def test_a_lesson_is_written_and_checked_in_the_page(show: Open) -> None:
    page = show("lessons?lesson=1")
    begin_to_write(page)
    area, said = page.get_by_label("mygpt.py", exact=True), page.locator(".checked")
    expect(area).to_have_value(re.compile("def encode.*raise NotImplementedError", re.S))
    page.get_by_role("button", name="Check", exact=True).click()
    expect(said).to_contain_text("Not yet: 0 of")
    area.fill(RIGHT.replace(" + [len(alphabet)]", ""))
    area.press("Control+Enter")
    expect(said).to_contain_text(re.compile(r"Not yet: \d+ of .*expected .*got .*\w\d+: ", re.S))
    expect(page.get_by_label("I have done this lesson")).not_to_be_checked()
    area.fill(RIGHT)
    page.get_by_role("button", name="Check", exact=True).click()
    expect(said).to_contain_text(re.compile(r"Passed: (\d+) of \1\."))
    expect(page.get_by_label("I have done this lesson")).to_be_checked()
    page.get_by_text("Compare with gpt.py").click()
    expect(page.get_by_label("gpt.py's own")).to_contain_text("*map(alphabet.index, doc)")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download mygpt.py").click()
    assert Path(saved.value.path()).read_text("utf-8") == RIGHT
    go(page, "lessons?lesson=2")  # one growing file
    page.get_by_role("heading", level=1, name=LESSONS[1].title).wait_for()
    begin_to_write(page)
    expect(area).to_have_value(re.compile("def encode.*def surprise", re.S))
    page.get_by_label("Open a mygpt.py").set_input_files(
        {"name": "mygpt.py", "mimeType": "text/x-python", "buffer": b"def surprise(p:"}
    )
    page.get_by_role("button", name="Check", exact=True).click()
    expect(said).to_contain_text("mygpt.py")


def test_a_file_that_is_older_than_its_lesson_says_so(show: Open) -> None:
    page = show("lessons?lesson=1")
    begin_to_write(page)
    area = page.get_by_label("mygpt.py", exact=True)
    expect(area).to_be_visible()
    page.evaluate(
        """() => { const key = Object.keys(localStorage).find((k) => k.startsWith("microgpt"));
        const all = JSON.parse(localStorage[key]); all["mygpt.py"].version = "old";
        localStorage[key] = JSON.stringify(all); }"""
    )
    page.reload()
    begin_to_write(page)
    expect(page.locator(".checked")).to_contain_text("older than this lesson")


@needs_axe
@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [
        (320, 640, "light"),
        pytest.param(1280, 720, "dark", marks=pytest.mark.slow),
        pytest.param(1920, 1080, "light", marks=pytest.mark.slow),
    ],
)
def test_every_page_of_the_school_can_be_seen_by_all(
    show: Open, width: int, height: int, scheme: str
) -> None:
    page = show("lessons", width, height, color_scheme=scheme)
    for place in ("", "lesson=7", "tour=8", "page=parts", "page=words"):
        go(page, f"lessons?{place}")
        page.locator(".view.lessons h1").first.wait_for()
        if "=" in place and "page" not in place:
            page.locator(".live-screen .code, .live-screen .middle").first.wait_for()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{place} is {wide} pixels wide"
        if width < 1920:
            check_axe(page)


@pytest.mark.slow
@needs_axe
@pytest.mark.parametrize(("width", "height", "scheme"), [(320, 640, "light"), (1280, 720, "dark")])
def test_the_whole_school_can_be_seen_by_all(
    show: Open, width: int, height: int, scheme: str
) -> None:
    page = show("lessons", width, height, color_scheme=scheme)
    lessons = [f"lesson={lesson.number}" for lesson in LESSONS]
    for place in [*lessons, *(f"tour={n}" for n in range(1, len(course.tour()) + 1))]:
        go(page, f"lessons?{place}")
        expect(page).to_have_url(re.compile(f"{place}$"))
        page.locator("main:not(.outdated) > .view.lessons h1").first.wait_for()
        page.wait_for_load_state("networkidle")
        if page.get_by_label("Your prediction").count():
            page.get_by_label("Your prediction").fill("5")
        if asked := page.get_by_role("button", name="Show the answer").all():
            asked[0].click()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{place} is {wide} pixels wide"
        check_axe(page)


def test_a_lesson_is_walked_by_keyboard_alone(show: Open) -> None:
    """From the list to a check that passes, without a mouse."""
    page = show("lessons")
    page.locator(".lessons-list a").first.wait_for()

    def tab_to(target: Locator) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if target.evaluate("(e) => e === document.activeElement"):
                return
        raise AssertionError(f"Tab does not lead to {target}")

    tab_to(page.locator(".lessons-list a").first)
    page.keyboard.press("Enter")
    page.get_by_role("heading", level=1, name=LESSONS[0].title).wait_for()
    tab_to(page.get_by_label("Your prediction"))
    page.keyboard.type("5")
    tab_to(page.get_by_role("button", name="Show the answer"))
    page.keyboard.press("Enter")
    tab_to(page.get_by_role("button", name="Write it here"))
    page.keyboard.press("Enter")
    area = page.get_by_label("mygpt.py", exact=True)
    area.wait_for()
    if not area.evaluate("(e) => e === document.activeElement"):
        tab_to(area)
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(RIGHT)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".checked")).to_contain_text(re.compile(r"Passed: (\d+) of \1\."))
