"""The lab's page in a browser: its numbers are the engine's, its stories can be walked."""

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

import microgpt
from microgpt import dataset, engines, xray
from microgpt.arrays import Array
from microgpt.engines.fixed import FixedEngine
from microgpt.lab import notebook
from microgpt.lab.jobs import bits
from microgpt.model import Model
from microgpt.sampling import Sampling, probabilities
from microgpt.snes import rom
from tests.lab.conftest import (
    Lab,
    Open,
    answered,
    check_axe,
    close,
    needs_axe,
    numbers,
    picture,
    start,
    stop,
)

TESTS = Path(__file__).parents[1]
SOURCES = [notebook.STATIC, notebook.STATIC.parents[1] / "native" / "wasm", TESTS / "wasm.mjs"]
SCREENS = [
    "lessons",
    "play",
    "forward",
    "backward",
    "training",
    "engines",
    "console",
    "edit",
    "scale",
    "tune",
    "inside",
]
KEYS = [*(f"Digit{n % 10}" for n in range(1, 11)), "Minus"]


# ---- The door ------------------------------------------------------------------------------------
def test_the_token_leaves_the_address(show: Open, lab: Lab) -> None:
    page = show()
    assert lab.token not in page.url
    assert page.evaluate("sessionStorage.getItem('token')") == lab.token
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Begin a name")
    assert lab.token not in page.evaluate(
        "JSON.stringify(localStorage) + history.length + document.cookie"
    )


def test_without_the_token_the_page_says_what_to_do(browser: Browser, lab: Lab) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/")
        expect(page.locator("main")).to_contain_text("the address that `microgpt lab` printed")


def test_when_the_lab_is_closed_the_page_says_so(browser: Browser) -> None:
    lab = start()
    with browser.new_context() as context:
        page = context.new_page()
        page.clock.install()
        page.goto(f"http://127.0.0.1:{lab.port}/#play&token={lab.token}")
        page.locator(".bar.first").wait_for()
        stop(lab)
        page.get_by_role("button", name="Another").click()
        banner = page.get_by_role("alert")
        expect(banner).to_contain_text("Start it again with: microgpt lab")
        expect(page.locator("main")).to_have_class("stale")
        page.get_by_role("link", name="Training").click()  # a screen that was never loaded
        expect(page).to_have_url(re.compile("#play[?]text=ma"))
        page.clock.fast_forward(60_000)
        expect(banner).to_contain_text("Start it again with: microgpt lab")
        expect(page.locator("#status")).to_be_empty()
        expect(page.locator(".stale .view.play")).to_be_visible()


def test_every_screen_is_a_key_away(show: Open) -> None:
    page = show()
    for i, screen in enumerate(SCREENS):
        page.keyboard.press(f"Alt+{KEYS[i]}")
        page.locator(f".view.{screen}").wait_for()
        assert page.locator("#nav [aria-current=page]").inner_text().lower() == screen
    page = show("forward")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_light_and_dark(show: Open) -> None:
    page = show("forward?text=emma&step=50", height=860, color_scheme="dark")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.locator(".guessing").wait_for()
    picture(page, "guess")
    page.get_by_role("button", name="Light").click()
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "light"


# ---- Play ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["", "ma", "chr"])
def test_the_bars_are_the_engines_probabilities(show: Open, model: Model, text: str) -> None:
    page = show()
    page.get_by_label("The beginning of a name").fill(text)
    page.get_by_label("Top-k").fill("4")
    expect(page.locator(".bar.out")).to_have_count(23)
    model.engine.reset()
    for token in [26, *model.tokenizer.ids(text)]:
        logits = model.engine.step(token).tolist()
    assert close(numbers(page.locator(".bar"), "data-logit"), logits)
    assert close(numbers(page.locator(".bar"), "data-p"), probabilities(logits, Sampling(0.7, 4)))
    under = numbers(page.locator(".under > span"), "data-p")
    assert close(under, np.exp(-np.array(model.score(text).losses[: len(text)])))


def test_play(show: Open, model: Model) -> None:
    page = show(height=1000)
    names = page.locator(".name")
    expect(names).to_have_count(12)
    picture(page, "play", page.locator(".bar.first"))
    page.get_by_label("The beginning of a name").fill("K😀i")
    expect(page.get_by_label("The beginning of a name")).to_have_value("ki")
    page.get_by_label("Temperature").fill("0")
    page.get_by_label("Seed").fill("7")
    expect(page.locator(".bar.out")).to_have_count(26)  # greedy
    expected = model.sample(12, 0.0, seed=7, prefix="ki")
    for i, name in enumerate(expected):
        expect(names.nth(i)).to_have_attribute("aria-label", name)
    page.locator(".bar[data-token='0']").click()
    expect(page.get_by_label("The beginning of a name")).to_have_value("kia")
    expect(names.first).to_have_attribute("aria-label", re.compile("^kia"))
    names.first.click()
    name = page.get_by_label("The beginning of a name").input_value()
    assert name.startswith("kia")
    assert f"text={name}" in page.url  # a link that shows the same
    page.evaluate("() => { location.hash = 'play?text=zoe'; }")  # a link, pasted
    expect(page.get_by_label("The beginning of a name")).to_have_value("zoe")
    page.get_by_label("The beginning of a name").fill("abcdefghijklmnop")
    expect(page.locator(".said")).to_contain_text("16 positions, and they are full")


