"""Measure how soon the native engine answers Ctrl-C: from the signal to Python's KeyboardInterrupt.

    python -m bench.ctrl_c [--out FILE.json] [--interrupts N]

The signal comes at a random moment of one long call, from a process of its own that sends it and
notes the time; both clocks are the system's monotonic one. On a busy machine the answer waits for
its turn like everything else. Python's garbage collector is off: it would look
through the bench's own million lists now and then, for 0.1 s.
"""

import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.heart import processor
from bench.native import ROOT, VOCAB, batches, create
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.native.kernel import kernels

SEND = """
import os, signal, sys, time
time.sleep(float(sys.argv[2]))
print(time.monotonic(), flush=True)
os.kill(int(sys.argv[1]), signal.SIGINT)
"""


def engine(n_embd: int, n_layer: int = 1) -> Any:
    config = GPTConfig(n_layer=n_layer, n_embd=n_embd, vocab_size=VOCAB)
    return create(kernels()[0], config, initial_state(config, random.Random(42)), threads=None)


def work() -> dict[str, Callable[[], object]]:
    """Return calls that would take minutes."""
    small, large = engine(16), engine(256)
    one, many = [batches(1, 1)[0]] * 1_000_000, [batches(128, 1)[0]] * 1_000
    return {
        "train, the published sizes, batch 1": lambda: small.train(one, [0.0] * len(one)),
        "train, n_embd 256, batch 128": lambda: large.train(many, [0.0] * len(many)),
        "gradients, n_embd 256, 100,000 documents": lambda: large.gradients(batches(100_000, 1)[0]),
        "sample_many, the published sizes": lambda: small.sample_many(
            10**8, 1, 0.5, None, None, []
        ),
        "sample_many, n_embd 256": lambda: large.sample_many(10**8, 1, 0.5, None, None, []),
    }


def interrupt(call: Callable[[], object], delay: float) -> float:
    """Return the milliseconds from the signal to its exception."""
    command = [sys.executable, "-c", SEND, str(os.getpid()), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sender:
        try:
            call()
        except KeyboardInterrupt:
            answered = time.monotonic()
        else:
            raise RuntimeError("the call ended before it was interrupted")
        assert sender.stdout
        return 1000 * (answered - float(sender.stdout.read()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the native engine's answer to Ctrl-C.")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "ctrl_c.json")
    parser.add_argument("--interrupts", type=int, default=30)
    given = parser.parse_args()
    rng, times = random.Random(1), dict[str, list[float]]()
    calls = work()
    gc.disable()
    for _ in range(given.interrupts):
        for name, call in calls.items():
            times.setdefault(name, []).append(interrupt(call, rng.uniform(0.1, 0.3)))
    figures = {
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "date": time.strftime("%Y-%m-%d"),
        "interrupts": given.interrupts,
        "milliseconds": {
            name: {"median": statistics.median(answers), "most": max(answers)}
            for name, answers in times.items()
        },
    }
    print(json.dumps(figures, indent=2))
    given.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
