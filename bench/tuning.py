"""Measure post-training: sums in four ways, rewards beside their exact optimum, and tastes.

    python -m bench.tuning [--out FILE.json]

Sums: on fresh seeds a model learns from scripts/sums.py, half of whose answers are wrong; then it
goes on from there in four ways, for as many steps of as many documents. All figures are of problems
that none of them learned from. Rewards: a model of the names, tuned with KL, beside what the closed
form says of the same reward and beta.
"""

import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import microgpt
from bench import report
from microgpt import dataset
from microgpt.config import Adam
from microgpt.evaluation import evaluate, greedy_reward
from microgpt.model import Model
from microgpt.rewards import Reward, judge
from microgpt.rewards.builtin import answers
from microgpt.sampling import Sampling
from microgpt.training import Run, Settings
from microgpt.tuning import (
    FineTuning,
    Preferences,
    Reference,
    Reinforcement,
    Rejection,
    lineage,
)
from microgpt.tuning.completions import complete, text
from microgpt.tuning.feeds import Tuning
from microgpt.tuning.optimum import optimum

SUMS = Path(__file__).parents[1] / "scripts" / "sums.py"
SEEDS = (11, 12, 13, 14, 15)  # none of them chose a setting
STEPS, BATCH, LR = 1000, 128, 0.003  # after pretraining, in each of the four ways
PRETRAINING = {"steps": 1000, "batch": 32, "n_embd": 32, "block_size": 10}
TRIES = 8
REWARDS = {"vowel": 0.05, "length:5": 0.05, "has:z": 0.05, "novel": 0.05, "like:world": 0.2}
CLOSED = {"vowel": 0.3, "has:z": 0.3, "like:world": 0.2}  # at these beta the optimum is known well
TASTES: dict[str, Callable[[str], float]] = {
    "short": lambda name: -len(name),
    "ends in a": lambda name: float(name.endswith("a")),
    "many vowels": lambda name: sum(letter in "aeiou" for letter in name) / len(name),
}
CHOICES = (10, 25, 50, 100)


def measure() -> dict[str, Any]:
    """Return all that is measured, as JSON."""
    return {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "sums": sums(),
        "rewards": [reward(name, beta) for name, beta in REWARDS.items()],
        "closed_form": [closed_form(name, beta) for name, beta in CLOSED.items()],
        "tastes": tastes(),
    }


def sums() -> dict[str, Any]:
    """Return the figures of each way on each seed, and their means."""
    seeds = {seed: one_seed(seed) for seed in SEEDS}
    means = {
        way: {
            figure: round(statistics.mean(s[way][figure] for s in seeds.values()), 3)
            for figure in ("greedy", "sampled", "best_of_8")
        }
        for way in seeds[SEEDS[0]]
    }
    return {"steps": STEPS, "batch": BATCH, "means": means, "seeds": seeds}