def test_play_reads_what_it_shows_and_says_what_it_made_of_it(show: Open, model: Model) -> None:
    page = show()
    field = page.get_by_label("The beginning of a name")
    field.fill("ÉLOÏSE")
    expect(field).to_have_value("eloise")
    expect(page.locator(".typing .refused")).to_contain_text("É is read as e, Ï is read as i")
    expect(page.locator(".under > span")).to_have_count(6)
    under = numbers(page.locator(".under > span"), "data-p")
    assert close(under, np.exp(-np.array(model.score("eloise").losses[:6])))
    field.fill("木")
    expect(page.locator(".typing .refused")).to_contain_text("the model has no “木”")
    expect(field).to_have_value("eloise")


def test_the_scale_of_the_bars_is_fixed(show: Open) -> None:
    page = show()
    learned = page.locator(".bar .raw")
    tall = "(all) => all.map((e) => e.getBoundingClientRect().height)"
    expect(page.locator(".bar.first")).to_have_count(1)
    before = learned.evaluate_all(tall)
    column = page.locator(".column").first.evaluate("(e) => e.clientHeight")
    chosen = numbers(page.locator(".bar"), "data-p")
    temperature = page.get_by_label("Temperature")
    for value in ("0", "2"):
        temperature.fill(value)
        expect(page.locator(".bar.out")).to_have_count(26 if value == "0" else 0)
        assert learned.evaluate_all(tall) == pytest.approx(before, abs=0.01)
        chosen = numbers(page.locator(".bar"), "data-p")
        shown = page.locator(".bar .now").evaluate_all(tall)
        assert shown == pytest.approx([column * p for p in chosen], abs=0.6)
    temperature.fill("0")
    dial = page.locator(".dial", has=temperature)
    expect(dial).to_contain_text("Always the likeliest letter")
    temperature.fill("1")
    expect(dial).to_contain_text("Divides the logits")


def test_the_dials_are_three_tabs_from_the_name(show: Open) -> None:
    page = show()
    page.get_by_label("The beginning of a name").focus()
    page.keyboard.press("Tab")
    expect(page.locator(".bar").first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".bar").nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".bar").last).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Temperature")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    expect(page.locator(".bar").last).to_be_focused()  # where it was left


# ---- Forward -------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["emma", pytest.param("kai", marks=pytest.mark.slow), "x"])
def test_forward_draws_the_engines_numbers(show: Open, model: Model, text: str) -> None:
    page = show(f"forward?text={text}")
    tokens = model.tokenizer.encode(text)
    inside = model.engine.inspect(tokens[:-1])
    for pos in range(len(tokens) - 1):
        page.locator(f".position[data-pos='{pos}']").click()
        drawing = page.locator(".drawing")
        assert close(numbers(drawing.locator(".logit")), inside["logits"][pos])
        assert close(numbers(drawing.locator(".prob")), inside["probs"][pos])
        assert close(numbers(drawing.locator(".units .cell")), inside["hidden"][0, pos])
        rows = drawing.locator(".row.stream")
        assert close(numbers(rows.last.locator(".cell")), inside["residual"][1, pos])
        for head in range(4):
            arcs = drawing.locator(".head:not(.raw)").nth(head).locator(".arc, .self")
            weights = inside["attention"][0, head, pos, : pos + 1]
            assert close(numbers(arcs), weights)
            scores = np.array(numbers(drawing.locator(".head.raw").nth(head).locator(".fit")))
            assert close(np.exp(scores) / np.exp(scores).sum(), weights)
        (surprise,) = numbers(drawing.locator(".verdict b[data-x]"))
        assert close(surprise, model.score(text).losses[pos])
    expect(page.locator(".verdict")).to_contain_text(f"{model.score(text).loss:.4f}")


def walk_to(page: Page, code: str) -> None:
    """Go on, a line at a time, to the next that holds this code."""
    line = page.locator(".code .now")
    line.wait_for()
    while code not in line.inner_text():
        page.keyboard.press("ArrowRight")


def test_forward(show: Open) -> None:
    page = show("forward", height=960)
    line = page.locator(".code .now")
    expect(line).to_contain_text("cache(config)")  # it opens at the first
    page.locator(".position[data-pos='3']").click()
    walk_to(page, "= attention(")
    picture(page, "forward")
    page.locator(".held summary").click()
    assert page.locator(".held li").count() == 16  # the same numbers, as text
    expect(page.locator(".head.todo")).to_have_count(0)
    expect(page.locator(".guessing.todo")).to_have_count(1)
    page.keyboard.press("ArrowRight")
    expect(line).to_contain_text("attn_wo")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".position[aria-current]")).to_have_attribute("data-pos", "4")
    few = int(page.get_by_label("Line", exact=True).get_attribute("max") or 0)
    page.get_by_label("into every function").check()
    assert int(page.get_by_label("Line", exact=True).get_attribute("max") or 0) > 2 * few
    page.get_by_label("Line", exact=True).fill("10")
    assert page.locator(".code .calling").count() >= 1
    page.locator(".drawing").focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("End")
    expect(page.locator(".verdict .todo")).to_have_count(0)
    page.get_by_label("The name to read").fill("ada")
    page.keyboard.press("Enter")
    expect(page.locator(".position")).to_have_count(4)
    assert "text=ada" in page.url


