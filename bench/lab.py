"""Measure the lab: how soon its page paints, and how long a step takes from press to page.

    python -m bench.lab [--out FILE.json]

The page is opened in Debian's chromium, which tells when it first painted; then so many clients at
once each have a run of their own, paused, and ask for a step four times a second: the time from the
question to its event is what a press of Step waits for.
"""

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

LAB = [sys.executable, "-m", "microgpt", "lab"]
OPENINGS, CLIENTS, STEPS = 5, 20, 25
PACE = 0.25  # seconds between two presses


@contextmanager
def lab() -> Iterator[tuple[int, str]]:
    """Run a lab; give its port and token."""
    command = [*LAB, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = (re.search(r":(\d+)/#token=(\S+)", line) for line in process.stdout)
        found = next(filter(None, lines))
        yield int(found[1]), found[2]
        process.terminate()


def open_page(port: int, token: str) -> dict[str, float]:
    """Return the milliseconds to first paint and to names on the screen, medians of openings."""
    paints, names = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for _ in range(OPENINGS):
            page = browser.new_context().new_page()
            page.goto(f"http://127.0.0.1:{port}/#token={token}")
            page.locator(".name").first.wait_for()
            names.append(page.evaluate("performance.now()"))
            entries = "performance.getEntriesByType('paint').map((e) => e.startTime)"
            paints.append(min(page.evaluate(entries)))
            page.context.close()
        browser.close()
    return {"first_paint_ms": statistics.median(paints), "names_ms": statistics.median(names)}


def post(port: int, token: str, path: str, question: dict[str, Any]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", path, json.dumps(question), {"Authorization": f"Bearer {token}"})
    return connection.getresponse()


def take_steps(
    port: int, token: str, waits: list[float], ready: threading.Barrier, late: float
) -> None:
    """Begin a paused run, and note the milliseconds from each order of a step to its event."""
    question = {"steps": STEPS + 1, "paused": True, "val": 0}
    with post(port, token, "/api/run/training", question) as events:
        run, began = "", 0.0
        for line in events:
            event = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            run = event.get("run", run)
            if event.get("at") == 0:
                ready.wait()
                began = time.perf_counter() - PACE + late  # not all in the same instant
            elif event.get("losses"):
                waits.append(1000 * (time.perf_counter() - began))
            if "at" in event:
                if event["at"] == STEPS:
                    return
                time.sleep(max(0, began + PACE - time.perf_counter()))
                began = time.perf_counter()
                post(port, token, f"/api/command/{run}", {"step": 1}).read()


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, help="write the figures to this file")
    out = parser.parse_args().out
    with lab() as (port, token):
        figures: dict[str, Any] = open_page(port, token)
        for clients in (1, CLIENTS):
            waits: list[float] = []
            ready = threading.Barrier(clients)
            threads = [
                threading.Thread(
                    target=take_steps, args=(port, token, waits, ready, PACE * i / clients)
                )
                for i in range(clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            waits.sort()
            figures[f"step_ms_{clients}_clients"] = {
                "median": statistics.median(waits),
                "p95": waits[int(0.95 * len(waits))],
            }
    figures |= {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps(figures, indent=2))
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
