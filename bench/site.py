"""Measure the exported lab: its size, how soon it paints and Python answers, how fast it trains.

    python -m bench.site [--pyodide DIR] [--out FILE.json]

The site is served by http.server on this machine and opened in Debian's chromium, whose own clock
tells the times; the network of a real page comes on top of them.
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from microgpt.lab.export import export

OPENINGS = 5
STEPS = {"wasm": 10_000, "scalar": 100}
# Notes when the page receives each step of a run.
NOTE = """
globalThis.steps = [];
globalThis.Worker = class extends Worker {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({ data }) => {
      const step = data.event && JSON.parse(data.event).step;
      if (step) steps.push([step, performance.now()]);
    });
  }
};
"""


class Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; give its address."""
    handler = partial(Files, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def open_page(browser: Browser, address: str) -> Page:
    """Open the site in a fresh context."""
    page = browser.new_context().new_page()
    page.add_init_script(NOTE)
    page.goto(address)
    return page


def times(page: Page) -> dict[str, float]:
    """Return the milliseconds to first paint, to names on the screen, and to a live answer."""
    page.locator(".name").first.wait_for()
    names = page.evaluate("() => performance.now()")
    page.get_by_label("The beginning of a name").fill("chr")  # nobody recorded that
    expect(page.locator(".under span")).to_have_count(3, timeout=60_000)
    answered = page.evaluate("() => performance.now()")
    paints = page.evaluate("() => performance.getEntriesByType('paint').map((e) => e.startTime)")
    return {"first_paint_ms": min(paints), "names_ms": names, "python_ms": answered}


def speed(page: Page, engine: str) -> float:
    """Return the steps a second of a run of the published model, batch 1, as fast as it goes."""
    place = f"training?engine={engine}&val=0&steps={STEPS[engine]}"
    page.evaluate("(place) => { steps.length = 0; location.hash = place; }", place)
    expect(page.locator("[data-key=steps]")).to_have_value(str(STEPS[engine]))
    page.get_by_label("Speed").fill("6")
    page.get_by_role("button", name="Train", exact=True).click()
    done = f"step {STEPS[engine]:,} of {STEPS[engine]:,}"
    expect(page.locator(".headline")).to_contain_text(done, timeout=120_000)
    (first, began), *_, (last, ended) = page.evaluate("() => steps")
    return float(1000 * (last - first) / (ended - began))


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--pyodide", default="tests/node_modules/pyodide", help="from npm")
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = export([], f"{folder}/site", given.pyodide)
        files = [file for file in site.rglob("*") if file.is_file()]
        figures: dict[str, Any] = {
            "files": len(files),
            "bytes": sum(file.stat().st_size for file in files),
            "bytes_gzipped": sum(len(gzip.compress(file.read_bytes())) for file in files),
        }
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        with served(site) as address:
            opened = []
            for _ in range(OPENINGS):
                page = open_page(browser, address)
                opened.append(times(page))
                if len(opened) < OPENINGS:
                    page.context.close()
            figures |= {name: statistics.median(o[name] for o in opened) for name in opened[0]}
            figures["steps_per_second"] = {engine: speed(page, engine) for engine in STEPS}
        figures |= {"chromium": browser.version, "cores": os.cpu_count()}
        figures["load"] = os.getloadavg()[0]  # of the machine: above its cores, times are too long
        browser.close()
    print(json.dumps(figures, indent=2))
    if given.out:
        given.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