def test_every_line_that_computes_shows_its_numbers(show: Open) -> None:
    page = show("forward?text=mo&lines=all")
    page.locator(".verdict").wait_for(state="attached")
    slider, line = page.get_by_label("Line", exact=True), page.locator(".code .now")
    shown: dict[str, list[str]] = {}
    for step in range(int(slider.get_attribute("max") or 0) + 1):
        slider.fill(str(step))
        names = page.locator(".line-now .held:has([data-x]) > code").all_inner_texts()
        shown.setdefault(line.get_attribute("data-line") or "", names)
    source = Path(microgpt.gpt.__file__).read_text("utf-8").splitlines()
    silent = {source[int(at) - 1].strip() for at, names in shown.items() if not names}
    assert silent == {
        "keys, values = cache(config)",
        "surprises = []  # one for each position",
        "head = slice(start, start + head_dim)",
    }
    weights = next(names for names in shown.values() if "weights" in names)
    assert "into softmax()" in weights  # q·k


def test_the_surprise_is_shown_where_it_is_computed(show: Open) -> None:
    page = show("forward?text=mo")
    page.locator(".position[data-pos='1']").click()
    for code, there in (("probs = softmax(", False), ("surprises.append(", True)):
        walk_to(page, code)
        surprise = page.locator(".verdict b[data-x]")
        expect(surprise).to_be_visible() if there else expect(surprise).to_be_hidden()
        cost = page.locator(".position[data-pos='1'] .cost")
        expect(cost).to_have_class("cost now" if there else "cost todo")


TWO = """async () => {
  const [{ connect }, { default: view }] = await Promise.all(
    ["/hosts/server.mjs", "/screens/forward.mjs"].map((path) => import(path)));
  const host = connect();
  const described = await host.ask("model", {});
  document.getElementById("main").replaceChildren();
  for (const params of [{ text: "ada", step: "5" }, { text: "kai", step: "9" }]) {
    const el = Object.assign(document.createElement("div"), { className: "view forward" });
    document.getElementById("main").append(el);
    const values = { described };
    const model = { get: (name) => values[name], set: () => {}, ask: host.ask };
    view.render({ model, el, params });
  }
}"""


def test_two_views_share_a_page(show: Open) -> None:
    page = show("play")
    page.evaluate(TWO)
    first, second = page.locator(".view.forward").all()
    for view, text, step in ((first, "ada", 5), (second, "kai", 9)):
        expect(view.get_by_label("The name to read")).to_have_value(text)
        expect(view.locator(".counter")).to_contain_text(f"{step} of ")
    first.locator(".drawing").focus()
    page.keyboard.press("ArrowRight")
    expect(first.locator(".counter")).to_contain_text("6 of ")
    expect(second.locator(".counter")).to_contain_text("9 of ")


def test_on_a_phone(show: Open) -> None:
    page = show("forward", 390, 844, has_touch=True)
    walk_to(page, "= attention(")
    picture(page, "phone")
    page.locator(".position[data-pos='2']").tap()
    expect(page.locator(".position[aria-current]")).to_have_attribute("data-pos", "2")
    page.get_by_role("button", name="One line on").tap()
    expect(page.locator(".line-now")).to_contain_text("in gpt()")


# ---- Backward ------------------------------------------------------------------------------------
def flat(model: Model, arrays: dict[str, Array]) -> Array:
    return np.concatenate([arrays[name].ravel() for name, _ in model.config.shapes()])


@pytest.mark.parametrize("text", ["emma", pytest.param("kai", marks=pytest.mark.slow), "x"])
def test_backward_shows_the_engines_gradients(show: Open, model: Model, text: str) -> None:
    engine = engines.create_trainable("scalar", model.config, model.checkpoint.state)
    gradients = flat(model, engine.gradients([model.tokenizer.encode(text)]))
    largest = np.argsort(-abs(gradients))[:2000]
    page = show(f"backward?text={text}")
    page.locator(".middle .grad").wait_for()
    end = page.get_by_label("Step of backward()").get_attribute("max")
    for node in [int(largest[0]), int(largest[50]), int(largest[500])]:
        page = show(f"backward?text={text}&step={end}&node={node}")
        page.locator(".middle .grad").wait_for()
        (grad,) = numbers(page.locator(".middle .grad"))
        assert close(grad, gradients[node])
    terms = numbers(page.locator(".term b"))
    assert close(terms, [model.score(text).loss, *model.score(text).losses])


