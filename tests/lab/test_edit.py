"""The Edit screen and its job: where an edited gpt.py parts from gpt.py, and how both learn."""

import hashlib
import json
import math
import re
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from microgpt import dataset, gpt
from microgpt.lab.jobs.edit import HELD_OUT, LOOKS, MIRRORED, documents, race
from microgpt.lab.server import MODEL
from microgpt.model import Model
from microgpt.school.learner import SHARE, STEPS, Learner
from microgpt.xray.recorder import load
from tests.lab.conftest import Lab, Open, close, events, numbers, picture

NOISE = 0.008  # nats/token: what two seeds differ by
SOURCE = Path(gpt.__file__).read_text("utf-8")
MEASURED = json.loads(
    (Path(__file__).parents[2] / "microgpt" / "lab" / "static" / "ablations.json").read_text()
)
IDEAS = [
    pytest.param(idea, task, id=f"{idea['title']}, {task}")
    for idea in MEASURED["ideas"]
    for task in idea["measured"]
]


def clear(idea: dict[str, Any]) -> bool:
    """Whether all seeds say the same of a change, on names: it is worse, or does not matter."""
    differences = idea["measured"].get("names", {"differences": [math.nan]})["differences"]
    worse = all(difference > NOISE for difference in differences)
    return worse or all(abs(difference) < NOISE for difference in differences)


OFFERED = [idea for idea in MEASURED["ideas"] if clear(idea)]


# ---- The changes worth a look --------------------------------------------------------------------
@pytest.mark.parametrize(("idea", "task"), IDEAS)
def test_an_idea_changes_gpt_py_and_was_measured(idea: dict[str, Any], task: str) -> None:
    """A change of gpt.py's words must not leave a suggestion that changes nothing."""
    assert SOURCE.count(idea["from"]) == 1
    load(SOURCE.replace(idea["from"], idea["to"]))
    found, ours = idea["measured"][task], MEASURED["tasks"][task]["ours"]
    assert len(found["differences"]) == MEASURED["seeds"] >= 3
    assert len(found["yours"]) == len(ours) == len(MEASURED["looks"])
    mean = sum(found["differences"]) / MEASURED["seeds"]
    assert found["yours"][-1] - ours[-1] == pytest.approx(mean, abs=0.002)


def test_what_was_measured_is_what_the_job_does() -> None:
    assert tuple(MEASURED["looks"]) == LOOKS
    assert MEASURED["held_out"] >= HELD_OUT
    measured = hashlib.sha256(SOURCE.encode()).hexdigest()
    assert MEASURED["gpt.py"] == measured, "gpt.py has changed: run scripts/ablations.py"


def test_mirror_words_need_attention_and_positions() -> None:
    """Counting pairs fails there, gpt.py comes near the best that is possible."""
    words = documents("mirror")
    assert all(word == word[::-1] and len(word) == 2 * MIRRORED for word in words)
    task = MEASURED["tasks"]["mirror"]
    least = MIRRORED / (2 * MIRRORED + 1) * math.log(26)  # half of the letters cannot be known
    assert task["least"] == pytest.approx(least, abs=0.001)
    assert least < task["ours"][-1] < least + 0.1
    assert task["pairs"] > 2 * least
    for idea in MEASURED["ideas"]:
        if idea["title"] in ("no attention", "no positions"):
            assert min(idea["measured"]["mirror"]["differences"]) > 0.5


# ---- The job -------------------------------------------------------------------------------------
def edited(lab: Lab, old: str, new: str, most: int = 9) -> list[dict[str, Any]]:
    """Run an edited gpt.py; return its first events."""
    assert old in SOURCE
    question = {"text": "emma", "source": SOURCE.replace(old, new, 1)}
    with lab.send("POST", "/api/run/edit", json.dumps(question).encode()) as response:
        return [*islice(events(response), most)]


def test_an_edited_line_is_found_with_the_number_that_it_moves(lab: Lab, model: Model) -> None:
    _, _, parted, *pairs = edited(lab, "[t + p for t, p in zip(", "[t for t, p in zip(")
    line = SOURCE[: SOURCE.index("[t + p for")].count("\n") + 1
    assert [place["line"] for place in parted["line"]] == [line, line]
    wte, wpe = model.checkpoint.state["wte"], model.checkpoint.state["wpe"]
    assert parted["number"]["name"] == "x[0]"
    assert parted["number"]["a"] == pytest.approx(wte[26, 0] + wpe[0, 0])
    assert parted["number"]["b"] == pytest.approx(wte[26, 0])
    assert [event["step"] for event in pairs] == [1, 2, 3, 4, 5, 6]
    assert all(a != b for a, b in (event["pair"] for event in pairs))


