"""Any number of Forward and Backward: where it comes from, and what the loss does when it moves."""

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from microgpt import engines, xray
from microgpt.documents import Document
from microgpt.model import Model
from microgpt.xray import Trace, zoom
from tests.lab.conftest import Open, answered, check_axe, close, needs_axe, numbers

NAME = "mo"


@pytest.fixture(scope="module")
def trace(model: Model) -> Trace:
    return xray.record(NAME, model.checkpoint, until="backward")


@pytest.fixture
def forward(show: Open) -> Page:
    """Return Forward, at the end of a name: every number is there."""
    page = show(f"forward?text={NAME}")
    page.locator(".position").last.wait_for()
    page.keyboard.press("End")
    expect(page.locator(".drawing .todo")).to_have_count(0)
    return page


def row(page: Page, key: str, nth: int = 0) -> Locator:
    found = page.locator(f".drawing .row:has(> code:text-is('{key}'))").nth(nth)
    return found.locator("[data-press]")


def panel(page: Page) -> Locator:
    answered(page)
    found = page.locator(".origin")
    expect(found).to_be_visible()
    return found


def loss(model: Model, name: str, place: tuple[int, int], by: float) -> float:
    """Return the loss of a model of which one parameter is larger."""
    state = {key: np.array(array) for key, array in model.checkpoint.state.items()}
    state[name] = state[name].astype(np.float64)
    state[name][place] += by
    engine = engines.create("scalar", model.config, state)
    document: Document = model.tokenizer.encode(NAME)
    return float(engine.loss([document]))  # type: ignore[attr-defined]


# ---- Where it comes from -------------------------------------------------------------------------
KINDS = ["wte[o]", "wpe[2]", "x", "h", "q", "keys", "values", "scores", "weights", "relu"]


def test_any_number_is_the_value_that_python_has(forward: Page, trace: Trace) -> None:
    kinds = [row(forward, key) for key in KINDS] + [forward.locator(".logit[data-press]")]
    for kind in kinds:
        expect(kind.first).to_be_attached()
        for number in (kind.first, kind.last):
            number.hover(force=True)
            node = int(number.get_attribute("data-node") or "")
            found = panel(forward)
            name = trace.name(node).replace("layer0.", "")
            expect(found.locator(".origin-name b")).to_have_text(name)
            assert close(numbers(found.locator(".origin-number [data-x]")), trace.data[node])
            (grad,) = numbers(found.locator("[data-grad]"), "data-grad")
            assert close(grad, zoom.value(trace, node)["grad"])
            assert close(numbers(number), trace.data[node])


def test_a_dot_product_is_written_out_with_the_row_of_w(forward: Page, model: Model) -> None:
    number = row(forward, "q").nth(3)
    number.click()
    found = panel(forward)
    expect(found.locator(".origin-row code").first).to_have_text("attn_wq[3]")
    expect(found.locator(".made-by")).to_contain_text("dot(row, x) for row in w")
    strips = found.locator(".strip")
    w, h, products = (numbers(strips.nth(i).locator(".cell")) for i in range(3))
    assert close(w, model.checkpoint.state["layer0.attn_wq"][3])
    assert close(products, np.array(w) * np.array(h))
    assert close(sum(products), numbers(number))
    found.locator("summary").click()
    assert close(numbers(found.locator(".term-of")), products)
    found.locator(".terms li").nth(2).locator(".operand").first.click()  # and on, to the weight
    expect(panel(forward).locator(".origin-name b")).to_have_text("attn_wq[3][2]")
    expect(found).to_contain_text("one of the numbers that learn")
    found.get_by_role("button", name="Back").click()
    expect(panel(forward).locator(".origin-name b")).to_have_text("q[3]")


def test_every_product_of_a_long_sum_is_there(forward: Page) -> None:
    row(forward, "h", -1).last.hover()  # of mlp_fc2: 64 products, more than one answer holds
    found = panel(forward)
    expect(found.locator(".term-of")).to_have_count(64)
    assert close(
        sum(numbers(found.locator(".term-of"))), numbers(found.locator(".origin-number [data-x]"))
    )


def test_a_score_shows_q_k_before_softmax(forward: Page, model: Model) -> None:
    inside = model.engine.inspect(model.tokenizer.encode(NAME)[:-1])
    score = forward.locator(".head.raw").nth(2).locator(".reach").nth(1)
    score.hover(force=True)
    found = panel(forward)
    expect(found).to_contain_text("q·k = ")
    q_k = sum(numbers(found.locator(".term-of")))
    (scaled,) = numbers(found.locator(".origin-number [data-x]"))
    assert scaled == pytest.approx(q_k / model.config.head_dim**0.5, rel=1e-5)
    scores = np.exp(numbers(forward.locator(".head.raw").nth(2).locator(".fit")))
    assert close(np.exp(scaled) / scores.sum(), inside["attention"][0, 2, 2, 1])