@pytest.mark.parametrize("text", ["emma", pytest.param("zoe", marks=pytest.mark.slow), "x"])
def test_a_value_is_shown_with_what_it_came_from(show: Open, model: Model, text: str) -> None:
    trace = xray.record(text, model.checkpoint, until="backward")
    graph = trace.graph
    assert graph
    for step in (20, len(graph.steps) // 2, len(graph.steps) - 1):
        page = show(f"backward?text={text}&step={step}")
        page.locator(".middle .grad").wait_for()
        node = graph.steps[step].node
        assert node is not None
        (data, grad) = numbers(page.locator(".middle [data-x]"))
        assert close(data, trace.data[node])
        assert close(grad, graph.steps[step].grad)
        rows = [int(child) for child in numbers(page.locator(".child"), "data-node")]
        local = dict(zip(graph.children[node], graph.local_grads[node], strict=True))
        assert 1 <= len(rows) <= 30
        assert set(rows) <= set(local)
        given = numbers(page.locator("[data-local]"), "data-local")
        assert close(given, [local[child] for child in rows])
        grads = dict.fromkeys(rows, 0.0)  # what each has received up to now
        for turn in graph.steps[: step + 1]:
            grads |= {child: grad for child, grad in turn.flows if child in grads}
        shown = numbers(page.locator(".child [data-grad]"), "data-grad")
        assert close(shown, [grads[child] for child in rows])


def test_backward(show: Open) -> None:
    page = show("backward", height=960)
    expect(page.locator(".notes").first).to_contain_text("takes its turn")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".counter")).to_contain_text("5 of")
    page.get_by_label("Step of backward()").fill("330")
    expect(page.locator(".counter")).to_contain_text("330 of")
    expect(page.locator(".middle.ready")).to_be_visible()
    picture(page, "backward")
    (grad,) = numbers(page.locator(".middle .grad"))
    children = page.locator(".child")
    assert 1 <= children.count() <= 30
    flows, local = (
        numbers(page.locator(".flow"), "data-flow"),
        numbers(page.locator("[data-local]"), "data-local"),
    )
    assert close(flows, grad * np.array(local))  # the chain rule, in full view
    page.locator(".operations button").first.click()
    page.locator(".value").first.wait_for()
    assert 1 <= page.locator(".value").count() <= 30
    page.locator(".value").first.click()
    expect(page.locator(".notes").first).to_contain_text("turn")
    page.get_by_role("button", name="Go there").click()
    expect(page.locator(".notes").first).to_contain_text("takes its turn")


def test_backward_says_what_the_relu_cut_off(show: Open) -> None:
    page = show("backward?text=emma&step=900")
    cards = page.locator(".card")
    expect(cards.first).to_contain_text("silent: the ReLU cut it off")
    expect(page.locator(".notes").first).to_contain_text("or is silent")
    assert not [text for text in cards.all_inner_texts() if "waits" in text]
    cards.first.click()
    expect(page.locator(".notes").first).to_contain_text("No gradient reaches it")
    answered(page)
    texts = page.locator(".view").all_inner_texts()
    assert not re.search(r"[-\u2212]0\.0+\b(?!e)", " ".join(texts))


def test_backward_jumps_by_statement_and_plays_at_a_speed(show: Open) -> None:
    page = show("backward?text=mo")
    counter = page.locator(".counter")
    expect(counter).to_contain_text("2 of")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".made-by")).to_contain_text("surprises.append")
    for _ in range(3):
        page.get_by_role("button", name="One statement on").click()
    expect(page.locator(".made-by")).to_contain_text("x = [a + b for a, b in zip(x, h)]")
    page.get_by_role("button", name="One statement back").click()
    expect(page.locator(".made-by")).to_contain_text("[dot(row, x) for row in w]")
    last = int(page.get_by_label("Step of backward()").get_attribute("max") or 0)
    page.get_by_label("Step of backward()").fill(str(last - 20))
    page.get_by_label("Speed").select_option("100/s")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(counter).to_have_text(f"{last} of {last}")
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()


def test_every_list_is_one_tab_stop(show: Open) -> None:
    page = show("backward?step=330")
    page.locator(".child").first.wait_for()
    answered(page)
    page.locator(".operations button").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".operations button").nth(1)).to_be_focused()
    for part in (".card", "[data-press]", ".child"):
        page.keyboard.press("Tab")
        expect(page.locator(part).first).to_be_focused()
    page.keyboard.press("Tab")  # whatever comes next, the list is left
    expect(page.locator(".child:focus")).to_have_count(0)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".child").last).to_be_focused()
    expect(page.locator(".counter")).to_contain_text("330 of")  # no step was taken


def test_sizes_have_units_and_scales(show: Open, model: Model) -> None:
    page = show("backward?text=emma")
    expect(page.locator(".sum")).to_contain_text(") / 5 nats")
    page = show("forward?text=emma")
    page.locator(".position[data-pos='0']").click()
    inside = model.engine.inspect([26])
    most = abs(inside["logits"][0]).max()
    expect(page.locator(".guess-key")).to_contain_text(f"±{most:.1f}")
    expect(page.locator(".guess-key")).to_contain_text(
        f"0 to {100 * inside['probs'][0].max():.0f}%"
    )


def test_why_in_this_order(show: Open) -> None:
    page = show("backward")
    grads = page.locator(".three [data-grad]")
    expect(page.get_by_role("button", name="Next turn")).to_be_enabled()
    seen = []
    for _ in range(3):
        seen.append(numbers(grads, "data-grad"))
        if page.get_by_role("button", name="Next turn").is_enabled():
            page.get_by_role("button", name="Next turn").click()
    assert seen == [[0, 0, 1], [0, 2, 1], [4, 2, 1]]


