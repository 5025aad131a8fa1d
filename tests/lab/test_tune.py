"""The Tune screen and its job: a reward, sums, or choices; the dials turn while it learns."""

import json
import math
from itertools import takewhile
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.config import Adam
from microgpt.lab import jobs
from microgpt.lab.jobs.controls import TuningDials
from microgpt.rewards import parse
from microgpt.training import Run, Settings
from microgpt.tuning import Reference, Reinforcement
from tests.lab.conftest import PICTURES, Open, picture


# ---- The job -------------------------------------------------------------------------------------
def tune(**question: Any) -> list[dict[str, Any]]:
    """Return the events of a run, driven without a server."""
    asked = {"kind": "tuning", **question}
    controls = jobs.controls_of(asked)
    heard = jobs.run(asked, controls, Checkpoint.load(SHIPPED))
    return [event for event in heard if isinstance(event, dict)]


def seen(heard: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [step for event in heard for step in event.get("seen", [])]


def test_the_job_is_the_run_that_the_command_makes() -> None:
    heard = tune(reward="vowel", beta=0.1, lr=0.003, steps=20, batch=32)
    base = Checkpoint.load(SHIPPED)
    feed = Reinforcement(Reference("base", base), parse("vowel"), beta=0.1, batch=32)
    run = Run(feed, Settings(20, 0.003, Adam(0.9)), start=base)
    assert seen(heard) == [progress.measures for progress in run.advance()]
    assert heard[-1] == {"done": True}


def test_the_frontier_is_of_the_reward() -> None:
    """It begins where the model is, and rises with KL; for a share it ends at -ln of the share."""
    frontier = next(e["frontier"] for e in tune(reward="vowel", steps=1) if "frontier" in e)
    kls, rewards, betas = zip(*frontier, strict=True)
    assert list(kls) == sorted(kls)
    assert list(rewards) == sorted(rewards)
    odds = rewards[0] / (1 - rewards[0]) / math.exp(1 / betas[0])  # of the model before
    assert kls[-1] == pytest.approx(-math.log(odds / (1 + odds)), abs=1e-3)
    assert rewards[-1] > 0.999
    graded = next(e["frontier"] for e in tune(reward="like:world", steps=1) if "frontier" in e)
    assert 0.05 < graded[-1][2] < 0.2, "it ends where too few documents count"


def test_sums_are_learned_first_and_then_checked() -> None:
    heard = tune(reward="sums", beta=0, steps=3, batch=32)
    assert [e["preparing"] for e in heard if "preparing" in e][-1] == 1
    grid = [e["sums"] for e in heard if "sums" in e][-1]
    assert (len(grid), {len(row) for row in grid}) == (20, {20})
    held_out = sum(state >= 2 for row in grid for state in row)
    assert 50 < held_out < 110
    assert all("=" in text for text, _ in [e["written"] for e in heard if "written" in e][-1])


def test_choices_make_the_chosen_likelier() -> None:
    pairs = [["emma", "zzyzx"], ["ada", "xqkw"], ["mia", "qqq"]]
    last = seen(tune(reward="pairs", pairs=pairs, beta=0.5, lr=0.001, steps=30, batch=3))[-1]
    assert last["won"] == 1
    assert last["chosen"] > last["rejected"] + 1


def test_examples_are_learned_and_what_is_not_replayed_is_forgotten() -> None:
    forgot, kept = (
        seen(tune(reward="examples", lr=0.01, replay=replay, steps=150, batch=32))
        for replay in (0, 0.5)
    )
    assert forgot[0] == kept[0]
    for run in (forgot, kept):
        assert run[-1]["asked"] < run[0]["asked"] / 2
    assert kept[-1]["kept"] < kept[0]["kept"] + 0.3
    assert forgot[-1]["kept"] > kept[-1]["kept"] + 2


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"reward": "mine.py:f"}, "there is no reward 'mine.py:f'; there are vowel,"),
        ({"reward": "vowel", "beta": -1}, "beta is -1; it must be a number, 0 to 100"),
        ({"reward": "vowel", "lr": "x"}, "lr is 'x'; it must be a number"),
        ({"reward": "examples", "replay": 1}, "replay is 1; it must be a number, 0 to 0.9"),
        ({"reward": "vowel", "colour": 1}, "there is no setting 'colour'"),
        ({"reward": "pairs"}, "there are no documents"),
        ({"reward": "pairs", "pairs": [["a", "a"]]}, "is not a pair"),
        ({"reward": "vowel", "steps": 0}, "steps is 0"),
    ],
)
def test_what_the_job_refuses(question: dict[str, Any], says: str) -> None:
    assert says in tune(**question)[-1]["error"]


