"""The terms of the field, explained where they are, from the school's one glossary."""

import pytest
from playwright.sync_api import Page, expect

from microgpt.school import course
from tests.lab.conftest import Open, answered

FIRST = {"play": "logit", "forward": "embedding", "backward": "gradient", "training": "loss"}


@pytest.mark.parametrize("screen", FIRST)
def test_a_term_is_explained_where_it_is(show: Open, screen: str) -> None:
    page: Page = show(screen)
    answered(page)
    term = page.locator(f".explained[data-term='{FIRST[screen]}']").first
    term.wait_for(state="attached")
    used = page.locator(".explained").evaluate_all("all => all.map((e) => e.dataset.term)")
    assert {*used} <= {*course.glossary()}
    term.focus()
    page.keyboard.press("Enter")
    meaning = page.locator(".meaning:popover-open")
    words = course.glossary()[FIRST[screen]]
    expect(meaning).to_have_text(f"{FIRST[screen]}: {words}")
    box = meaning.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 1280
    page.keyboard.press("Escape")
    expect(meaning).to_have_count(0)
    expect(term).to_be_focused()


def test_the_map_says_where_you_are(show: Open) -> None:
    page = show("play")
    here = page.locator("#map [aria-current]")
    expect(here).to_have_text(["tokens", "guess", "sampling"])
    page.locator("#map").get_by_text("attention").click()
    page.locator(".view.forward").wait_for()
    expect(page.locator(".code .now")).to_contain_text("= attention(q")
    expect(here).to_have_text(["attention"])
    for line, part in (("mlp_fc2", "MLP"), ("lm_head", "guess"), ("surprises.append", "guess")):
        while line not in page.locator(".code .now").inner_text():
            page.locator(".drawing").press("ArrowRight")
        expect(here).to_have_text([part])
    page.set_viewport_size({"width": 320, "height": 640})
    page.locator(".drawing").press("ArrowRight")
    expect(here).to_be_in_viewport(ratio=1)
    page.locator("#map a").first.focus()
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.locator(".view.backward").wait_for()
    expect(here).to_have_text(["loss", "gradients"])
