"""Measure what it costs to watch gpt.py: time beside the same run unwatched, bytes of a trace.

    python -m bench.xray [--out FILE.json]

Both run in turns in one process, the collector off; the least of all rounds counts.
"""

import gc
import platform
import random
import time
from collections.abc import Callable

from bench import report
from microgpt import gpt, xray
from microgpt.config import GPTConfig
from microgpt.xray.trace import PARTS

ROUNDS = 7
NAME = "emily"


def run() -> None:
    """Learn from the name once, as record does, unwatched."""
    config = GPTConfig()
    params = gpt.init(config, random.Random(42))
    weights = gpt.flat(params)
    m, v = [0.0] * len(weights), [0.0] * len(weights)
    gpt.loss(params, config, gpt.encode(NAME, "abcdefghijklmnopqrstuvwxyz")).backward()
    gpt.adam(weights, m, v, 0, 0.01)


def least(jobs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the least milliseconds that each job took, the jobs run in turns."""
    taken = dict.fromkeys(jobs, float("inf"))
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            gc.collect()
            start = time.perf_counter()
            job()
            taken[name] = min(taken[name], 1000 * (time.perf_counter() - start))
    return taken


def measure() -> dict[str, object]:
    """Return all that is measured, as JSON."""
    gc.disable()
    taken = least({"unwatched": run, "watched": lambda: xray.record(NAME)})
    trace = xray.record(NAME)
    light = len(trace.to_json())
    return {
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
        "document": NAME,
        "ms": {name: round(ms, 2) for name, ms in taken.items()},
        "watched_over_unwatched": round(taken["watched"] / taken["unwatched"], 1),
        "statements": len(trace.events),
        "values": len(trace.data) - trace.first,
        "bytes": {"light": light} | {part: len(trace.to_json([part])) - light for part in PARTS},
    }


if __name__ == "__main__":
    report(measure, __file__, __doc__)
