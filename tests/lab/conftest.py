"""What the lab's tests share: a running lab, its model, a browser that opens its page."""

import http.client
import json
import os
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from microgpt.lab.server import MODEL
from microgpt.model import Model
from tests.conftest import children

LAB = [sys.executable, "-m", "microgpt", "lab"]
PICTURES = os.environ.get("MICROGPT_PICTURES")  # a folder
CHROMIUM = shutil.which("chromium")
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Open = Callable[..., Page]
needs_axe = pytest.mark.skipif(
    not AXE.exists(), reason="axe-core is not installed: npm install --prefix tests"
)
expect.set_options(timeout=30_000)  # what is to be seen will be; this machine may be busy


@dataclass
class Lab:
    """A running lab: its process, its port, and the token and the place that it printed."""

    process: subprocess.Popen[str]
    port: int
    token: str
    place: str = ""  # of the page, where the address leads

    @contextmanager
    def send(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with closing(connection):
            connection.request(method, path, body, given)
            with connection.getresponse() as response:
                yield response

    def post(self, path: str, question: Any) -> tuple[int, Any]:
        with self.send("POST", path, json.dumps(question).encode()) as response:
            return response.status, json.load(response)


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if line.startswith(b"data: "):
            yield json.loads(line[len(b"data: ") :])


def start(*model: str, **environment: str) -> Lab:
    process = subprocess.Popen(
        [*LAB, *model, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/#(\S*)token=(\S+)", line):
            return Lab(process, int(found[1]), found[3], found[2].rstrip("&"))
    raise AssertionError("the lab printed no address")


def stop(lab: Lab) -> None:
    lab.process.terminate()
    lab.process.wait(30)
    assert lab.process.stdout
    lab.process.stdout.close()


def workers(lab: Lab) -> list[int]:
    """Return the processes that a lab has started and that still run."""
    return children(lab.process.pid)


def ended(pid: int) -> bool:
    """Wait until a process has ended, for half a minute at most."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watched], [], [], 30)[0])
    finally:
        os.close(watched)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    running = start()
    yield running
    stop(running)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(MODEL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM:
        pytest.skip("Debian's chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def show(browser: Browser, lab: Lab) -> Iterator[Open]:
    """Return a function that opens the lab at a screen; at the end, nothing went wrong or out."""
    contexts: list[BrowserContext] = []
    wrong: list[str] = []
    asked: list[str] = []

    def open_at(place: str = "play", width: int = 1280, height: int = 800, **how: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **how
        )
        contexts.append(context)
        context.on("request", lambda request: asked.append(request.url))
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on(
            "console", lambda line: wrong.append(line.text) if line.type == "error" else None
        )
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{lab.port}/#{place}&token={lab.token}")
        page.locator(f".view.{place.split('?')[0]}").wait_for()
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert not wrong
    assert {urlsplit(url).netloc for url in asked} <= {f"127.0.0.1:{lab.port}"}


def picture(page: Page, name: str, ready: Locator | None = None, alone: str = "") -> None:
    """Keep a picture of what a walk has come to, where pictures are asked for: `make docs` asks.

    It is taken once `ready` is there: of the page, or of one part alone, with room around it.
    """
    if PICTURES:
        if ready:
            ready.first.wait_for(state="attached", timeout=120_000)
        page.evaluate("document.activeElement.blur()")  # no ring around what was turned last
        path = f"{PICTURES}/{name}.png"
        if alone:
            place = "e => ({ x: e.offsetLeft - 24, y: e.offsetTop - 24, "
            place += "width: e.offsetWidth + 48, height: e.offsetHeight + 48 })"
            clip = page.locator(alone).evaluate(place)
            page.screenshot(path=path, full_page=True, clip=clip)
        else:
            page.screenshot(path=path)


def answered(page: Page) -> None:
    """Wait until nothing on a page is older than what was last asked."""
    expect(page.locator(".outdated")).to_have_count(0)


def numbers(found: Locator, attribute: str = "data-x") -> list[float]:
    """Return the numbers that elements carry, once the page is up to date."""
    answered(found.page)
    values = found.evaluate_all(f"all => all.map((e) => e.getAttribute('{attribute}'))")
    return [float(value) for value in values]


def close(seen: Any, expected: Any) -> bool:
    """Tell whether numbers agree as far as the engines do."""
    return np.allclose(np.array(seen), np.array(expected), rtol=1e-5, atol=1e-6)


def check_axe(page: Page, *parts: str) -> None:
    """Hold that axe finds nothing that keeps someone from a page, or from parts of it."""
    if not page.evaluate("() => Boolean(globalThis.axe)"):
        page.evaluate(AXE.read_text("utf-8"))
    among = {"include": [[part] for part in parts]} if parts else None
    found = page.evaluate("(among) => among ? axe.run(among) : axe.run()", among)["violations"]
    problems = [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found]
    assert not problems, f"{page.url}: {json.dumps(problems, indent=1)}"
