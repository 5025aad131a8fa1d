"""Measure how soon the command answers: `microgpt --help` beside an import of click alone.

    python -m bench.cli [--out FILE.json]

Both run in turns, each in a process of its own; the least of all rounds counts.
"""

import platform
import subprocess
import sys
import time

from bench import report

ROUNDS = 15
COMMANDS = {
    "import click": [sys.executable, "-c", "import click"],
    "microgpt --help": [sys.executable, "-m", "microgpt", "--help"],
}


def least() -> dict[str, float]:
    """Return the least milliseconds that each command took."""
    taken = dict.fromkeys(COMMANDS, float("inf"))
    for _ in range(ROUNDS):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            taken[name] = min(taken[name], 1000 * (time.perf_counter() - start))
    return taken


def measure() -> dict[str, object]:
    """Return all that is measured, as JSON."""
    taken = least()
    return {
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": time.strftime("%Y-%m-%d"),
        "ms": {name: round(ms, 1) for name, ms in taken.items()},
        "help_over_click": round(taken["microgpt --help"] / taken["import click"], 2),
    }


if __name__ == "__main__":
    report(measure, __file__, __doc__)