def test_a_dial_counts_from_the_next_step_on() -> None:
    asked = {"kind": "tuning", "reward": "vowel", "steps": 9, "batch": 8, "beta": 0, "paused": True}
    controls = jobs.controls_of(asked)
    assert isinstance(controls, TuningDials)
    heard = jobs.run(asked, controls, Checkpoint.load(SHIPPED))
    events = [*takewhile(lambda event: not isinstance(event, float), heard)]
    with pytest.raises(ValueError, match="beta is True"):
        controls.apply({"beta": True, "lr": 0.01})
    assert controls.turned["lr"] == 0.003, "nothing of a command that is refused is applied"
    controls.apply({"beta": 100, "lr": 1e-9, "step": 9})
    controls.begin({"beta": 0})
    assert controls.turned["beta"] == 100, "turned before the run began"
    rest = [event for event in (*events, *heard) if isinstance(event, dict)]
    written = [[text for text, _ in event["written"]] for event in rest if "written" in event]
    assert len(written) > 1
    assert all(each == written[0] for each in written), "the same draws"
    steps = seen(rest)
    assert max(step["kl"] for step in steps) < 1e-3, "it learns at the new rate"


# ---- The screen ----------------------------------------------------------------------------------
def finish(page: Page) -> None:
    page.get_by_role("button", name="Tune", exact=True).click()
    expect(page.get_by_role("button", name="Play with this model")).to_be_enabled(timeout=120_000)


def test_tuning_by_a_reward(show: Open) -> None:
    first = next(event["written"] for event in tune(reward="vowel", steps=1) if "written" in event)
    page = show("tune?reward=vowel", height=1300)
    finish(page)
    expect(page.locator(".steps")).to_have_text("200")
    assert float(page.locator(".headline .reward").get_attribute("data-x") or 0) > 0.9
    expect(page.locator(".written li")).to_have_count(12)
    before = page.locator(".written .before").all_inner_texts()
    assert [f"before: {text or '(the end at once)'}" for text, _ in first] == before
    expect(page.locator(".frontier")).to_have_count(1)
    assert page.locator(".measure:visible").count() == 4
    picture(page, "tune")
    page.get_by_role("button", name="Play with this model").click()
    expect(page.locator("#which")).to_contain_text("trained here")


def test_sums_turn_blue(show: Open) -> None:
    page = show("tune?reward=sums", height=1300)
    page.get_by_role("button", name="Tune", exact=True).click()
    expect(page.locator(".sums rect")).to_have_count(400, timeout=120_000)
    expect(page.locator(".written")).to_contain_text("=")
    expect(page.locator(".sums .held-out").first).to_be_visible()
    assert page.locator(".sums .right").count() > 150, "it knows more than half before"
    if PICTURES:
        expect(page.locator(".steps")).to_have_text("600", timeout=240_000)
        picture(page, "tune-sums")


HELD = """e => [1, 2].forEach(() =>
  e.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true })))"""


def test_choosing_on_the_page(show: Open) -> None:
    page = show("tune?reward=pairs", height=1300)
    tune = page.get_by_role("button", name="Tune", exact=True)
    expect(page.get_by_text("0 choices; 5 more to begin")).to_be_visible()
    expect(tune).to_be_disabled()
    chosen = []
    for i in range(5):
        left = page.locator(".candidate").first
        expect(left).not_to_have_text("…")
        two = page.locator(".candidate").all_inner_texts()
        chosen.append(two[::-1] if i % 2 else two)
        left.focus()
        if i:
            page.keyboard.press("ArrowRight" if i % 2 else "ArrowLeft")
        else:
            left.evaluate(HELD)
        expect(page.locator(".chooser small")).to_contain_text(f"{i + 1} choice")
    with page.expect_request("**/api/run/tuning") as asked:
        finish(page)
    assert json.loads(asked.value.post_data or "")["pairs"] == chosen, "the chosen first"
    expect(page.locator(".headline .won")).to_have_text("1.000")


@pytest.mark.slow
def test_learning_from_examples(show: Open) -> None:
    page = show("tune?reward=examples", height=1300)
    expect(page.get_by_label("replay")).to_be_visible()
    expect(page.get_by_label("β")).to_be_hidden()
    page.get_by_label("replay").fill("2")
    finish(page)
    expect(page.locator(".steps")).to_have_text("500")
    assert page.locator(".measure:visible").count() == 2
    loss = page.locator(".headline .kept").get_attribute("data-x")
    assert float(loss or 9) < 3, "a quarter is replayed"
    expect(page.locator(".written li").first).to_contain_text(">")


def test_a_dial_turns_a_run_that_goes_on(show: Open) -> None:
    page = show("tune?reward=has:z")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.get_by_label("β").press("End")
    expect(page.locator(".knobs output").first).to_have_text("3")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".steps")).to_have_text("200", timeout=120_000)
    assert float(page.locator(".headline .kl").get_attribute("data-x") or 9) < 0.5
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".headline")).to_contain_text("Press Tune")


@pytest.mark.parametrize(("width", "letter"), [(320, 12), (1280, 12), (1920, 16.5)])
def test_it_fits(show: Open, width: int, letter: float) -> None:
    page = show("tune?reward=like:world", width=width, height=1300, color_scheme="dark")
    page.get_by_role("button", name="Step", exact=True).click()
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".written .before")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    links = page.locator("#nav a").evaluate_all("all => all.map((e) => e.offsetTop)")
    assert width < 1280 or len({*links}) == 1, "the screens are in one row"
    size = "e => 12 * e.getBoundingClientRect().width / e.viewBox.baseVal.width"
    drawn = page.locator(".losses").evaluate(size)
    assert drawn == pytest.approx(letter, rel=0.01), "a projector is read from the last row"
