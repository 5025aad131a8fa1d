"""The screen Inside: published models in the lab, two models side by side, lessons beside one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

import microgpt
from microgpt.checkpoint import SHIPPED
from microgpt.lab import server
from microgpt.lab.answers import Answers
from microgpt.lab.models import Models
from microgpt.lab.published import MOST, Published
from microgpt.language import LanguageModel
from microgpt.llm import pretrained
from microgpt.model import Model
from tests.lab.conftest import Lab, Open, answered, close, numbers, picture, start, stop
from tests.test_pretrained import folder

pytest.importorskip("regex")
TEXT = "bad face"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny Llama, two layers of four heads, and a model of ours."""
    made = tmp_path_factory.mktemp("models")
    folder(made, "llama")
    microgpt.train("world", steps=3).model().save(made / "own.safetensors")
    return made


@pytest.fixture(scope="module")
def lab(place: Path) -> Iterator[Lab]:
    running = start(str(place / "own.safetensors"), "--beside", str(place / "llama"))
    yield running
    stop(running)


@pytest.fixture(scope="module")
def llama(place: Path) -> LanguageModel:
    return LanguageModel(pretrained.load(place / "llama"))


# ---- Answers -------------------------------------------------------------------------------------
def triangle(heads: Any) -> list[float]:
    """Return weights (n_layer, n_head, T, T), each row up to its own position, as one list."""
    return [w for head in heads.reshape(-1, *heads.shape[-2:]) for t, row in enumerate(head)
            for w in row[: t + 1]]  # fmt: skip


def test_the_picture_of_a_name_is_the_engines(model: Model) -> None:
    answers = Answers(model)
    found = answers.answer("inside", {"text": "emma"})
    seen = model.engine.inspect(model.tokenizer.encode("emma")[:-1])
    assert found["tokens"] == ["", "e", "m", "m", "a", ""]
    assert close(found["losses"], model.score("emma").losses)
    drawn = [w for layer in found["attention"] for head in layer for row in head for w in row]
    assert close(drawn, triangle(seen["attention"]))
    for t, best in enumerate(found["guesses"][-1]):
        assert close([p for _, p in best], sorted(seen["probs"][t], reverse=True))
    assert close(found["sizes"], np.sqrt((seen["residual"] ** 2).mean(axis=-1)))
    assert close(answers.answer("stream", {"text": "emma", "pos": 2}), seen["residual"][:, 2])


def test_the_picture_of_a_text_is_the_published_models(place: Path, llama: LanguageModel) -> None:
    published = Published(place / "llama")
    found = published.answer("inside", {"text": TEXT})
    seen = llama.inspect(TEXT)
    assert found["tokens"] == seen["tokens"] == [*TEXT]
    assert close(found["losses"], llama.score(TEXT).losses)
    drawn = [w for layer in found["attention"] for head in layer for row in head for w in row]
    assert close(drawn, triangle(seen["attention"]))
    assert [[g[0][0] for g in layer] for layer in found["guesses"]] == seen["lens"][..., 0].tolist()
    assert close(published.answer("stream", {"text": TEXT, "pos": 3}), seen["residual"][:, 3])


