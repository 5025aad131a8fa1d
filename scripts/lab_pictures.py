"""Take pictures of the lab's screens, in Debian's chromium.

python scripts/lab_pictures.py docs/lab
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

LAB = [sys.executable, "-c", "from microgpt.cli import main; main()", "lab"]
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def train(page: Page) -> None:
    """Begin a run, and wait until something is to be seen."""
    page.locator(".transport .strong").click()
    expect(page.locator(".transport .strong")).to_have_text("Train", timeout=60_000)


def edit(page: Page) -> None:
    """Make an edit, and wait until both versions have learned."""
    page.get_by_role("button", name="no residual").click()
    page.locator(".two").get_by_text("yours says").wait_for(timeout=60_000)


def measure(page: Page) -> None:
    """Measure again, now that the server is warm and the browser has settled."""
    for _ in range(3):
        with page.expect_response(lambda response: response.url.endswith("/engines")):
            page.get_by_role("button", name="Measure again").click()


def play(page: Page) -> None:
    """Let the cartridge make some names, and stop."""
    page.get_by_role("button", name="Play").click()
    expect(page.locator(".twenty li")).to_have_count(7, timeout=60_000)
    page.get_by_role("button", name="Pause").click()


def nothing(page: Page) -> None:
    """Wait for no more than the screen itself."""


PICTURES = {  # name: address, height, colours, and what to do first
    "play": ("play?text=ma", 1000, "light", nothing),
    "forward": ("forward?text=emma", 960, "light", nothing),
    "guess": ("forward?text=emma&step=50", 860, "dark", nothing),
    "backward": ("backward?text=emma&step=330", 960, "light", nothing),
    "training": ("training?steps=1000", 1180, "light", train),
    "engines": ("engines?text=emma", 760, "light", measure),
    "console": ("console", 1000, "light", play),
    "edit": ("edit", 860, "light", edit),
}


def main(folder: str) -> None:
    """Write a PNG of each screen, and of one on a phone, to a folder."""
    Path(folder).mkdir(exist_ok=True)
    command = [*LAB, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        found = (re.search(r"(http://\S+/)#(token=\S+)", line) for line in server.stdout)
        address = next(filter(None, found))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=QUIET
            )
            sizes = {name: (1280, height) for name, (_, height, _, _) in PICTURES.items()}
            for name, (width, height) in (sizes | {"phone": (390, 844)}).items():
                place, _, colours, prepare = PICTURES.get(name, PICTURES["forward"])
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if colours == "dark" else "light",
                    reduced_motion="reduce",
                )
                page.goto(f"{address[1]}#{place}&{address[2]}")
                page.locator(".view").wait_for()
                prepare(page)
                if name != "console":  # its events never end
                    page.wait_for_load_state("networkidle")
                page.screenshot(path=f"{folder}/{name}.png")
                page.close()
            browser.close()
        server.terminate()


main(sys.argv[1])
