"""The sums of the flagship: what the script writes, and that a checker teaches them."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import microgpt
from bench import tuning as bench
from microgpt import dataset
from microgpt.rewards.builtin import answers
from microgpt.tuning import Reference, Reinforcement, sums

SCRIPT = Path(__file__).parents[1] / "scripts" / "sums.py"


def test_half_of_what_is_learned_is_wrong_and_a_fifth_is_held_out(tmp_path: Path) -> None:
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        subprocess.run([sys.executable, SCRIPT, tmp_path / folder, seed], check=True)
    noisy, again, other = ((tmp_path / f / "noisy.txt").read_text() for f in "abc")
    assert noisy == again != other
    lines = noisy.split()
    right = {problem: f"{problem}{answer:02}" for problem, answer in sums.problems().items()}
    prompts = Counter(line[:6] for line in lines)
    assert set(prompts.values()) == {sums.COPIES}
    assert sum(line == right[line[:6]] for line in lines) == len(lines) // 2
    assert all(0 <= int(line[6:]) <= 38 for line in lines)
    base = microgpt.train(lines, steps=1, block_size=10).model().checkpoint
    asked = dataset.load(str(tmp_path / "a" / "right.txt"))
    feed = Reinforcement(
        Reference("base", base), answers(asked.documents), prompts=asked, val=sums.HELD_OUT
    )
    assert set(feed.prompts) == set(prompts), "it is rewarded for what was learned only"
    assert 60 < len(feed.questions) < 100
    assert not set(feed.questions) & set(prompts)


@pytest.mark.slow
@pytest.mark.parametrize("seed", bench.SEEDS)
def test_a_checker_teaches_sums_that_it_never_saw(seed: int) -> None:
    """Likeliest answers right: .08 more at least; the mean of the seeds is in bench/tuning.json."""
    found = bench.one_seed(seed, ["reinforcement"])
    assert found["reinforcement"]["greedy"] >= found["before"]["greedy"] + 0.08
    assert found["reinforcement"]["sampled"] >= found["before"]["sampled"] + 0.3


def taken(figures: dict[str, Any], *names: str) -> list[Any]:
    return [figures[name] for name in names]


def test_the_tables_are_those_of_the_measurement() -> None:
    """What docs/post-training.md says is what bench/tuning.json holds."""
    root = Path(__file__).parents[1]
    measured = json.loads((root / "bench" / "tuning.json").read_text())
    page = (root / "docs" / "post-training.md").read_text("utf-8")
    cells = [[cell.strip() for cell in re.split("[|,]", line)[1:-1]] for line in page.splitlines()]
    means, tastes = measured["sums"]["means"], measured["tastes"]
    four = ("before", "after", "kl", "distinct")
    rows = [[way, *taken(f, "greedy", "sampled", "best_of_8")] for way, f in means.items()]
    rows += [taken(f, "reward", "beta", *four) for f in measured["rewards"]]
    rows += [
        taken(f, "reward", "beta", "after", "kl") + taken(f["exact"], "reward", "kl")
        for f in measured["closed_form"]
    ]
    rows += [[taste, *(f["mean"] for f in counts.values())] for taste, counts in tastes.items()]
    for name, *figures in rows:
        there = [row[1:] for row in cells if row[:1] == [name] and len(row) == len(figures) + 1]
        shown = [[*map(float, row)] for row in there]
        assert any(row == pytest.approx(figures, abs=0.0051) for row in shown), (name, figures)
    assert means["reinforcement"]["greedy"] >= 0.75