# ---- Training ------------------------------------------------------------------------------------
def test_a_model_trained_on_the_page_is_every_screens(show: Open, lab: Lab, model: Model) -> None:
    page = show("training?steps=40&seed=44")
    expect(page.locator("#which")).to_have_text("Model: 4,192 numbers, 12,000 steps")
    play = page.get_by_role("button", name="Play with this model")
    expect(play).to_be_disabled()
    page.locator(".transport .strong").click()
    play.click()  # when it has learned
    expect(page.locator("#which")).to_have_text("Model: trained here, 40 steps")
    own = microgpt.train("world", steps=40, seed=44, val=0.05).model()
    expect(page.locator(".names .name")).to_have_count(12)
    for _ in range(2):  # after a reload too
        logits = own.engine.inspect([own.tokenizer.bos, *own.tokenizer.ids("ma")])["logits"][-1]
        expect(page.locator(".bar.first")).to_have_count(1)
        assert close(numbers(page.locator(".bar"), "data-logit"), logits)
        page.reload()
        expect(page.locator("#which")).to_have_text("Model: trained here, 40 steps")
    expect(page.locator(".bar.first")).to_have_count(1)
    page.keyboard.press("Alt+Digit3")  # the word goes along
    page.locator(".position").nth(1).click()
    inside = own.engine.inspect(own.tokenizer.encode("ma")[:-1])
    assert close(numbers(page.locator(".drawing .logit")), inside["logits"][1])
    page.get_by_role("button", name="Put it back").click()
    expect(page.locator("#which")).to_have_text("Model: 4,192 numbers, 12,000 steps")
    answered(page)
    page.locator(".position").nth(1).click()
    inside = model.engine.inspect(model.tokenizer.encode("ma")[:-1])
    assert close(numbers(page.locator(".drawing .logit")), inside["logits"][1])


def test_a_model_of_a_lab_that_was_closed_gives_way_to_the_labs_own(
    browser: Browser, lab: Lab
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/#play&token={lab.token}")
        page.evaluate("sessionStorage.setItem('trained', 'gone-3')")
        page.reload()
        expect(page.locator("#which")).to_have_text("Model: 4,192 numbers, 12,000 steps")
        expect(page.locator(".names .name")).to_have_count(12)


# ---- Engines -------------------------------------------------------------------------------------
def test_engines_are_side_by_side(show: Open, model: Model) -> None:
    page = show("engines?text=emma", height=850)
    there = [name for name in engines.ENGINES if not engines.missing(name)]
    there.sort(key=lambda name: name != "scalar")  # the measure of the others comes first
    rows = page.locator(".engine")
    expect(rows).to_have_count(len(there))
    expect(page.locator(".its-loss")).to_have_count(len(there))
    page.get_by_role("button", name="Measure again").click()
    picture(page, "engines")
    page.locator(".position").nth(2).click()
    for i, name in enumerate(there):
        engine = engines.create(name, model.config, model.checkpoint.state)
        logits = engine.inspect(model.tokenizer.encode("emma")[:-1])["logits"][2]
        assert close(numbers(rows.nth(i).locator(".logit")), logits)
        (loss,) = numbers(rows.nth(i).locator(".its-loss"))
        assert close(loss, Model(model.checkpoint, name).score("emma").loss)


def test_two_cartridges_have_two_names(show: Open) -> None:
    page = show("engines?text=emma")
    expect(
        page.locator(".engine", has_text="fixed in Q8.8the classic cartridge's integers")
    ).to_be_visible()
    if engines.missing("snes"):
        pytest.skip(str(engines.missing("snes")))
    row = page.locator(".engine", has_text="snes turbo cartridge")
    expect(row).to_contain_text("Not one bit differs from the turbo cartridge's own integers")


def test_an_engine_is_shown_as_soon_as_it_has_answered(show: Open) -> None:
    page = show()

    def only_scalar(route: Route) -> None:
        if "scalar" in (route.request.post_data or ""):
            route.continue_()  # the others are never answered

    page.route("**/api/ask/engine", only_scalar)
    page.keyboard.press("Alt+Digit6")
    expect(page.locator(".its-loss")).to_have_count(1)
    busy = page.locator(".engine[aria-busy=true]")
    expect(busy).to_have_count(len(engines.present()) - 1)
    expect(busy.first).to_contain_text("reading the name")
    expect(busy.last).to_contain_text("waiting for its turn")


def test_every_engine_reads_the_word_that_the_field_shows(show: Open, model: Model) -> None:
    page = show("engines?text=emma")
    field = page.get_by_label("The name that all read")
    expect(page.locator(".its-loss").first).to_be_visible()
    field.fill("Zoë")
    field.press("Enter")
    expect(field).to_have_value("zoe")
    expect(page.locator(".positions")).to_have_text("BOSzoe")
    expect(page.locator(".engines")).to_contain_text("ë is read as e")
    row = page.locator(".engine", has_text="scalar")
    assert close(numbers(row.locator(".its-loss")), model.score("zoe").loss)
    field.fill("木")
    field.press("Enter")
    expect(page.locator(".engines")).to_contain_text("the model has no “木”")
    expect(field).to_have_value("zoe")


def test_an_engine_that_is_missing_says_why_and_the_others_answer(browser: Browser) -> None:
    lab = start(PATH="")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/#engines&token={lab.token}")
        expect(page.locator(".absent")).to_contain_text(f"snes{rom.CC65}")
        expect(page.locator(".its-loss")).to_have_count(len(engines.present()) - 1)
    stop(lab)


def test_the_dial_of_bits(show: Open, model: Model) -> None:
    page = show("engines?text=kai&m=3&n=2", height=620)
    of = page.locator(".held-out")
    of.wait_for(timeout=60_000)  # those of fewer bits are measured first

    def held_out(m: int, n: int) -> tuple[float, int]:
        engine = FixedEngine(model.config, model.checkpoint.state, m=m, n=n)
        names = dataset.split(dataset.load("world").documents, 0.05).test[: bits.NAMES]
        return engine.loss([model.tokenizer.encode(name) for name in names]), engine.saturations

    loss, clamped = held_out(3, 2)
    assert close(numbers(of), loss)
    assert numbers(page.locator(".clamped")) == [clamped]
    engine = FixedEngine(model.config, model.checkpoint.state, m=3, n=2)
    row = page.locator(".engine", has_text="in Q3.2")
    logits = engine.inspect(model.tokenizer.encode("kai")[:-1])["logits"][0]
    assert close(numbers(row.locator(".logit")), logits)
    page.get_by_label("m, before the point").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".bits .headline")).to_contain_text("Q2.2")
    assert close(numbers(of), held_out(2, 2)[0])
    assert "m=2&n=2" in page.url
    page.locator(".split").first.click()
    expect(page.locator(".bits .headline")).to_contain_text("Q1.1")
    page.get_by_label("n, behind it").press("End")
    expect(page.locator(".bits .headline")).to_contain_text("Q1.15 16 bits")
    expect(page.locator(".bits .refused")).to_contain_text("sums of products hold")
    page.get_by_label("m, before the point").press("End")
    expect(page.locator(".bits .headline")).to_contain_text("Q15.1 16 bits")  # 16 at most
    page.get_by_label("m, before the point").fill("4")
    page.get_by_label("n, behind it").fill("4")
    expect(page.locator(".bits .headline")).to_contain_text("Q4.4 8 bits")
    picture(page, "bits", page.locator(".bits[aria-busy=false]"), alone=".bits")


