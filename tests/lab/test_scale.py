"""The screen Scale: every number on it is the ledger's; the six components keep their places."""

import json

import pytest
from playwright.sync_api import Page, expect

from microgpt.lab.server import STATIC
from microgpt.llm import comparison
from microgpt.llm.presets import PRESETS
from tests.lab.conftest import Open, picture

SORTED = sorted(PRESETS, key=lambda name: PRESETS[name].architecture.n_params)


def test_the_page_has_what_the_command_prints() -> None:
    kept = json.loads((STATIC / "scale.json").read_text("utf-8"))
    models = [comparison.entry(name, published) for name, published in PRESETS.items()]
    assert kept == {"models": models, "bricks": comparison.code()}, "run `make docs`"


def rows(page: Page, table: str) -> list[list[str]]:
    """Return the texts of a table, row by row, without its head."""
    found: list[list[str]] = page.locator(f"{table} tr").evaluate_all(
        "all => all.slice(1).map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return found


@pytest.mark.parametrize("name", ["llama-3.1-405b", "deepseek-v3", "snes-classic"])
def test_its_numbers_are_the_ledgers(show: Open, name: str) -> None:
    page = show(f"scale?model={name}&part=inference")
    ours, theirs = (comparison.entry(n, PRESETS[n]) for n in ("microgpt", name))
    expect(page.locator(".scale-title b")).to_have_text(theirs["title"])
    assert rows(page, ".overview") == [
        [row, ours["overview"][row], theirs["overview"][row]] for row in ours["overview"]
    ]
    parts = [part for part in ours["parts"] if ours["parts"][part] or theirs["parts"][part]]
    assert rows(page, ".costs") == [
        [f"parameters: {part}", f"{ours['parts'][part]:,}", f"{theirs['parts'][part]:,}"]
        for part in parts
    ] + [
        [a["name"], a["text"], b["text"]]
        for a, b in zip(ours["costs"], theirs["costs"], strict=True)
    ]
    sizes = [component["size"]["text"] for component in theirs["components"]]
    assert page.locator(".component-size").all_inner_texts() == sizes
    bigger = [f"{row['name']}: {row['text']}" for row in theirs["components"][-1]["bigger"]]
    assert page.locator(".differences div:last-child li").all_inner_texts() == bigger


PLACES = "all => all.map((e) => [e.offsetLeft, e.offsetTop, e.offsetWidth, e.offsetHeight])"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (320, 640)])
def test_the_six_components_keep_their_places(show: Open, width: int, height: int) -> None:
    page = show("scale", width, height)
    slider, components = page.get_by_role("slider"), page.locator(".component")
    expect(slider).to_have_attribute("aria-valuetext", "MicroGPT")
    places = components.evaluate_all(PLACES)
    for name in SORTED[SORTED.index("microgpt") + 1 :]:
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuetext", PRESETS[name].title)
        assert components.evaluate_all(PLACES) == places, name


def test_from_the_largest_to_the_smallest_by_the_keyboard(show: Open) -> None:
    page = show("scale", height=900)
    slider = page.get_by_role("slider")
    slider.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "DeepSeek-V3")
    expect(page.locator(".model-square.shown")).to_have_count(1)
    picture(page, "scale")
    page.get_by_role("button", name="tokenizer").press("Enter")
    expect(page.get_by_role("button", name="tokenizer")).to_be_focused()
    expect(page.locator(".differences h2")).to_have_text("tokenizer: DeepSeek-V3 beside MicroGPT")
    assert "model=deepseek-v3&part=tokenizer" in page.url
    for name in reversed(SORTED[:-1]):
        slider.press("ArrowLeft")
        expect(slider).to_have_attribute("aria-valuetext", PRESETS[name].title)


def test_a_change_shows_its_lines(show: Open) -> None:
    page = show("scale?model=llama-2-7b")
    page.get_by_text("RoPE in Python").click()
    expect(page.locator(".differences pre").first).to_have_text(comparison.code()["turn"].strip())


def test_the_square_is_as_large_as_the_model(show: Open) -> None:
    """Areas are parameters: on the screen, once the zoom has ended."""
    page = show("scale?model=gpt3")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", PRESETS["gpt3"].title)
    expect(page.locator(".model-square.shown")).to_have_count(1)
    page.evaluate("() => Promise.all(document.getAnimations().map((each) => each.finished))")
    sides = page.locator(".model-square").evaluate_all(
        "all => all.map((e) => [e.getBoundingClientRect().width, e.classList.contains('beyond')])"
    )
    shown = [side for side, beyond in sides if not beyond]
    sizes = [PRESETS[n].architecture.n_params for n in reversed(SORTED)]
    sizes = sizes[sizes.index(174_604_259_328) :]
    assert len(shown) == len(sizes)
    for side, size in zip(shown[:8], sizes, strict=False):
        assert (side / shown[0]) ** 2 == pytest.approx(size / sizes[0], rel=0.03)
