"""Measure what lessons 13 to 16 say in numbers: post-training over seeds, and a tokenizer learned.

python scripts/lesson_runs.py [FILE]

FILE, by default microgpt/school/runs.json, holds a row for each seed. It is written after each, and
a run that was stopped goes on; delete what is to be measured again. A seed takes a minute.
"""

import json
import random
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import microgpt
from microgpt import dataset
from microgpt.config import Adam
from microgpt.dataset import Split
from microgpt.engines.base import TrainableEngine
from microgpt.evaluation import evaluate, greedy_reward, held_out_loss
from microgpt.files import write
from microgpt.llm.subwords import ByteLevel
from microgpt.model import Model
from microgpt.rewards import parse
from microgpt.rewards.builtin import answers
from microgpt.sampling import Sampling
from microgpt.training import Run, Settings
from microgpt.tuning import FineTuning, Preferences, Reference, Reinforcement, grow
from microgpt.tuning.completions import complete, text
from microgpt.tuning.feeds import AS_IT_IS, Tuning, differences

FILE = Path(__file__).parents[1] / "microgpt" / "school" / "runs.json"
SEEDS = (21, 22, 23, 24, 25)  # none of them chose a setting
HELD_OUT = 0.1  # of the names, for validation, and as much for test
QUESTIONS, ASKED = 2000, 300  # names that become questions: to learn from, and held out
LONGEST = 9  # letters of a name that fits into a question with its answer
REPLAY = 0.25
PAIRS = 200
MERGES = (0, 100, 500)
SHOWN = ("brittanie", "napoleone", "zyx")  # two names held out, and what is none
Row = dict[str, Any]


