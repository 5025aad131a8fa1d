"""Measure how long the school's checks take, in CPython and in Pyodide: processor time.

    python -m bench.school [--out FILE.json]

Each lesson is checked three times, with the reference for the learner's file; the least counts.
Pyodide runs in Node, from tests/node_modules.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import report

ROOT = Path(__file__).parents[1]
PROGRAM = """
import json, sys, time
begun = time.process_time()
from microgpt.school.course import lessons
from microgpt.school.judge import judge
from microgpt.school.program import reference
judge(reference(), 1)
seconds = {"to load, and the first check": time.process_time() - begun}
for lesson in (each.number for each in lessons()):
    taken = []
    for _ in range(3):
        begun = time.process_time()
        verdict = judge(reference(), lesson)
        taken.append(time.process_time() - begun)
    assert verdict.failure is None, verdict
    seconds[f"lesson {lesson}"] = min(taken)
print(json.dumps(seconds))
"""


def run(*command: str) -> dict[str, float]:
    """Return what the program prints, in milliseconds rounded to two digits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(PROGRAM, "utf-8")
        done = subprocess.run(
            [*command, path], cwd=ROOT, capture_output=True, text=True, check=True
        )
    seconds = json.loads(done.stdout)
    return {name: float(f"{1000 * each:.2g}") for name, each in seconds.items()}


def measure() -> dict[str, Any]:
    """Return all that is measured, as JSON."""
    taken = {"CPython": run(sys.executable), "Pyodide": run("node", "tests/pyodide.mjs")}
    return {
        "machine": f"{platform.processor() or platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "ms": taken,
        "longest_ms": {
            name: max(each for lesson, each in times.items() if lesson.startswith("lesson"))
            for name, times in taken.items()
        },
    }


if __name__ == "__main__":
    report(measure, __file__, __doc__)
