"""The engines as this machine has them: microgpt engines and bench."""

import math
import os
import platform
import random
import time

from microgpt import engines
from microgpt.cli.commands import group
from microgpt.cli.terminal import say
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state


@group.command(name="engines")
def list_engines() -> None:
    """List the engines, and how to get those that are missing."""
    for name in engines.ENGINES:
        say(f"{name:10}{engines.about(name)}")


@group.command()
def bench() -> None:
    """Time a training step of each engine, beside gpt.py."""
    say(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}")
    say(f"{'engine':10}{'us a document, batch 1':>24}{'batch 16':>12}{'times gpt.py':>16}")
    speeds = {name: _time_steps(name) for name in reversed(engines.ENGINES)}
    for name, speed in speeds.items():
        if speed and speeds["scalar"]:
            times = speeds["scalar"][0] / speed[0]
            say(f"{name:10}{speed[0]:>24,.1f}{speed[1]:>12,.1f}{times:>16,.0f}")


def _time_steps(engine: str, seconds: float = 0.5) -> tuple[float, float] | None:
    """Return µs a document at batch 1 and at batch 16, the best of what fits the seconds.

    None if the engine is missing or cannot train.
    """
    if engines.missing(engine):
        return None
    config, rng = GPTConfig(), random.Random(42)
    try:
        trained = engines.create_trainable(engine, config, initial_state(config, rng))
    except (ValueError, OSError):
        return None
    docs = [[26, *(rng.randrange(26) for _ in range(6)), 26] for _ in range(16)]
    best = []
    for size in (1, 16):
        least, steps, end = math.inf, 1, time.perf_counter() + seconds
        while time.perf_counter() < end or least == math.inf:
            began = time.perf_counter()
            trained.train([docs[:size]] * steps, [1e-4] * steps)
            elapsed = time.perf_counter() - began
            least = min(least, 1e6 * elapsed / steps / size)
            steps = min(2 * steps, 1000) if elapsed < 0.01 else steps
        best.append(least)
    return best[0], best[1]
