"""Measure the kernel in WebAssembly, in Node and in Chromium, beside the native engine.

    python -m bench.wasm [--out FILE.json] [--rounds N]

All take turns in one run, and the least time of all rounds counts; the ratios are what to read.
What is not there (Node, chromium) is left out.
"""

import argparse
import functools
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

from bench.heart import processor
from bench.native import STATE, VOCAB, batches, create, timed
from microgpt.config import GPTConfig
from microgpt.native.kernel import kernels
from tests.wasm import KERNEL, NODE, ROOT, Wasm

CONFIG = GPTConfig(vocab_size=VOCAB)
STEPS = {1: 600, 16: 60}  # in one call, by batch size
NAMES = 4000

Evaluate = Callable[[str, Any], Any]  # an expression in JavaScript, and what is given to it

SECONDS = """((work) => {
    const start = performance.now();
    work();
    return (performance.now() - start) / 1000;
})"""


@contextmanager
def node() -> Iterator[Evaluate]:
    engine = Wasm(CONFIG, STATE)
    yield engine.evaluate
    engine.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def chromium() -> Iterator[Evaluate]:
    """Open an empty page beside kernel.mjs."""
    handler = functools.partial(Quiet, directory=str(KERNEL.parent))
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/kernel.mjs")
        made = """async ([config, params]) => {
            const { compile, create } = await import("/kernel.mjs");
            globalThis.engine = await create(await compile("/kernel.wasm"), config);
            engine.load({ params });
        }"""
        flat = np.concatenate([STATE[name].ravel() for name, _ in CONFIG.shapes()])
        page.evaluate(made, [vars(CONFIG), flat.tolist()])

        def evaluate(expression: str, given: Any) -> Any:
            return page.evaluate(f"(given) => {expression}", given)

        yield evaluate
        browser.close()
        server.shutdown()


def measure(evaluate: Evaluate, work: dict[int, Any]) -> dict[str, float]:
    """Return µs a document by batch size, and names a second, of one turn."""
    figures = {}
    for size, calls in work.items():
        rates = [0.001] * len(calls)
        seconds = evaluate(f"{SECONDS}(() => engine.train(...given))", [calls, rates])
        figures[str(size)] = 1e6 * seconds / len(calls) / size
    seconds = evaluate(f"{SECONDS}(() => engine.sample(0, {NAMES}, 1))", None)
    return figures | {"names_a_second": NAMES / seconds}


def measure_native(simd: str, work: dict[int, Any]) -> dict[str, float]:
    engine: Any = create(simd, CONFIG, STATE)
    figures = {}
    for size, calls in work.items():
        rates = [0.001] * len(calls)
        seconds = timed(lambda: engine.train(calls, rates))  # noqa: B023
        figures[str(size)] = 1e6 * seconds / len(calls) / size
    seconds = timed(lambda: engine.sample_many(NAMES, 1, 0.5, None, None, []))
    return figures | {"names_a_second": NAMES / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the kernel in WebAssembly and natively.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "wasm.json")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    work = {size: batches(size, steps) for size, steps in STEPS.items()}
    with ExitStack() as stack:
        turns: dict[str, Callable[[], dict[str, float]]] = {
            f"native {simd}": functools.partial(measure_native, simd, work) for simd in kernels()
        }
        if NODE:
            turns["node"] = functools.partial(measure, stack.enter_context(node()), work)
        if shutil.which("chromium"):
            turns["chromium"] = functools.partial(measure, stack.enter_context(chromium()), work)
        best = dict[str, dict[str, float]]()
        for _ in range(given.rounds):
            for name, turn in turns.items():
                seen = best.setdefault(name, turn())
                for key, value in turn().items():
                    better = max if key == "names_a_second" else min
                    seen[key] = better(seen[key], value)
    portable = best["native portable"]
    figures = {
        "machine": processor(),
        "date": time.strftime("%Y-%m-%d"),
        "bytes": KERNEL.stat().st_size,
        "us_a_document": best,
        "times_native_portable": {
            name: {size: best[name][size] / portable[size] for size in ("1", "16")} for name in best
        },
    }
    print(json.dumps(figures, indent=2))
    given.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