def main() -> None:
    """Measure what a file does not hold yet."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    ways: dict[str, Callable[[Model, int], Row]] = {
        "examples": examples,
        "rewards": rewarded,
        "preferences": preferences,
    }
    for seed in SEEDS:
        missing = [name for name in ways if str(seed) not in found.setdefault(name, {})]
        if not missing:
            continue
        base = microgpt.train("world", steps=2000, batch=32, val=HELD_OUT, seed=seed).model()
        for name in missing:
            found[name][str(seed)] = ways[name](base, seed)
        write(path, json.dumps(found, indent=1) + "\n")
        print(f"seed {seed}", flush=True)
    if "subwords" not in found:
        found["subwords"] = subwords()
        write(path, json.dumps(found, indent=1) + "\n")


def tuned(feed: Tuning, steps: int, lr: float) -> Model:
    """Return what a model becomes."""
    run = Run(feed, Settings(steps, lr, Adam(0.9)), start=feed.reference.checkpoint)
    for _ in run.advance():
        pass
    return run.model()


def question(name: str) -> str:
    """Return a name as a question, with its answer: the first letter and the length."""
    return f"{name}>\t{name[0]}{len(name)}"


def examples(base: Model, seed: int) -> Row:
    """Teach a model of names to answer questions: 1,000 steps, with and without the old names."""
    old = dataset.load("world")
    parts, rng = dataset.split(old.documents, HELD_OUT), random.Random(seed)
    learned, asked = (
        [question(name) for name in rng.sample(names, 2 * count) if len(name) <= LONGEST][:count]
        for names, count in ((parts.train, QUESTIONS), (parts.test, ASKED))
    )
    data = dataset.of(learned)
    check, prompts = answers(asked), [line.partition("\t")[0] for line in asked]
    reference = Reference("base", grow(base.checkpoint, "".join(data.documents).replace("\t", "")))
    whole = dataset.of([line.replace("\t", "") for line in data.documents])
    ways = {
        "answers alone": FineTuning(data, reference, 64, seed=seed),
        "all of it": FineTuning(whole, reference, 64, seed=seed),
        "replayed": FineTuning(data, reference, 64, 0, seed, REPLAY, old, HELD_OUT),
    }
    row: Row = {"learned": len(learned), "asked": len(asked)}
    row["before"] = {"old": round(held_out_loss(base, Split([], [], parts.test)), 3)}
    for way, feed in ways.items():
        model = tuned(feed, 1000, 0.01)
        row[way] = {
            "old": round(held_out_loss(model, Split([], [], parts.test)), 3),
            "right": round(greedy_reward(model, check, prompts), 3),
        }
    return row


def rewarded(base: Model, seed: int) -> Row:
    """Reward names that end in a vowel: with a hole, with the hole closed, and held by KL."""
    reference, reward = Reference("base", base.checkpoint), parse("vowel")
    row: Row = {"before": report(base, base, reward)}
    ways = {
        "hole": (0.0, False, 0.03),
        "no hole": (0.0, True, 0.03),
        "KL": (0.05, True, 0.03),
        "KL, slowly": (0.05, True, 0.003),
    }
    for way, (beta, ended, lr) in ways.items():
        feed = Reinforcement(reference, reward, "vowel", beta, seed=seed, ended=ended)
        row[way] = report(tuned(feed, 200, lr), base, reward)
    return row


def report(model: Model, base: Model, reward: Any) -> Row:
    """Return what became of a model that a reward has tuned."""
    found = evaluate(model, base, reward=reward)
    assert found.reward is not None
    assert found.kl is not None
    return {
        "reward": round(found.reward, 3),
        "kl": round(found.kl, 2),
        "distinct": round(found.distinct, 3),
        "unfinished": round(found.unfinished, 3),
        "commonest": found.commonest,
        "share": round(found.commonest_share, 3),
    }


def preferences(base: Model, seed: int) -> Row:
    """Prefer the shorter of two names that a model has written: DPO, held loosely and tightly."""
    written = complete(base.engine, [], 8 * PAIRS, seed, Sampling(1.0))
    names = [text(document, base.tokenizer) for document in written]
    both = zip(names[::2], names[1::2], strict=True)
    pairs = [sorted(pair, key=len) for pair in both if len(pair[0]) != len(pair[1]) and all(pair)]
    learned, held_out = pairs[:PAIRS], pairs[PAIRS : 2 * PAIRS]
    reference = Reference("base", base.checkpoint)
    row: Row = {}
    for beta in (0.1, 1.0):
        data = dataset.of(["\t".join(pair) for pair in learned])
        feed = Preferences(reference, data, beta, seed=seed)
        model = tuned(feed, 200, 0.001)
        chosen, rejected = feed.measures()["chosen"], feed.measures()["rejected"]
        batch = [base.tokenizer.encode(name)[:17] for pair in held_out for name in pair]
        assert isinstance(model.engine, TrainableEngine)
        ratios = differences(batch, model.engine.losses(batch), reference.losses(batch))
        sums = [sum(each) for each in ratios]
        after = complete(model.engine, [], 2000, seed + 1, AS_IT_IS)
        made = [text(document, base.tokenizer) for document in after]
        row[f"beta {beta:g}"] = {
            "chosen": round(chosen, 2),
            "rejected": round(rejected, 2),
            "won": round(
                statistics.mean(a > b for a, b in zip(sums[::2], sums[1::2], strict=True)), 3
            ),
            "letters": round(statistics.mean(map(len, made)), 2),
            "distinct": round(len(set(made)) / len(made), 3),
        }
    row["before"] = {"letters": round(statistics.mean(map(len, names)), 2)}
    return row


def subwords() -> Row:
    """Learn merges from nine tenths of the names; measure the tokens that the others become."""
    parts = dataset.split(dataset.load("world").documents, HELD_OUT)
    tokens = {}
    for count in MERGES:
        tokenizer = ByteLevel.train(parts.train, 256 + count)
        lengths = [len(tokenizer.encode(name)) for name in parts.test]
        tokens[str(count)] = round(statistics.mean(lengths), 2)
    shown = {
        name: [tokenizer.decode([token]) for token in tokenizer.encode(name)] for name in SHOWN
    }
    first = [tokenizer.decode([256 + i]) for i in range(8)]
    return {"tokens": tokens, "shown": shown, "first": first}


if __name__ == "__main__":
    main()