def one_seed(seed: int, only: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Return what a base knows of the problems held out, and after each way, or only some."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, SUMS, folder, str(seed)], check=True)
        noisy, right = (dataset.load(f"{folder}/{name}.txt") for name in ("noisy", "right"))
    began = time.perf_counter()
    sizes: dict[str, Any] = PRETRAINING
    base = microgpt.train(noisy.documents, seed=seed, **sizes).model()
    seconds = {"before": time.perf_counter() - began}
    reference, check = Reference("base", base.checkpoint), answers(right.documents)
    learned = Reinforcement(reference, check, "", 0.0, BATCH, right, val=0.1, seed=seed)
    clean = [line for line in right.documents if line.partition("\t")[0] in set(learned.prompts)]
    ways: dict[str, Tuning] = {
        "reinforcement": learned,
        "rejection": Rejection(reference, check, "", 0.0, BATCH, right, val=0.1, seed=seed),
        "right answers": FineTuning(dataset.of(clean), reference, BATCH, seed=seed),
        "more pretraining": FineTuning(noisy, reference, BATCH, seed=seed),
    }
    models = {"before": base}
    for way, feed in ways.items():
        if only and way not in only:
            continue
        began = time.perf_counter()
        models[way] = run(feed, base)
        seconds[way] = time.perf_counter() - began
    return {
        way: figures(model, check, learned.questions) | {"seconds": round(seconds[way], 1)}
        for way, model in models.items()
    }


def run(feed: Tuning, base: Model) -> Model:
    """Return what a model becomes."""
    going = Run(feed, Settings(STEPS, LR, Adam(0.9)), start=base.checkpoint)
    for _ in going.advance():
        pass
    return going.model()


def figures(model: Model, check: Reward, questions: Sequence[str]) -> dict[str, float]:
    """Return the shares of problems answered: likeliest answer, one sample, the best of 8."""
    hits = []
    for i, question in enumerate(questions):
        ids = model.tokenizer.ids(question)
        tried = complete(model.engine, ids, TRIES, i, Sampling(1.0))
        hits.append(judge(check, [text(document, model.tokenizer) for document in tried]))
    return {
        "greedy": round(greedy_reward(model, check, questions), 3),
        "sampled": round(statistics.mean(map(statistics.mean, hits)), 3),
        "best_of_8": round(statistics.mean(map(max, hits)), 3),
    }


def tuned(name: str, beta: float, lr: float) -> dict[str, Any]:
    """Return where 200 steps lead a model of the names, and how long they take."""
    base = microgpt.train("names", steps=3000, batch=32, val=0.1, seed=SEEDS[0]).model()
    judged = lineage.reward(base.checkpoint, name)
    feed = Reinforcement(Reference("base", base.checkpoint), judged, name, beta, seed=SEEDS[0])
    began = time.perf_counter()
    going = Run(feed, Settings(200, lr, Adam(0.9)), start=base.checkpoint)
    for _ in going.advance():
        pass
    seconds = time.perf_counter() - began
    before, after = (evaluate(m, base, reward=judged) for m in (base, going.model()))
    assert before.reward is not None
    assert after.reward is not None
    assert after.kl is not None
    return {
        "reward": name,
        "beta": beta,
        "lr": lr,
        "before": round(before.reward, 3),
        "after": round(after.reward, 3),
        "kl": round(after.kl, 3),
        "distinct": round(after.distinct, 3),
        "seconds": round(seconds, 1),
        "base": base,
    }


def reward(name: str, beta: float) -> dict[str, Any]:
    """Return what a reward's default settings reach."""
    found = tuned(name, beta, LR)
    del found["base"]
    return found


def closed_form(name: str, beta: float) -> dict[str, Any]:
    """Return where training ends, and where the closed form says it does."""
    found = tuned(name, beta, 0.01)
    base = found.pop("base")
    written = complete(base.engine, [], 20_000, 1, Sampling(1.0))
    texts = [text(document, base.tokenizer) for document in written]
    best = optimum(judge(lineage.reward(base.checkpoint, name), texts), beta)
    exact = {"reward": best.reward, "kl": best.kl, "effective": best.effective}
    return found | {"exact": {name: round(value, 3) for name, value in exact.items()}}


def tastes() -> dict[str, dict[int, dict[str, float]]]:
    """Return how often a new name is liked better than an old one; 0.5 means no difference."""
    base = microgpt.train("names", steps=3000, batch=32, val=0.1, seed=SEEDS[0]).model()
    found: dict[str, dict[int, dict[str, float]]] = {}
    for taste, worth in TASTES.items():
        for count in CHOICES:
            shares = [liked(base, worth, count, seed) for seed in SEEDS]
            figures = {"mean": statistics.mean(shares), "least": min(shares), "most": max(shares)}
            rounded = {name: round(value, 3) for name, value in figures.items()}
            found.setdefault(taste, {})[count] = rounded
    return found


def liked(base: Model, worth: Callable[[str], float], count: int, seed: int) -> float:
    """Return the share of new names liked better than old ones, equally liked ones half."""
    names = [name for name in base.sample(30 * count, 1.0, seed=seed) if name]
    pairs = [pair for pair in zip(names[::2], names[1::2], strict=False) if differ(worth, *pair)]
    lines = ["\t".join(sorted(pair, key=worth, reverse=True)) for pair in pairs[:count]]
    assert len(lines) == count
    feed = Preferences(Reference("base", base.checkpoint), dataset.of(lines), seed=seed)
    going = Run(feed, Settings(100, 0.001, Adam(0.9)), start=base.checkpoint)
    for _ in going.advance():
        pass
    new, old = (model.sample(2000, 1.0, seed=seed + 1) for model in (going.model(), base))
    earned = zip(map(worth, filter(None, new)), map(worth, filter(None, old[::-1])), strict=False)
    return statistics.mean((a > b) + (a == b) / 2 for a, b in earned)


def differ(worth: Callable[[str], float], first: str, second: str) -> bool:
    """Tell whether one of two names is liked better."""
    return worth(first) != worth(second)


if __name__ == "__main__":
    report(measure, __file__, __doc__)
