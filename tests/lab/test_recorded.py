"""What the page shows before any engine has answered."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Route, expect

from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.lab.answers import Answers
from microgpt.lab.recorded import record
from microgpt.lab.server import STATIC
from microgpt.model import Model
from tests.lab.conftest import Lab, start, stop

RECORDED = STATIC / "recorded.json"


def agree(a: Any, b: Any) -> bool:
    """Tell whether answers say the same, their numbers as far as the engines agree."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(agree(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(agree, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return bool(np.isclose(a, b, rtol=1e-5, atol=1e-6))
    return bool(a == b)


def test_what_is_recorded_is_what_is_answered(lab: Lab) -> None:
    """Where this fails, gpt.py or what the page asks has changed: `make docs` records it again."""
    rows = json.loads(RECORDED.read_text("utf-8"))
    for name, question, answer in rows:
        status, live = lab.post(f"/api/ask/{name}", question)
        assert status == 200
        assert agree(answer, live), f"{name} {question}: run make docs"
    assert len(rows) == 9
    assert RECORDED.stat().st_size < 150_000


@pytest.mark.parametrize(
    ("screen", "parts"),
    [
        ("play", [".name", ".bar.first"]),
        ("forward", [".drawing .prob"]),
        ("backward", [".operations", ".ball", ".middle .grad"]),
    ],
)
def test_something_is_alive_before_the_engine_answers(
    browser: Browser, lab: Lab, screen: str, parts: list[str]
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        asked: list[str] = []

        def hold(route: Route) -> None:  # nothing is ever answered
            asked.append(route.request.url)

        page.route("**/api/**", hold)
        page.goto(f"http://127.0.0.1:{lab.port}/#{screen}&token={lab.token}")
        for part in parts:
            page.locator(part).first.wait_for(state="attached")
        assert {url.rsplit("/", 1)[1] for url in asked} <= {"host"}
        expect(page.locator("main .problem")).to_have_count(0)


def test_another_model_is_never_shown_with_the_recorded_numbers(
    browser: Browser, tmp_path: Path
) -> None:
    config = GPTConfig(vocab_size=5)
    other = Checkpoint(config, "emad", initial_state(config, random.Random(1)))
    other.save(tmp_path / "other.safetensors")
    lab = start(str(tmp_path / "other.safetensors"))
    try:
        with lab.send("GET", "/recorded.json") as response:
            assert json.load(response) == []
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{lab.port}/#play&token={lab.token}")
            expect(page.locator(".bar")).to_have_count(5)
            expect(page.locator(".name").first).to_be_visible()
    finally:
        stop(lab)


def test_a_model_that_cannot_read_the_first_name_is_recorded_without_it() -> None:
    config = GPTConfig(vocab_size=3, n_embd=4, n_head=2)
    other = Model(Checkpoint(config, "am", initial_state(config, random.Random(1))), "scalar")
    rows = record(Answers(other))
    assert [name for name, _, _ in rows] == ["model", "next", "names", "order"]