@pytest.mark.parametrize(
    ("name", "question", "line"),
    [
        ("inside", {"text": "ab" * MOST}, f"has {2 * MOST} tokens; the picture has room for"),
        ("inside", {"text": "a" * 10_000}, "10,000 characters; give 1,000 at most"),
        ("inside", {"text": 7}, "it must be a string"),
        ("inside", {}, "lacks a part"),
        ("stream", {"text": "ab", "pos": 2}, "the position is 2; it must be 0 to 1"),
        ("trace", {"text": "ab"}, "there is no question 'trace'; there are model, inside, stream"),
    ],
)
def test_what_a_published_model_is_not_asked(
    place: Path, name: str, question: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        Published(place / "llama").answer(name, question)


def test_each_model_has_a_name_and_the_page_opens_where_it_is_seen(place: Path) -> None:
    ours, theirs = place / "own.safetensors", place / "llama"
    assert server.place([]) == server.place([ours]) == ""
    assert server.place([theirs]) == "inside?model=opened-0&"
    assert server.place([theirs, ours]) == "inside?model=opened-0&beside=&"
    assert server.place([ours, theirs]) == "inside?model=&beside=opened-1&"
    models = Models([theirs], place)
    assert models.path("") == models.path("shipped") == SHIPPED
    assert [m["title"] for m in models.listed()] == ["the built-in model", "llama"]
    with pytest.raises(ValueError, match="llama is a published model; the screen Inside shows it"):
        models.path("opened-0")


def test_a_run_of_a_published_model_is_refused(lab: Lab) -> None:
    status, found = lab.post("/api/run/bits?model=opened-1", {})
    assert status == 422
    assert "is a published model" in found["error"]


# ---- The screen ----------------------------------------------------------------------------------
def test_every_head_of_a_published_model_can_be_opened(show: Open, llama: LanguageModel) -> None:
    seen = llama.inspect(TEXT)
    page = show(f"inside?model=opened-1&text={TEXT.replace(' ', '%20')}", height=1000)
    expect(page.locator(".thumb")).to_have_count(2 * 4)
    expect(page.locator(".pane .key").first).to_contain_text("This screen alone shows it")
    last = len(TEXT) - 1
    for layer, head in ((0, 0), (1, 2)):
        page.get_by_label(f"layer {layer}, head {head}", exact=True).click()
        heads = seen["attention"][layer : layer + 1, head : head + 1]
        assert close(numbers(page.locator(".weight")), triangle(heads))
    page.locator(".thumb[aria-pressed=true]").press("ArrowUp")
    expect(page.get_by_label("layer 0, head 2", exact=True)).to_be_focused()
    for pos in (last, 3):
        page.locator(".position").nth(pos).click()
        expect(page.locator(".position[aria-current]")).to_be_focused()
        assert close(numbers(page.locator(".best li"), "data-p"), seen["lens_probs"][-1, pos])
        shown = numbers(page.locator("table.lens td[data-p]"), "data-p")
        assert close(shown, seen["lens_probs"][:, pos, :3].ravel())
        page.locator(".rows").wait_for()
        assert close(numbers(page.locator(".rows .cell")), seen["residual"][:, pos].ravel())
    assert "layer=1&head=2&pos=3" in page.url


def test_the_real_model_is_shown_as_the_small_one_is(browser: Browser) -> None:
    """30 layers of 9 heads; `make docs` takes its picture where the file is at hand."""
    if not os.environ.get("MICROGPT_SMOLLM2"):
        pytest.skip("MICROGPT_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf")
    lab = start(os.environ["MICROGPT_SMOLLM2"])
    with browser.new_context(viewport={"width": 1280, "height": 1400}) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/#{lab.place}&layer=11&head=4&token={lab.token}")
        expect(page.locator(".thumb")).to_have_count(30 * 9, timeout=300_000)
        expect(page.locator(".pane .key").first).to_contain_text("134,515,008 numbers")
        expect(page.locator(".best code").first).to_have_text("␣Paris")
        picture(page, "inside", page.locator(".line-of"))
    stop(lab)


def test_two_models_read_one_name(show: Open, lab: Lab, model: Model, place: Path) -> None:
    own = Model.load(place / "own.safetensors")
    assert lab.place == "inside?model=&beside=opened-1"
    page = show("inside?text=emma&beside=shipped", height=1000)
    panes = page.locator(".pane")
    expect(panes).to_have_count(2)
    losses = [m.score("emma").losses for m in (own, model)]
    gaps = np.abs(np.array(losses[0]) - losses[1])
    most = int(gaps.argmax())
    difference = page.locator(".said")
    expect(difference).to_contain_text(f"Left {np.mean(losses[0]):.2f} nats a token, right ")
    expect(difference).to_contain_text(f"differ most at token {most + 1}, {'emma'[most]}: ")
    expect(page.locator(".best i[data-other]")).to_have_count(10)
    for pane, shown, other in ((0, own, model), (1, model, own)):
        probs, theirs = (
            m.engine.inspect(m.tokenizer.encode("emma")[:-1])["probs"][-1] for m in (shown, other)
        )
        best = np.argsort(-probs, kind="stable")[:5]
        assert close(numbers(panes.nth(pane).locator(".best li"), "data-p"), probs[best])
        lines = numbers(panes.nth(pane).locator(".best i"), "data-other")
        assert close(lines, theirs[best])
    panes.nth(0).get_by_label("layer 0, head 3", exact=True).click()  # in both: they are alike
    expect(page.locator(".thumb[aria-pressed=true]")).to_have_count(2)
    assert panes.nth(1).locator("h3", has_text="head 3").count() == 1
    panes.nth(0).locator(".position").nth(1).click()
    expect(page.locator(".position[aria-current] b")).to_have_text(["e", "e"])
    picture(page, "beside")
    page.get_by_label("Beside it").select_option("llama")  # it reads other tokens
    expect(difference).to_contain_text("these cannot be compared")


def test_a_link_to_a_model_of_another_lab_shows_the_labs_own(show: Open) -> None:
    page = show("inside?model=opened-7&beside=gone-3&text=emma")
    expect(page.locator(".pane h2")).to_have_text(["own.safetensors"])


def test_a_model_trained_on_the_page_stands_beside_the_labs_own(show: Open) -> None:
    page = show("training?steps=30&seed=44")
    page.locator(".transport .strong").click()
    expect(page.get_by_role("button", name="Play with this model")).to_be_enabled()
    page.keyboard.press("Alt+Minus")
    page.get_by_label("Beside it").select_option("trained here, 30 steps")
    expect(page.locator(".pane h2")).to_have_text(["own.safetensors", "trained here, 30 steps"])
    expect(page.locator(".said")).to_contain_text("They differ most at")


# ---- Lessons -------------------------------------------------------------------------------------
def test_a_lesson_shows_the_model_that_it_speaks_of(show: Open, model: Model) -> None:
    page = show("lessons?lesson=7")
    expect(page.get_by_text("This is the model that comes with microgpt")).to_be_visible()
    expect(page.get_by_role("link", name="Open it alone")).to_be_hidden()
    page.locator(".live-screen .position").nth(1).click()
    answered(page)
    inside = model.engine.inspect(model.tokenizer.encode("emma")[:-1])
    assert close(numbers(page.locator(".live-screen .logit")), inside["logits"][1])


def test_the_built_in_models_lessons_say_nothing_of_another(tmp_path: Path) -> None:
    assert Models([], tmp_path).answers("").answer("model", {})["built_in"]
    assert Models([], tmp_path).answers("shipped").answer("model", {})["built_in"]
