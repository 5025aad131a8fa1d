"""The Training screen and its job: one run, seen from its first step to what its loss means."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from microgpt import dataset
from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.feed import Pretraining
from microgpt.lab import jobs
from microgpt.lab.jobs.controls import TrainingDials
from microgpt.training import Run, Settings
from tests.lab.conftest import Lab, Open, close, events, numbers, picture

LIST = "\n".join(["Ångström", "ab", "ba", "abba", "baba"])


def whole(steps: int, **fed: Any) -> Run[Pretraining]:
    """Return a run that has taken its steps."""
    run = Run(Pretraining(dataset.load("world"), **fed), Settings(steps=steps))
    for _ in run.advance():
        pass
    return run


def train(lab: Lab, **question: Any) -> list[dict[str, Any]]:
    """Return the events of a run."""
    with lab.send("POST", "/api/run/training", json.dumps(question).encode()) as response:
        return [*events(response)]


# ---- The job -------------------------------------------------------------------------------------
def test_what_is_compared_is_measured_on_one_set(lab: Lab) -> None:
    heard = train(lab, steps=40, val=0.05)
    about = next(event for event in heard if "bigram" in event)
    run = whole(40, val=0.05)
    assert about["held_out"] == len(run.val)
    assert (about["uniform"], about["bigram"]) == pytest.approx(run.baselines(run.val))
    held_out = [event["val_loss"] for event in heard if "val_loss" in event]
    assert len(held_out) == 10
    assert held_out[-1] == pytest.approx(run.engine.loss(run.val), abs=1e-6)


def test_a_list_of_ones_own(lab: Lab) -> None:
    heard = train(lab, steps=30, val=0.05, data="own", list=LIST)
    about = next(event for event in heard if "bigram" in event)
    assert about["vocabulary"] == "".join(sorted({*LIST} - {"\n"}))
    assert (about["documents"], about["held_out"]) == (5, 0), "too few to hold some out"
    assert heard[-1] == {"done": True}
    name = next(event["model"] for event in heard if "model" in event)
    described = lab.post(f"/api/ask/model?model={name}", {})[1]
    assert described["vocabulary"] == about["vocabulary"]
    names = "\n".join(f"{a}{b}{c}" for a in "abcde" for b in "fghij" for c in "klmno")
    many = next(e for e in train(lab, steps=3, val=0.05, data="own", list=names) if "bigram" in e)
    assert many["held_out"] > 0


@pytest.mark.parametrize("text", ["", " \n\n "])
def test_an_empty_list_is_refused(lab: Lab, text: str) -> None:
    assert "your list holds no documents" in train(lab, data="own", list=text)[-1]["error"]


def test_a_run_that_is_paused_shows_where_it_is(lab: Lab) -> None:
    """A run shows now and then how far it is; where it rests, it shows all of it, and its model."""
    question = json.dumps({"steps": 10**6, "val": 0}).encode()
    with lab.send("POST", "/api/run/training", question) as response:
        run, losses, heard = "", 0, events(response)
        for event in heard:
            run = event.get("run", run)
            losses += len(event.get("losses", []))
            if losses > 3 and run:
                lab.post(f"/api/command/{run}", {"paused": True})
                break
        for event in heard:
            losses += len(event.get("losses", []))
            if "model" in event:
                break
            last = event
        assert last["step"] == losses == last["at"]
        assert lab.post(f"/api/ask/model?model={event['model']}", {})[1]["steps"] == losses


def test_a_dial_turned_before_the_run_begins_stays_where_it_is() -> None:
    """A command may come while the question is still being read."""
    asked = {"kind": "training", "steps": 5, "follow": ["lm_head", 0, 0], "speed": 50}
    controls = jobs.controls_of(asked)
    assert isinstance(controls, TrainingDials)
    heard = jobs.run(asked, controls, Checkpoint.load(SHIPPED))
    controls.apply({"speed": None, "follow": ["wte", 1, 2]})
    said = [*heard]
    looks = [event for event in said if isinstance(event, dict) and "followed" in event]
    assert {look["followed"]["name"] for look in looks} == {"wte[1][2]"}
    assert said[-1] == {"done": True}
    assert not [wait for wait in said if isinstance(wait, float)], "at full speed it never waits"
    for command, says in (
        ({"speed": "fast"}, "speed is 'fast'; it must be steps a second, or null"),
        ({"speed": -1}, "speed is -1"),
        ({"follow": "wte"}, "follow is 'wte'; it must be a matrix's name, a row and a column"),
        ({"follow": ["wte", 1]}, "follow is"),
    ):
        with pytest.raises(ValueError, match=re.escape(says)):
            controls.apply({"follow": ["wpe", 0, 0]} | command)
    assert controls.turned["follow"] == ["wte", 1, 2], "nothing of it is applied"


# ---- The screen ----------------------------------------------------------------------------------
def full_speed(page: Page) -> None:
    page.get_by_label("Speed").press("End")
    page.locator(".transport .strong").click()


def test_training(show: Open, lab: Lab) -> None:
    page = show("training?steps=1000&seed=43", height=1240)
    go = page.locator(".transport .strong")
    expect(page.get_by_role("heading", level=2)).to_have_count(0)  # nothing to head yet
    page.get_by_role("button", name="Step", exact=True).click()  # begins, and waits
    expect(page.locator(".six li")).to_have_count(6)
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".steps")).to_have_text("1")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".steps")).to_have_text("2")
    expect(go).to_have_text("Go on")
    page.get_by_label("Speed").press("End")  # full
    go.click()
    expect(page.locator(".steps")).to_have_text("1,000", timeout=120_000)
    expect(go).to_have_text("Train")
    picture(page, "training")
    assert page.locator(".plane text").count() == 27
    assert page.locator(".norm").count() == 9
    expect(page.locator(".losses")).to_contain_text("loss, nats/token")
    page.get_by_label("Look back").fill("0")
    expect(page.locator(".steps")).to_have_text("0")
    page.get_by_label("Batch").select_option("2")
    assert "batch=2" in page.url
    assert lab.token not in page.url
    expect(page.locator(".headline")).to_contain_text("Press Train")


def test_the_losses_shown_are_those_of_the_run(show: Open) -> None:
    page = show("training?steps=12&val=0&seed=44")
    page.locator(".transport .strong").click()
    expect(page.locator(".steps")).to_have_text("12")
    run = whole(12, seed=44)
    assert close(numbers(page.locator(".loss")), run.losses[-1])
    expect(page.locator(".verdict-box")).to_contain_text("over the last 12 steps")
    assert close(
        numbers(page.locator(".verdict dd")), [*run.baselines(), sum(run.losses) / len(run.losses)]
    )


def test_headline_line_diamonds_and_verdict_are_of_one_set(show: Open) -> None:
    page = show("training?steps=200&seed=44")
    full_speed(page)
    run = whole(200, seed=44, val=0.05)
    uniform, bigram = run.baselines(run.val)
    loss = run.engine.loss(run.val)
    expect(page.locator(".verdict-box h2")).to_have_text(
        f"Loss on {len(run.val)} held-out documents (nats/token)"
    )
    assert close(numbers(page.locator(".verdict dd")), [uniform, bigram, loss])
    assert close(numbers(page.locator(".headline .held-out")), loss)
    expect(page.locator(".losses .val")).to_have_count(10)
    assert close(numbers(page.locator(".losses .val"))[-1], loss)
    expect(page.locator(".losses")).to_contain_text(f"counting pairs {bigram:.3f}")
    better = "The model beats counting pairs" if loss < bigram else "Counting pairs is better"
    expect(page.locator(".verdict-box")).to_contain_text(better)


def test_a_run_goes_on_while_other_screens_are_shown(show: Open) -> None:
    page = show("training?steps=100000&seed=44")
    page.locator(".transport .strong").click()
    expect(page.locator(".six li")).to_have_count(6)
    page.keyboard.press("Alt+Digit2")
    page.locator(".view.play").wait_for()
    busy = page.locator("#nav a[href='#training']")
    expect(busy).to_have_attribute("data-busy", re.compile("%"))
    page.keyboard.press("Alt+Digit5")
    page.locator(".view.training").wait_for()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play with this model")).to_be_enabled()
    steps = int(page.locator(".steps").inner_text().replace(",", ""))
    assert steps > 0
    page.keyboard.press("Alt+Digit2")
    page.locator(".view.play").wait_for()
    page.keyboard.press("Alt+Digit5")
    expect(page.locator(".steps")).to_have_text(f"{steps:,}")
    page.get_by_role("button", name="Reset").click()
    expect(busy).to_have_attribute("data-busy", "")


def test_an_address_asks_for_another_run(show: Open) -> None:
    page = show("training?steps=12&seed=44")
    page.locator(".transport .strong").click()
    expect(page.locator(".steps")).to_have_text("12")
    page.evaluate("() => { location.hash = 'play'; }")
    page.locator(".view.play").wait_for()
    page.evaluate("() => { location.hash = 'training?steps=500'; }")
    expect(page.locator(".headline")).to_contain_text("Press Train")
    expect(page.locator("select[data-key=steps]")).to_have_value("500")


def test_a_run_that_cannot_begin_says_why_and_goes_on_saying_it(show: Open) -> None:
    page = show("training?steps=12&n_head=3")
    page.locator(".transport .strong").click()
    expect(page.locator(".headline .wrong")).to_contain_text("multiple of n_head")
    expect(page.locator(".transport .strong")).to_have_text("Train")
    page.get_by_label("Heads").select_option("4")
    expect(page.locator(".headline")).to_contain_text("Press Train")


def test_train_on_a_list_of_ones_own_and_play_with_it(show: Open) -> None:
    page = show("training?steps=30")
    page.get_by_label("Data").select_option("own")
    start = page.locator(".transport .strong")
    expect(start).to_be_disabled()
    page.get_by_label("Your list").fill(LIST)
    expect(page.locator(".list small")).to_have_text("5 different names")
    start.click()
    expect(page.locator(".steps")).to_have_text("30")
    expect(page.locator(".key").first).to_contain_text("too short to hold names out")
    page.get_by_role("button", name="Play with this model").click()
    expect(page.locator("#which")).to_contain_text("trained here")
    expect(page.locator(".bar")).to_have_count(len({*LIST} - {"\n"}) + 1)
    page.keyboard.press("Alt+Digit5")
    expect(page.get_by_label("Your list")).to_have_value(LIST)


def test_the_parameter_chosen_is_followed_from_the_start(show: Open) -> None:
    page = show("training?steps=12&seed=44")
    page.get_by_role("button", name="Step", exact=True).click()
    page.get_by_label("The parameter to follow").select_option("wte")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Step", exact=True).click()
    run = Run(Pretraining(dataset.load("world"), seed=44, val=0.05), Settings(steps=12))
    expect(page.locator(".followed dd")).to_have_count(5)
    value = numbers(page.locator(".followed dd"))[0]
    assert value == pytest.approx(float(run.engine.state()["wte"][0][0]), abs=1e-6)


def test_no_two_letters_lie_on_each_other(show: Open) -> None:
    page = show("training?steps=12&seed=44")
    page.get_by_role("button", name="Step", exact=True).click()
    expect(page.locator(".plane text")).to_have_count(27)
    at = list(
        zip(
            numbers(page.locator(".plane text"), "x"),
            numbers(page.locator(".plane text"), "y"),
            strict=True,
        )
    )
    near = [
        (i, j)
        for i, (a, b) in enumerate(at)
        for j, (c, d) in enumerate(at[:i])
        if (a - c) ** 2 + (b - d) ** 2 < 0.1**2
    ]
    assert not near