# ---- Pictures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("screen", ["forward", "edit"])
def test_a_screen_can_be_saved_as_a_picture(
    show: Open, browser: Browser, tmp_path: Path, screen: str
) -> None:
    page = show(screen, color_scheme="dark")
    settle(page, screen)
    for kind, keys in (("png", []), ("svg", ["Shift"])):
        with page.expect_download() as download:
            page.locator("#picture").click(modifiers=keys)  # type: ignore[arg-type]
        assert download.value.suggested_filename == f"{screen}.{kind}"
        download.value.save_as(tmp_path / f"{screen}.{kind}")
    width, height = struct.unpack(">II", (tmp_path / f"{screen}.png").read_bytes()[16:24])
    view = page.locator(".view").bounding_box()
    assert view
    assert (width, height) == (2 * int(view["width"]), pytest.approx(2 * view["height"], abs=2))
    with browser.new_context() as context:  # the SVG is complete by itself
        alone = context.new_page()
        alone.goto((tmp_path / f"{screen}.svg").as_uri())
        expect(alone.locator(".code .now, .code li").first).to_be_attached()
        size = alone.locator("h1").evaluate("(e) => getComputedStyle(e).fontFamily")
        assert size == page.locator("h1").evaluate("(e) => getComputedStyle(e).fontFamily")


# ---- In a notebook -------------------------------------------------------------------------------
HOST = """async ({ module, style, described, screen }) => {
  document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
  document.body.innerHTML = "<h1>A notebook</h1><div id='cell'></div>";
  let hear;
  const model = {
    get: (name) => ({ described, screen })[name],
    on: (event, heard) => { hear = heard; },
    send: async (message) => hear({ id: message.id, ...(await window.ask(message)) }),
  };
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  (await import(url)).default.render({ model, el: document.getElementById("cell") });
}"""


@pytest.mark.parametrize("screen", ["forward", "backward"])
def test_a_screen_in_a_notebook(browser: Browser, model: Model, screen: notebook.Screen) -> None:
    trace = xray.record("kai", model.checkpoint, until="backward")
    widget = microgpt.show(trace, screen)
    with browser.new_context() as context:
        page = context.new_page()
        errors: list[str] = []
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda line: errors.append(line.text))
        page.expose_function(
            "ask", lambda m: {"answer": notebook.answer(trace, m["name"], m["question"])}
        )
        page.set_content("<h1>A notebook</h1>")
        plain = page.locator("h1").evaluate("(e) => getComputedStyle(e).fontSize")
        page.evaluate(
            HOST,
            {
                "module": str(widget._esm),
                "style": str(widget._css),
                "described": widget.described,
                "screen": widget.screen,
            },
        )
        inside = page.locator("#cell")
        if screen == "forward":
            inside.locator(".position").nth(1).click()
            logits = model.engine.inspect([26, *model.tokenizer.ids("kai")])["logits"]
            assert close(numbers(inside.locator(".logit")), logits[1])
        else:
            inside.locator(".middle").wait_for()
            losses = model.score("kai").losses
            assert close(numbers(inside.locator(".term b"))[1:], losses)
        heading = page.locator("h1").first  # ours does not touch the notebook's own
        assert heading.evaluate("(e) => getComputedStyle(e).fontSize") == plain
        assert inside.locator("h1").evaluate("(e) => getComputedStyle(e).fontSize") != plain
        page.locator("#cell").evaluate("(e) => { e.style.width = '600px'; }")  # of a wide page
        parts = inside.locator(".pair > *")
        places = parts.evaluate_all("(all) => all.map((e) => e.getBoundingClientRect().x)")
        assert len(set(places)) == 1, "they are under each other"
        assert inside.evaluate("(e) => e.scrollWidth <= e.clientWidth")
        assert not errors