def test_an_edit_of_what_comes_after_the_loss_is_found_too(lab: Lab) -> None:
    parted = edited(lab, "p.data -= lr", "p.data -= 2 * lr")[2]
    assert parted["number"]
    assert parted["losses"][0] == parted["losses"][1]


def test_an_unchanged_line_changes_nothing(lab: Lab) -> None:
    _, _, parted, *pairs = edited(lab, "x = rmsnorm(x)", "x = rmsnorm(x)  # the same")
    assert parted["same"]
    assert parted["losses"][0] == parted["losses"][1]
    assert all(a == b for a, b in (event["pair"] for event in pairs))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("def gpt(", "def gpt(("), "not Python"),
        (("class Value:", "class Number:"), "Value"),
        (("class Value:", "raise SystemExit(3)\nclass Value:"), "SystemExit"),
        (("    x = rmsnorm(x)\n", "    x = 1 / 0\n"), "division by zero"),
        (("    x = rmsnorm(x)\n", "    x = [0] * 10**10\n"), "memory"),
    ],
    ids=["syntax", "no Value", "exit", "error", "memory"],
)
def test_code_that_fails_says_how(lab: Lab, change: tuple[str, str], line: str) -> None:
    last = edited(lab, *change)[-1]
    message = last.get("error") or last["failed"]["message"]
    assert line.lower() in message.lower()


@pytest.mark.parametrize("place", ["    x = rmsnorm(x)\n", "        p.data -= "])
def test_a_loop_without_end_is_ended(place: str) -> None:
    """Whether it is there while both read the name, or only while they learn."""
    endless = re.match(" *", place)[0] + "while True: pass\n"  # type: ignore[index]
    source = SOURCE.replace(place, endless + place, 1)
    limited = "from microgpt.lab import process; process.SILENCE = 2; process.main()"
    with subprocess.Popen(
        [sys.executable, "-c", limited, str(MODEL)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdin
        assert running.stdout
        question = {"kind": "edit", "text": "emma", "source": source}
        running.stdin.write(json.dumps(question) + "\n")
        running.stdin.flush()
        *_, last = map(json.loads, running.stdout)
    assert "a loop never end" in last["error"]


def test_the_learners_are_scored_on_names_that_they_never_learn_from() -> None:
    learner = Learner(gpt, documents("names"))
    names = dataset.split(documents("names"), SHARE).test
    assert not {*learner.train} & {*names}
    before = learner.held_out(5)
    tokens = [gpt.encode(name, learner.alphabet) for name in names[:5]]
    losses = [gpt.loss(learner.params, learner.config, t).data for t in tokens]
    assert before == pytest.approx(sum(losses) / 5)


def test_a_loss_that_asks_for_less_is_scored_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held out, the end of a name counts, whatever the edited loss() leaves out."""
    idea = next(idea for idea in MEASURED["ideas"] if "end" in idea["title"])
    module = load(SOURCE.replace(idea["from"], idea["to"])).module
    ours, theirs = (Learner(each, documents("names")) for each in (gpt, module))
    assert theirs.held_out(5) == ours.held_out(5)
    monkeypatch.setattr("microgpt.lab.jobs.edit.LOOKS", (1,))
    first, look, *_ = islice(race([ours, theirs]), 2)
    assert first["pair"][0] != first["pair"][1]
    assert look["step"] == 1
    assert len(look["held_out"]) == len(look["said"]) == 2


# ---- The screen ----------------------------------------------------------------------------------
def area(page: Page) -> Any:
    return page.get_by_label("gpt.py, yours to change")


def test_edit(show: Open, model: Model) -> None:
    page = show("edit", height=860)
    source = area(page).input_value()
    area(page).fill(source.replace("[t + p for t, p in zip(", "[t for t, p in zip("))
    line = source[: source.index("[t + p for")].count("\n") + 1
    expect(page.locator(".code .edited")).to_have_attribute("data-line", str(line))
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".moved")).to_be_visible()
    wte, wpe = model.checkpoint.state["wte"], model.checkpoint.state["wpe"]
    assert close(numbers(page.locator(".moved [data-a]"), "data-a"), wte[26, 0] + wpe[0, 0])
    assert close(numbers(page.locator(".moved [data-b]"), "data-b"), wte[26, 0])
    expect(page.locator(".line.yours")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    area(page).fill(source + "\n(")
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".results .wrong")).to_contain_text("not Python")
    page.get_by_role("button", name="Undo all").click()
    assert area(page).input_value() == source
    expect(page.locator(".hint")).to_contain_text("Change a line")


def test_another_idea_ends_the_run_and_begins_its_own(show: Open) -> None:
    page = show("edit", height=860)
    page.get_by_role("button", name="no residual").click()
    expect(page.get_by_role("img", name="Loss after")).to_be_visible()
    for idea in OFFERED[1:3]:
        with page.expect_request("**/api/run/edit") as asked:
            page.get_by_role("button", name=idea["title"], exact=True).click()
        assert idea["to"] in json.loads(asked.value.post_data or "{}")["source"]
        expect(page.locator(".hint").first).to_have_text(idea["why"])
        expect(page.locator(".plus")).to_contain_text(idea["to"].strip().split("\n")[-1].strip())
        expect(page.get_by_role("img", name="Loss after")).to_be_visible()
        expect(page.locator(".hint").first).to_have_text(idea["why"])
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


def test_an_idea_is_judged_at_once_by_what_was_measured(show: Open) -> None:
    page = show("edit", height=860)
    page.route("**/api/run/edit", lambda route: None)  # never answered
    expect(page.locator(".ideas button")).to_have_text([idea["title"] for idea in OFFERED])
    for idea in OFFERED:
        measured = idea["measured"]["names"]
        page.get_by_role("button", name=idea["title"], exact=True).click()
        worse = min(measured["differences"]) > NOISE
        expected = "orse, with each of" if worse else "no difference here"
        expect(page.locator(".judged")).to_contain_text(expected)
        assert numbers(page.locator(".judged b[data-x]")) == [measured["yours"][-1]]
        assert page.locator(".beforehand.yours").get_attribute("d")
        assert page.locator(".code .edited").count()
        page.get_by_role("button", name="Undo all").click()
        expect(page.locator(".judged")).to_be_empty()
        expect(page.locator(".code .edited")).to_have_count(0)


def test_the_run_shows_held_out_names(show: Open) -> None:
    page = show("edit", height=860)
    page.get_by_role("button", name="no residual").click()
    picture(page, "edit", page.locator(".val.yours"))
    page.locator(".val.yours").wait_for(timeout=120_000)
    expect(page.locator(".two")).to_contain_text("yours says")
    expect(page.locator(".key")).to_contain_text(f"{HELD_OUT} names held out")
    expect(page.locator(".losses")).to_contain_text("loss, nats/token")
    expect(page.locator(".losses")).to_contain_text("steps")
    assert STEPS == 1000
    expect(page.locator(".losses")).to_contain_text("1,000")


def test_leaving_edit_keeps_the_code(show: Open) -> None:
    page = show("edit", height=860)
    changed = area(page).input_value().replace("[t + p for t, p in zip(", "[t for t, p in zip(")
    area(page).fill(changed)
    page.get_by_role("button", name="Run both").click()
    moved = page.locator(".moved")
    expect(moved).to_be_visible()
    before = moved.inner_text()
    page.keyboard.press("Alt+Digit2")
    page.locator(".view.play").wait_for()
    page.keyboard.press("Alt+Digit8")
    page.locator(".view.edit").wait_for()
    assert area(page).input_value() == changed
    assert moved.inner_text() == before
    expect(page.get_by_role("button", name="Run both")).to_be_visible()


def test_a_silent_run_counts_down(show: Open) -> None:
    page = show("edit", height=860)
    source = area(page).input_value()
    area(page).fill(source.replace("def rmsnorm(x):", "def rmsnorm(x):\n    while True: pass"))
    page.get_by_role("button", name="Run both").click()
    expect(page.locator(".countdown")).to_contain_text("The run is stopped in")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".countdown")).to_be_empty()


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_lies_on_anything_else(show: Open, width: int) -> None:
    page = show("edit", width, 700)
    page.get_by_role("button", name="no scaling").click()
    expect(page.locator(".moved")).to_be_visible()
    expect(page.get_by_role("img", name="Loss after")).to_be_visible()
    tops = "all => all.map((e) => e.getBoundingClientRect()).filter((r) => r.height)"
    places = page.locator(".results > *").evaluate_all(tops + ".map((r) => [r.top, r.bottom])")
    assert len(places) >= 5
    assert all(a[1] <= b[0] + 1 for a, b in pairwise(places))
