"""Measure how soon the command answers: `microgpt --help` beside an import of click alone.

    python -m bench.cli [--out FILE.json]

Both run in turns, each in a process of its own; the least of all rounds counts.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path

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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    out = parser.parse_args().out
    text = json.dumps(measure(), indent=2)
    out.write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