def test_a_notebooks_screen_knows_its_own_trace_alone(model: Model) -> None:
    trace = xray.record("kai", model.checkpoint, until="backward")
    with pytest.raises(ValueError, match="record another name"):
        notebook.answer(trace, "trace", {"text": "emma"})
    with pytest.raises(ValueError, match="no look"):
        notebook.answer(trace, "backward", {"look": "away"})


# ---- The word ------------------------------------------------------------------------------------
FIELDS = {"forward": "The name to read", "backward": "The name to learn from"}


@pytest.mark.parametrize("screen", FIELDS)
def test_a_field_folds_what_folds_and_says_what_it_refused(show: Open, screen: str) -> None:
    page = show(screen)
    field, said = page.get_by_label(FIELDS[screen]), page.locator(".read .refused")
    expect(page.locator(".counter")).to_contain_text(" of ")
    for typed, read, line in (
        ("Zoë", "zoe", "ë is read as e"),
        ("ÉLOÏSE", "eloise", "É is read as e, Ï is read as i"),
        ("Ada", "ada", ""),  # case goes without saying
        ("no-el", "noel", "the model has no “-”"),
        ("12 34", "noel", "the model has no “1”, “2”, “ ”"),  # nothing is left: the last word stays
        ("a" * 20, "a" * 16, "the model sees 16 letters, no more"),
    ):
        field.fill(typed)
        field.press("Enter")
        expect(said).to_have_text(line)
        expect(field).to_have_value(read)
        expect(page).to_have_url(re.compile(f"text={read}&"))
    page = show(f"{screen}?text=Zo%C3%AB")
    expect(page.get_by_label(FIELDS[screen])).to_have_value("zoe")


def test_one_word_goes_from_screen_to_screen(show: Open) -> None:
    page = show("forward")
    page.get_by_label(FIELDS["forward"]).fill("kai")
    page.keyboard.press("Enter")
    expect(page.locator(".position")).to_have_count(4)
    page.get_by_role("link", name="Backward").click()
    expect(page.get_by_label(FIELDS["backward"])).to_have_value("kai")
    expect(page.locator(".term")).to_have_count(5)
    page = show("backward?text=mo")
    expect(page.locator(".term")).to_have_count(4)
    page.get_by_role("link", name="Forward").click()
    expect(page.get_by_label(FIELDS["forward"])).to_have_value("mo")


# ---- What is out of date -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("screen", "label", "question", "shown"),
    [
        ("play", "The beginning of a name", "next", ".guess"),
        ("play", "The beginning of a name", "names", ".names"),
        ("forward", "The name to read", "trace", ".drawing"),
        ("backward", "The name to learn from", "backward", ".sum"),
        ("backward", "The name to learn from", "backward", ".outside"),
    ],
)
def test_numbers_older_than_the_question_are_grey(
    show: Open, screen: str, label: str, question: str, shown: str
) -> None:
    page = show(screen)
    settle(page, screen)
    part = page.locator(shown)
    held: list[Route] = []
    answering = False

    def hold(route: Route) -> None:
        route.continue_() if answering else held.append(route)

    expect(part).not_to_have_class(re.compile("outdated"))
    page.route(f"**/api/ask/{question}", hold)
    page.get_by_label(label).fill("kai")
    page.keyboard.press("Enter")
    expect(part).to_have_css("filter", "grayscale(1) opacity(0.55)")
    answering = True
    for route in held:
        route.continue_()
    expect(part).to_have_css("filter", "none")


def test_of_two_answers_the_one_to_the_last_question_is_shown(show: Open, model: Model) -> None:
    page = show("forward?text=mo")
    settle(page, "forward")
    held: list[Route] = []
    page.route("**/api/ask/trace", lambda route: held.append(route))
    for name in ("ada", "kai"):
        with page.expect_request("**/api/ask/trace"):
            page.get_by_label(FIELDS["forward"]).fill(name)
            page.keyboard.press("Enter")
    expect(page.locator(".drawing")).to_have_attribute("aria-busy", "true")
    for route in reversed(held):
        with page.expect_response("**/api/ask/trace") as answer:
            route.continue_()
        answer.value.finished()
    assert numbers(page.locator(".position .cost")) == pytest.approx(
        model.score("kai").losses, rel=1e-5
    )


def test_of_two_addresses_the_last_is_shown(show: Open) -> None:
    page = show("play")
    page.evaluate("""() => {
      globalThis.views = 0;
      const seen = new MutationObserver((changes) => (views += changes.length));
      seen.observe(document.getElementById("main"), { childList: true });
      location.hash = "play?text=a";
      location.hash = "play?text=b";
    }""")
    expect(page.locator("main:not(.outdated)")).to_have_count(1)
    expect(page.get_by_label("The beginning of a name")).to_have_value("b")
    assert page.evaluate("views") == 1


def test_what_the_last_screen_says_does_not_change_an_address_asked_for(show: Open) -> None:
    page = show("play?text=chr")
    page.evaluate("""() => {
      location.hash = "play?text=zo";
      const dial = document.querySelector(".dials input");
      dial.value = "1.5";
      dial.dispatchEvent(new Event("input", { bubbles: true }));
    }""")
    expect(page.get_by_label("The beginning of a name")).to_have_value("zo")
    expect(page).to_have_url(re.compile("text=zo&temperature=0.7"))


