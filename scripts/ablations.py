"""Measure the changes that the lab offers: does each one matter, on what was held out?

python scripts/ablations.py [FILE]

FILE, by default microgpt/lab/static/ablations.json, holds the changes: what to call them, the text
of gpt.py to replace, what to replace it with, why, and on which tasks to measure them. Each edited
gpt.py learns from several seeds, as gpt.py itself does; FILE then says what both lose on documents
that neither has learned from. It is written after each change, so a run that was stopped goes on;
what is to be measured again is set to null, and all of it is when gpt.py has changed.
A change takes five minutes on a quiet core.
"""

import hashlib
import json
import math
import statistics
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

from microgpt import dataset, gpt
from microgpt.bigram import Bigram
from microgpt.lab.jobs.edit import LOOKS, MIRRORED, documents
from microgpt.school.learner import SHARE, STEPS, Learner
from microgpt.tokenizer import Tokenizer
from microgpt.xray.recorder import load

FILE = Path(__file__).parents[1] / "microgpt" / "lab" / "static" / "ablations.json"
SOURCE = Path(gpt.__file__).read_text("utf-8")
SEEDS = (42, 43, 44)
HELD_OUT = 200  # documents, the same for every change and seed: what is compared is paired
LEAST = MIRRORED / (2 * MIRRORED + 1) * math.log(26)  # of mirror words: a half cannot be known


def main() -> None:
    """Measure what a file has not measured yet, and write into it what came out."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    page = json.loads(path.read_text("utf-8"))
    begin(page)
    with Pool() as pool:
        for task, ours in page["tasks"].items():
            wanted = [idea for idea in page["ideas"] if idea["measured"].get(task, idea) is None]
            if not wanted and "ours" in ours:
                continue
            own = pool.starmap(learn, [(SOURCE, seed, task) for seed in SEEDS])
            ours["ours"] = mean(own)
            for idea in wanted:
                curves = pool.starmap(learn, [(edited(idea), seed, task) for seed in SEEDS])
                differences = [round(b[-1] - a[-1], 3) for a, b in zip(own, curves, strict=True)]
                idea["measured"][task] = {"yours": mean(curves), "differences": differences}
                path.write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", "utf-8")
                print(task, idea["title"], differences, flush=True)
    path.write_text(json.dumps(page, ensure_ascii=False, indent=1) + "\n", "utf-8")


def begin(page: dict[str, Any]) -> None:
    """Say what is measured, and forget what was measured of another gpt.py."""
    sha256 = hashlib.sha256(SOURCE.encode()).hexdigest()
    if page.get("gpt.py") == sha256:
        return
    page |= {"gpt.py": sha256, "looks": LOOKS, "held_out": HELD_OUT, "seeds": len(SEEDS)}
    page["tasks"] = {"names": {"pairs": pairs("names")}, "mirror": {"pairs": pairs("mirror")}}
    page["tasks"]["mirror"]["least"] = round(LEAST, 3)
    for idea in page["ideas"]:
        idea["measured"] = dict.fromkeys(idea["measured"])


def edited(idea: dict[str, Any]) -> str:
    """Return gpt.py with a change made.

    Raises:
        ValueError: the text to replace is not in gpt.py, or it is there more than once.
    """
    if (found := SOURCE.count(idea["from"])) != 1:
        raise ValueError(f"{idea['title']}: {idea['from']!r} is {found} times in gpt.py, not once")
    return SOURCE.replace(idea["from"], idea["to"])


def learn(source: str, seed: int, task: str) -> list[float]:
    """Return the losses held out (nats/token), at each look, of a gpt.py that learns a task."""
    learner, losses = Learner(load(source).module, documents(task), seed), []
    for step in range(1, STEPS + 1):
        learner.step()
        if step in LOOKS:
            losses.append(learner.held_out(HELD_OUT))
    return losses


def pairs(task: str) -> float:
    """Return what counting pairs of letters loses on the same documents held out (nats/token)."""
    parts = dataset.split(documents(task), SHARE)
    tokenizer = Tokenizer.of(parts.train)
    block_size = 16
    table = Bigram.of(tokenizer.vocab_size, block_size, map(tokenizer.encode, parts.train))
    return round(table.loss([tokenizer.encode(text) for text in parts.test[:HELD_OUT]]), 3)


def mean(curves: list[list[float]]) -> list[float]:
    """Return the mean of several runs, look by look."""
    return [round(statistics.mean(column), 3) for column in zip(*curves, strict=True)]


if __name__ == "__main__":
    main()
