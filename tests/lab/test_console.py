"""The cartridge in the page: it plays in real time, follows the pad, and ends when nobody looks.

Playing takes cc65 and an emulator core; where they are not, the page shows what was recorded.
"""

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.integers.base import generate
from microgpt.lab.jobs import console
from microgpt.lab.jobs.console import AHEAD, FRAME, Pad
from microgpt.lab.server import MODEL, STATIC
from microgpt.snes import emulator, rom
from tests.conftest import LETTERS
from tests.lab.conftest import Lab, Open, ended, events, picture, start, stop, workers
from tests.test_snes import missing

built = pytest.mark.skipif(missing() is not None, reason=str(missing()))
linux = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="watching a process needs Linux")
SELECT = "[data-button=select]"


@cache
def expected(cartridge: str) -> list[str]:
    """Return the names that the integer model makes of the seed that the game begins with."""
    shipped = Checkpoint.load(MODEL)
    model, names = rom.integers(cartridge, shipped.config, shipped.state), list[str]()
    for record in generate(model, 0x1990):
        names += [""] if record.position == 0 else []
        names[-1] += LETTERS[record.chosen : record.chosen + 1]
    return names


def source(page: Page) -> str:
    return page.locator(".picture").get_attribute("src") or ""


def changed(page: Page, before: str) -> str:
    """Wait until the page shows another picture; return it."""
    expect(page.locator(".picture")).not_to_have_attribute("src", before)
    return source(page)


# ---- The story -----------------------------------------------------------------------------------
@built
def test_the_cartridge_plays_in_the_page(show: Open) -> None:
    page = show("console?cartridge=turbo", height=960)
    names, go = page.locator(".twenty li"), page.locator(".transport .strong")
    expect(page.locator(".picture[src]")).to_be_visible()
    expect(go).to_have_text("Play")  # who wants less motion begins it by hand
    expect(page.locator(".about")).to_contain_text("turbo, 65,536 bytes of ROM")
    go.click()
    expect(names).to_have_text(expected("turbo"))
    rate = page.locator(".figures dd").first
    assert float(rate.inner_text()) > 60, "a token takes less than a frame"
    page.locator(".screen").focus()
    page.keyboard.press("Space")
    frames, step = page.locator(".figures dd").nth(2), page.get_by_role("button", name="One frame")
    for _ in range(3):  # until the last name is on the screen, too
        before = frames.inner_text()
        step.click()
        expect(frames).not_to_have_text(before)
    go.click()
    seen = [source(page)]
    for _ in range(4):  # inside, the names, inside, the names; as a screen reader presses it
        page.locator(SELECT).dispatch_event("click")
        seen.append(changed(page, seen[-1]))
    assert seen[3] == seen[1] != seen[2] == seen[4]
    page.locator(".screen").focus()
    page.keyboard.press("Shift")
    assert changed(page, seen[4]) == seen[1]
    held = page.locator("[data-button=start]")
    held.hover()
    page.mouse.down()
    expect(held).to_have_class("push held")
    page.mouse.up()
    expect(held).to_have_class("push")
    expect(names.first).not_to_have_text(expected("turbo")[0])  # another seed
    page.get_by_role("button", name="Reset").click()
    expect(names).to_have_text(expected("turbo"))
    page.locator(".screen").focus()
    page.keyboard.press("Space")
    expect(go).to_have_text("Play")
    page.evaluate("scrollTo(0, 0)")
    picture(page, "console")
    page.get_by_role("combobox").select_option("classic")
    assert "cartridge=classic" in page.url
    go.click()  # before the console is there
    expect(names.nth(1)).to_have_text(expected("classic")[1])
    expect(names.nth(0)).to_have_text(expected("classic")[0])
    expect(page.locator(".about")).to_contain_text("classic, 32,768 bytes of ROM")


@built
def test_while_it_is_paused_no_frame_passes_but_those_asked_for(show: Open) -> None:
    page = show("console")
    frames = page.locator(".figures dd").nth(2)
    step = page.get_by_role("button", name="One frame")
    for frame in range(1, 5):
        expect(frames).to_have_text(str(frame))
        step.click()


@built
@linux
def test_who_leaves_the_screen_ends_the_console(show: Open, lab: Lab) -> None:
    page = show("console")
    expect(page.locator(".picture[src]")).to_be_visible()
    (worker,) = workers(lab)
    page.keyboard.press("Alt+Digit2")
    assert ended(worker)


# ---- Where no console can run --------------------------------------------------------------------
def test_where_there_is_no_core_the_page_shows_a_recording(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from microgpt.snes import emulator, rom\n"
        "emulator.FOLDERS = ()\n"
        "rom.assemble = lambda *given: rom.Rom(b'MICROGPTclassic \\x01' + bytes(32751), {}, {})\n"
    )
    lab = start(PYTHONPATH=str(tmp_path))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/#console&token={lab.token}")
        expect(page.locator(".recorded")).to_be_visible()
        expect(page.locator(".recorded")).to_contain_text(emulator.HOW)
        assert page.locator(".twenty li").all_inner_texts() == expected("classic")
        size = page.locator(".picture").evaluate(
            "async (e) => { await e.decode(); return e.naturalWidth; }"
        )
        assert (source(page), size) == ("console-loop.png", 256)
        page.get_by_role("button", name="Pause", exact=True).click()
        assert source(page) == "console.png"
        expect(page.locator(SELECT)).to_be_disabled()
        with page.expect_download() as download:
            page.locator("#picture").click(modifiers=["Shift"])
        download.value.save_as(tmp_path / "console.svg")
        page.goto((tmp_path / "console.svg").as_uri())  # it is complete by itself
        drawn = "(e) => [e.naturalWidth, e.naturalHeight, e.width]"
        assert page.locator("img").evaluate(drawn) == [256, 224, 512]
    stop(lab)


def test_where_there_is_no_assembler_one_line_says_how_to_get_it() -> None:
    lab = start(PATH="")
    assert lab.post("/api/run/console", {}) == (422, {"error": rom.CC65})
    stop(lab)


def test_the_recording_is_of_the_model_that_ships() -> None:
    recorded = json.loads((STATIC / "console.json").read_text("utf-8"))
    assert recorded["names"] == expected("classic"), "run `make docs`"
    assert sum((STATIC / f).stat().st_size for f in ("console.png", "console-loop.png")) < 100_000


# ---- Commands -----------------------------------------------------------------------------
@built
def test_what_cannot_be_followed_is_said_and_the_game_goes_on(lab: Lab) -> None:
    junk: list[tuple[dict[str, Any], str]] = [
        ({"hold": ["fire"]}, "hold is ['fire']; it must be a list of b, y, select"),
        ({"hold": "start"}, "hold is 'start'"),
        ({"hold": [[]]}, "hold is [[]]"),
        ({"hold": None}, "hold is None"),
        ({"paused": "no"}, "paused is 'no'"),
        ({"step": 10**9}, "step is 1000000000"),
        ({"step": "x"}, "step is 'x'"),
        ({"seen": -1}, "seen is -1"),
        ({"seen": 1e400}, "seen is inf"),
        ({"reset": 1}, "reset is 1"),
        ({"wram": 0}, "the console knows no 'wram'"),
    ]
    with lab.send("POST", "/api/run/console", b'{"paused": true}') as response:
        heard = events(response)
        run = next(heard)["run"]
        lab.post(f"/api/command/{run}", {"step": 1})  # before the console is there
        assert next(heard)["cartridge"] == "classic"
        assert [event["frame"] for event in islice(heard, 2)] == [1, 2]
        lab.post(f"/api/command/{run}", {"seen": 2})
        for command, line in junk:
            assert lab.post(f"/api/command/{run}", command) == (200, {})
            error = next(heard)["error"]
            assert line in error
            assert "\n" not in error
        lab.post(f"/api/command/{run}", {"step": 2})
        assert [event["frame"] for event in islice(heard, 2)] == [3, 4]


def test_there_is_no_such_cartridge(lab: Lab) -> None:
    for name in ("nitro", ["turbo"], None):
        status, answer = lab.post("/api/run/console", {"cartridge": name})
        assert status == 422
        assert "there is no cartridge " in answer["error"]