# ---- Everyone ------------------------------------------------------------------------------------
def settle(page: Page, screen: str) -> None:
    """Wait until a screen shows its first numbers."""
    first = {
        "lessons": ".lessons-list",
        "play": ".name",
        "forward": ".verdict",
        "backward": ".ball",
        "training": ".losses",
        "engines": ".engine",
        "console": ".picture[src]",
        "edit": ".code li",
        "scale": ".component",
        "tune": ".knobs",
        "inside": ".rows",
    }
    page.locator(first[screen]).first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")


def test_nothing_overflows(show: Open) -> None:
    page = show()
    for i, screen in enumerate(SCREENS):
        page.keyboard.press(f"Alt+{KEYS[i]}")
        page.locator(f".view.{screen}").wait_for()
        settle(page, screen)
        for width in (320, 640, 960, 1280, 1920):  # 960: a projector, at twice the size
            page.set_viewport_size({"width": width, "height": width * 9 // 16})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{screen} is {wide} pixels wide, and there are {width}"


SMALLEST_TEXT = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const small = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    const { width } = element.getBoundingClientRect();
    if (element.closest("title, noscript, option") || !width) continue;
    const svg = element.ownerSVGElement;
    const scale = svg?.viewBox.baseVal?.width
      ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const size = parseFloat(getComputedStyle(element).fontSize) * scale;
    if (size < 11) small.push(`${size.toFixed(1)}px: ${node.data.trim()} in .${element.className}`);
  }
  return small;
}"""


@needs_axe
@pytest.mark.parametrize(
    ("width", "height", "scheme", "axe"),
    [
        (320, 640, "dark", True),
        (640, 360, "light", False),
        (1280, 720, "light", True),
    ],
)
def test_every_screen_can_be_seen_by_all(
    show: Open, width: int, height: int, scheme: str, axe: bool
) -> None:
    """No text is smaller than 11 pixels, and axe finds nothing."""
    page = show(width=width, height=height, color_scheme=scheme)
    for i, screen in enumerate(SCREENS):
        page.keyboard.press(f"Alt+{KEYS[i]}")
        page.locator(f".view.{screen}").wait_for()
        settle(page, screen)
        if axe:
            check_axe(page)
        if screen in FIELDS:  # all that they can draw
            page.locator(".pair").press("End" if screen == "forward" else "Shift+ArrowRight")
            answered(page)
        assert page.evaluate(SMALLEST_TEXT) == [], screen


@pytest.mark.parametrize(("width", "height"), [(390, 844), (640, 360)])  # a phone; 200 %
def test_code_and_drawing_are_seen_together_and_the_buttons_stay(
    show: Open, width: int, height: int
) -> None:
    page = show("forward", width, height)
    page.locator(".code .now").wait_for()
    page.locator(".drawing").evaluate("(e) => e.scrollIntoView({ block: 'end' })")
    walk_to(page, "= attention(")
    for part in (".code .now", ".drawing .row.now >> nth=0", ".transport .strong"):
        expect(page.locator(part).first).to_be_in_viewport()
    share = "(e) => e.clientWidth / e.parentElement.clientWidth"
    assert page.locator(".row.heads > small").first.evaluate(share) > 0.8, "not squeezed"
    page = show("backward?step=330", width, height)
    page.locator(".middle.ready").wait_for()
    page.locator(".notes").first.evaluate("(e) => scrollTo(0, scrollY + e.offsetTop)")
    page.keyboard.press("ArrowRight")
    answered(page)
    for part in (".made-by", ".middle", ".transport .strong"):
        expect(page.locator(part)).to_be_in_viewport()
    crumbs, listed = (page.locator(part).bounding_box() for part in (".crumbs", ".within .list"))
    assert crumbs
    assert listed
    assert crumbs["y"] + crumbs["height"] <= listed["y"]


def test_the_page_is_laid_out_and_linted() -> None:
    """100 columns, no function over 80 lines: tests/biome.json says what else."""
    biome = TESTS / "node_modules" / ".bin" / "biome"
    if not biome.exists():
        pytest.skip("biome is not installed: npm install --prefix tests")
    checked = subprocess.run(
        [biome, "ci", "--error-on-warnings", "--colors=off", *SOURCES],
        cwd=TESTS,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_screens_style_reaches_into_another() -> None:
    """Every sheet is on the page: a selector belongs to one screen, or to the page's own sheet."""
    owner: dict[str, str] = {}
    for sheet in sorted((notebook.STATIC / "screens").glob("*.css")):
        text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.DOTALL)
        for selectors in re.findall(r"^([^@{}\n ][^{}]*)\{", text, flags=re.M):
            for selector in selectors.split(","):
                first = owner.setdefault(selector.strip(), sheet.name)
                assert first == sheet.name, f"{selector.strip()} is in {first} and {sheet.name}"


def test_no_line_of_the_page_is_longer_than_100() -> None:
    """biome lays out code; comments and strings are ours to break."""
    files = [file for folder in SOURCES for file in [folder, *folder.rglob("*.mjs")]]
    assert [
        f"{file.name}:{at}"
        for file in files
        if file.is_file()
        for at, line in enumerate(file.read_text("utf-8").splitlines(), 1)
        if len(line) > 100
    ] == []


def test_the_types_of_the_page_are_right() -> None:
    tsc = TESTS / "node_modules" / ".bin" / "tsc"
    if not tsc.exists():
        pytest.skip("typescript is not installed: npm install --prefix tests")
    checked = subprocess.run(
        [tsc, "--project", TESTS / "tsconfig.json"],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout
