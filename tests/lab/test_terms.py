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