# ---- What the loss does --------------------------------------------------------------------------
def test_a_nudge_runs_the_file_again(forward: Page, model: Model, trace: Trace) -> None:
    token = model.tokenizer.ids(NAME)[-1]
    row(forward, "wte[o]").nth(5).click()
    found = panel(forward)
    for digits, epsilon in (("0.1", 0.1), ("0.001", 0.001)):
        found.get_by_label("Nudge it by").select_option(digits)
        moved = numbers(found.locator("[data-moved]"), "data-moved")
        expected = loss(model, "wte", (token, 5), epsilon) - loss(model, "wte", (token, 5), 0)
        assert moved == pytest.approx([expected], rel=1e-6)
        (predicted,) = numbers(found.locator("[data-predicted]"), "data-predicted")
        assert predicted == pytest.approx(expected, rel=20 * epsilon)


# ---- By any hand ---------------------------------------------------------------------------------
def test_with_the_keyboard_alone(forward: Page) -> None:
    drawing = forward.locator(".drawing")
    drawing.focus()
    forward.keyboard.press("Home")
    forward.keyboard.press("Enter")
    expect(drawing).to_be_focused()  # there is no number yet
    while not drawing.locator(".row.now .cell").count():
        forward.keyboard.press("ArrowRight")
    step = forward.locator(".counter").inner_text()
    forward.keyboard.press("Enter")
    name = panel(forward).locator(".origin-name b")
    first = name.inner_text()
    forward.keyboard.press("ArrowRight")
    answered(forward)
    expect(name).to_have_text(first.replace("[0]", "[1]"))
    forward.keyboard.press("ArrowDown")
    answered(forward)
    expect(name).not_to_have_text(first.replace("[0]", "[1]"))
    forward.keyboard.press("Enter")
    expect(forward.locator(".origin")).to_be_focused()
    forward.keyboard.press("Tab")
    expect(forward.get_by_role("button", name="Close")).to_be_focused()
    forward.keyboard.press("Escape")
    expect(forward.locator(".origin")).to_be_hidden()
    assert forward.evaluate("document.activeElement.matches('.drawing [data-node]')")
    expect(forward.locator(".counter")).to_have_text(step)


def test_it_stays_when_pressed_and_goes_when_left(forward: Page) -> None:
    origin = forward.locator(".origin")
    row(forward, "q").first.hover()
    panel(forward)
    origin.hover()  # to read on
    forward.locator("h1").hover()
    expect(origin).to_be_hidden()
    row(forward, "q").first.click()
    panel(forward)
    forward.locator("h1").hover()
    row(forward, "h").first.hover()
    expect(origin.locator(".origin-name b")).to_have_text("q[0]")
    forward.keyboard.press("Escape")
    expect(origin).to_be_hidden()


@pytest.mark.parametrize("width", [320, 390])
def test_with_a_finger(show: Open, width: int) -> None:
    page = show(f"forward?text={NAME}&step=99", width, 740, has_touch=True)
    number = row(page, "q").nth(2)
    number.scroll_into_view_if_needed()
    number.tap()
    found = panel(page)
    expect(found.locator(".origin-name b")).to_have_text("q[2]")
    here, there = number.bounding_box(), found.bounding_box()
    assert here
    assert there
    assert there["x"] >= 0
    assert there["x"] + there["width"] <= width
    apart = here["y"] + here["height"] <= there["y"] or there["y"] + there["height"] <= here["y"]
    assert apart, "the panel covers its number"
    found.get_by_role("button", name="Close").tap()
    expect(found).to_be_hidden()


def test_in_backward_too(show: Open, trace: Trace) -> None:
    page = show(f"backward?text={NAME}&step=200")
    child = page.locator(".child").nth(1)
    child.hover()
    node = int(child.get_attribute("data-node") or "")
    expect(panel(page).locator(".origin-name b")).to_have_text(
        trace.name(node).replace("layer0.", "")
    )
    page.locator("h1").hover()
    expect(page.locator(".origin")).to_be_hidden()
    page.get_by_role("button", name="Take it apart").click()
    found = panel(page)
    assert close(
        numbers(found.locator(".origin-number [data-x]")),
        numbers(page.locator(".middle [data-x]"))[0],
    )
    page.get_by_label("The name to learn from").fill("kai")
    page.keyboard.press("Enter")
    expect(found).to_be_hidden()  # it was another word's


@needs_axe
def test_axe_finds_nothing_in_it(show: Open) -> None:
    page = show(f"forward?text={NAME}&step=99", color_scheme="dark")
    row(page, "q").first.click()
    panel(page).locator("summary").click()
    check_axe(page, ".drawing", ".line-now", ".origin")