@built
@linux
def test_a_killed_server_leaves_no_console() -> None:
    lab = start()
    with lab.send("POST", "/api/run/console", b'{"paused": true}') as response:
        heard = events(response)
        while "number" not in next(heard):
            pass
        (worker,) = workers(lab)
        lab.process.send_signal(signal.SIGKILL)
        assert ended(worker)
    stop(lab)


class Quick(Pad):
    """A pad whose console waits for no clock, and is switched off after some frames."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.left, self.times = frames, list[float]()

    def take(self, due: float) -> float:
        self.times.append(due)
        self.left -= 1
        if not self.left:
            raise EOFError
        return 0.0


@built
@pytest.mark.parametrize("reads", [False, True])
def test_pictures_wait_for_no_one_and_none_piles_up(reads: bool) -> None:
    """A page that does not say which pictures arrived gets no more; the game goes on."""
    shipped, events = Checkpoint.load(MODEL), list[dict[str, Any]]()
    pad = Quick(frames=240)

    made = console.make(shipped, shipped, "classic")
    with suppress(EOFError):
        for event in console.play(made, pad):
            assert isinstance(event, dict)
            events.append(event)
            pad.seen = event.get("number", 0) if reads else 0
    assert not pad.left
    numbers = [event["number"] for event in events[1:]]
    assert numbers == [*range(1, len(numbers) + 1)]
    assert len(numbers) > 20 if reads else len(numbers) == AHEAD
    assert all(len(json.dumps(event)) < 10_000 for event in events)
    assert all(b - a > 0.999 * FRAME for a, b in pairwise(pad.times)), "never faster than a console"


def test_a_frame_is_not_begun_before_its_time() -> None:
    pad, due = Pad(), time.monotonic() + 0.02
    while seconds := pad.take(due):
        pad.wait(seconds)
    assert time.monotonic() >= due


def test_a_button_let_go_before_a_frame_was_pressed_all_the_same() -> None:
    pad = Pad()
    pad.apply({"hold": ["up", "a"]})
    pad.apply({"hold": ["up"]})
    assert pad.read() == ({"up", "a"}, False)
    assert pad.read() == ({"up"}, False)
    pad.apply({"hold": [], "reset": True})
    assert pad.read() == (set(), True)
    assert pad.read() == (set(), False)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(emulator.BUTTONS),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from([*sorted(console.COMMANDS), "speed"]), anything))
def test_whatever_it_is_asked_it_follows_or_says_why_not(command: dict[str, Any]) -> None:
    pad = Pad()
    try:
        pad.apply(command)
    except ValueError:
        assert not pad.paused
        assert not pad.steps
        assert pad.read() == (set(), False), "nothing of it is applied"
    held, _ = pad.read()
    assert held <= {*emulator.BUTTONS}


# ---- What is played ------------------------------------------------------------------------------
@pytest.mark.skipif(not shutil.which("ca65"), reason=rom.CC65)
def test_a_model_that_does_not_fit_leaves_its_place_to_the_one_that_ships() -> None:
    shipped = Checkpoint.load(MODEL)
    own = Checkpoint(GPTConfig(), LETTERS, initial_state(GPTConfig(), random.Random(1)))
    wide = GPTConfig(n_embd=32)
    large = Checkpoint(wide, LETTERS, initial_state(wide, random.Random(1)))
    greek = Checkpoint(GPTConfig(), "αβγδεζηθικλμνξοπρστυφχψωςά", own.state)
    ships = console.make(shipped, shipped, "classic")
    assert ships["unfit"] is None
    assert "reads 16 positions, the classic cartridge 8" in ships["cut"]
    fits = console.make(own, shipped, "classic")
    assert (fits["rom"] != ships["rom"], fits["unfit"]) == (True, None)
    for other, line in ((large, "n_embd is 32"), (greek, "vocabulary is 'αβγ")):
        instead = console.make(other, shipped, "classic")
        assert instead["rom"] == ships["rom"]
        assert line in instead["unfit"]
