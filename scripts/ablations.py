"""Measure the changes that the Edit screen suggests: does each one matter, on names held out?

python scripts/ablations.py [FILE]

FILE, by default microgpt/lab/static/ablations.json, holds the changes: what to call them, the text
of gpt.py to replace, what to replace it with, and why it matters or does not. Each edited gpt.py
learns from several seeds, as gpt.py itself does; FILE then says what both lose on names that
neither has learned from. Ten minutes on two cores.
"""

import json
import statistics
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from microgpt import gpt
from microgpt.lab.jobs.edit import LOOKS, STEPS, Learner
from microgpt.xray.recorder import load

FILE = Path(__file__).parents[1] / "microgpt" / "lab" / "static" / "ablations.json"
SOURCE = Path(gpt.__file__).read_text("utf-8")
SEEDS = (42, 43, 44)
NAMES = 200  # held out, the same for every change and seed: what is compared is paired


def main() -> None:
    """Measure what a file suggests, and write into it what came out."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    page = json.loads(path.read_text("utf-8"))
    sources = [SOURCE, *(edited(idea) for idea in page["ideas"])]
    with Pool() as pool:
        curves = pool.starmap(learn, [(source, seed) for source in sources for seed in SEEDS])
    ours, *theirs = [curves[i : i + len(SEEDS)] for i in range(0, len(curves), len(SEEDS))]
    page |= {"seeds": len(SEEDS), "names": NAMES, "looks": LOOKS, "ours": mean(ours)}
    for idea, yours in zip(page["ideas"], theirs, strict=True):
        idea["yours"] = mean(yours)
        pairs = zip(ours, yours, strict=True)
        idea["differences"] = [round(b[-1] - a[-1], 3) for a, b in pairs]
    path.write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", "utf-8")


def edited(idea: dict[str, Any]) -> str:
    """Return gpt.py with a change made.

    Raises:
        ValueError: the text to replace is not in gpt.py, or it is there more than once.
    """
    if (found := SOURCE.count(idea["from"])) != 1:
        raise ValueError(f"{idea['title']}: {idea['from']!r} is {found} times in gpt.py, not once")
    return SOURCE.replace(idea["from"], idea["to"])


def learn(source: str, seed: int) -> list[float]:
    """Return the losses on names held out (nats/token), at each look, of a gpt.py that learns."""
    learner, losses = Learner(load(source).module, seed), []
    for step in range(1, STEPS + 1):
        learner.step()
        if step in LOOKS:
            losses.append(learner.held_out(NAMES))
    return losses


def mean(curves: list[list[float]]) -> list[float]:
    """Return the mean of several runs, look by look."""
    return [round(statistics.mean(column), 3) for column in zip(*curves, strict=True)]


if __name__ == "__main__":
    main()
