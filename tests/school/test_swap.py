"""A variant of gpt.py: made of the right pieces, trained in fairness, judged with its spread."""

import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import pytest

from microgpt import dataset
from microgpt.school import swap
from microgpt.school.learner import Learner
from microgpt.school.source import Text, heart
from microgpt.xray.recorder import load

UNSCALED = heart().text("attention").replace(" / head_dim**0.5", "")
NAMES = dataset.load("world").documents


def plan(source: str, steps: int = 2, seeds: tuple[int, ...] = (42, 43)) -> swap.Plan:
    return swap.Plan(source, "mine.py", NAMES[:300], seeds, steps)


def test_only_what_is_named_is_taken() -> None:
    mine = Text(f"import cmath\nSCALE = 2\n{UNSCALED}\n\ndef flat(params): return []\n", "mine.py")
    source, taken = swap.variant(mine, ["attention"])
    assert taken == ["attention"]
    got = Text(source)
    assert got.text("attention") == UNSCALED
    others = heart().nodes.keys() - {"attention"}
    assert all(got.text(name) == heart().text(name) for name in others)
    assert "import cmath\n" in got.source
    assert got.nodes["SCALE"].lineno < got.nodes["attention"].lineno


def test_all_that_both_have_is_taken() -> None:
    source, taken = swap.variant(Text(f"{UNSCALED}\n\ndef flat(params): return []\n", "mine.py"))
    assert taken == ["flat", "attention"]
    assert load(source).module.flat(None) == []


def test_a_method_can_be_taken_alone() -> None:
    mine = "HELP = 1\nclass Value:\n    def relu(self): return self\n"
    source, _ = swap.variant(Text(mine, "mine.py"), ["Value.relu"])
    value = load(source).module.Value(-1)
    assert value.relu() is value


@pytest.mark.parametrize(
    ("source", "names", "complaint"),
    [
        ("def mine(): pass", [], "mine.py holds no function of gpt.py"),
        (UNSCALED, ["softmax"], "softmax is not in mine.py; in both are attention"),
        ("def mine(): pass", ["mine"], "mine is not in gpt.py; in both are none"),
        (
            "class Value:\n    def exp(self): raise NotImplementedError\n",
            [],
            "mine.py, line 2: Value.exp is not written yet; write it, or name the functions",
        ),
        (
            "class Value:\n    def exp(self): return 1\n    def log(self): return 2\n",
            [],
            "class Value of mine.py has no __init__; .*, name them: Value.exp Value.log",
        ),
        ("def attention(:", [], "mine.py, line 1: invalid syntax"),
    ],
)
def test_what_cannot_be_taken(source: str, names: list[str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        swap.variant(Text(source, "mine.py"), names)


def test_the_first_number_that_differs() -> None:
    source, _ = swap.variant(Text(UNSCALED, "mine.py"))
    parted = swap.part(source, "mine.py")
    assert parted.line_b
    assert "for k in keys" in parted.line_b.code
    assert parted.number
    assert not swap.part(heart().source, "same.py")


def test_another_way_to_the_same_numbers_differs_in_none() -> None:
    mine = """
def dot(a, b): return add([x * y for x, y in zip(a, b)])

def rmsnorm(x):
    mean = sum(v**2 for v in x) / len(x)
    return [v * (mean + 1e-5) ** -0.5 for v in x]

def softmax(logits):
    largest = max(z.data for z in logits)
    exps = [(z - largest).exp() for z in logits]
    total = sum(exps)
    return [e / total for e in exps]

def loss(params, config, tokens):
    keys, values = cache(config)
    losses = []
    for i in range(min(len(tokens) - 1, config.block_size)):
        logits = gpt(params, config, tokens[i], i, keys, values)
        losses.append(-softmax(logits)[tokens[i + 1]].log())
    return sum(losses) / len(losses)
"""
    source, _ = swap.variant(Text(mine, "mine.py"))
    parted = swap.part(source, "mine.py")
    assert parted.line_b
    assert parted.line_b.code == "losses = []"
    assert parted.number is None


def test_a_variant_that_fails_is_named_with_its_line() -> None:
    source, _ = swap.variant(Text("def rmsnorm(x):\n    return x / 2\n", "mine.py"))
    with pytest.raises(ValueError, match=r"mine.py does not run: TypeError.*, at return x / 2"):
        swap.part(source, "mine.py")


def test_what_is_rounding_is_no_difference() -> None:
    pairs = [(seed, 2.5, 2.5 + seed * 1e-7) for seed in (42, 43)]
    assert swap.Comparison(pairs, 1.0, ([], [])).verdict() == (
        "The losses are the same, to the fourth decimal."
    )


def test_runs_are_those_of_the_heart_and_are_made_once(tmp_path: Path) -> None:
    """A run in a process is a Learner's; gpt.py against itself differs in nothing."""
    wanted, results = plan(heart().source), swap.load_results(tmp_path / "none")
    last = [*swap.run(wanted, results, workers=2)][-1]
    assert last == 2 * len(wanted.jobs())
    learner = Learner(load(heart().source).module, NAMES[:300], 43, steps=2)
    learner.step()
    learner.step()
    found = swap.compare(wanted, results)
    assert found.pairs[1] == (43, *[learner.held_out(swap.HELD_OUT)] * 2)
    assert found.verdict() == "The losses are the same, to the last digit."
    swap.save_results(tmp_path / "kept.json", results)
    again = swap.load_results(tmp_path / "kept.json")
    assert again == results
    assert [*swap.run(wanted, again, workers=2)] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot send it to one process")
def test_a_run_hears_no_ctrl_c() -> None:
    """A terminal sends it to all processes of a command; only the first of them is to answer."""
    results: swap.Results = {}
    steps = swap.run(plan(heart().source, steps=30, seeds=(42,)), results, workers=2)
    next(steps)
    for child in multiprocessing.active_children():
        assert child.pid
        os.kill(child.pid, signal.SIGINT)
    assert [*steps][-1] == 60
    assert len(results) == 1, "gpt.py beside itself: one source, one result"


@pytest.mark.parametrize(
    ("mine", "reason"),
    [
        ("def adam(*given): weights.x = 1", "NameError: .*, in adam.*: def adam"),
        ("import os\ndef adam(*given): os._exit(7)", "its process ended with exit status 7"),
        ("def decode(tokens, alphabet): return 'x'", "decode.. does not give back 'a"),
        (UNSCALED.replace("return mix", "return [m * math.inf for m in mix]"), "the loss is nan"),
    ],
)
def test_a_run_that_fails_says_why(mine: str, reason: str) -> None:
    source, _ = swap.variant(Text(mine, "mine.py"))
    with pytest.raises(ValueError, match=f"mine.py, seed 42: .*{reason}"):
        list(swap.run(plan(source, seeds=(42,)), {}, workers=2))


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.01, -0.02, 0.015, 0.0, -0.01], "No difference seen: -0.0010, 95 % interval -0.0188"),
        ([0.0, 0.02, 0.005, 0.02, 0.01], "No difference seen: +0.0110, 95 % interval -0.0001"),
        ([0.05, 0.06, 0.04, 0.05, 0.055], "Worse than gpt.py: +0.0510"),
        ([-0.05, -0.06, -0.04], "Better than gpt.py: -0.0500, 95 % interval -0.0748 to -0.0252"),
        ([0.5], "One seed says nothing"),
        ([0.0, 0.0], "The losses are the same"),
    ],
)
def test_the_verdict_is_a_paired_t_test(differences: list[float], verdict: str) -> None:
    """The limits were computed by hand: mean +- t(n - 1) sd / sqrt(n)."""
    pairs = [(seed, 2.0, 2.0 + d) for seed, d in enumerate(differences)]
    assert swap.Comparison(pairs, 1.0, ([], [])).verdict().startswith(verdict)


@pytest.mark.parametrize("text", ["", "[]", '{"format": "other"}', '{"format": "microgpt swap 1"}'])
def test_results_that_are_something_else(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match="does not hold results of swap"):
        swap.load_results(tmp_path / "file")


def test_another_tokenizer_is_judged_by_its_own_tokens() -> None:
    """With the alphabet turned round the same loss is possible; it is of the same size at once."""
    turned = "def encode(doc, alphabet):\n    n = len(alphabet)\n"
    turned += "    return [n, *(n - 1 - alphabet.index(c) for c in doc), n]\n"
    turned += "def decode(tokens, alphabet):\n"
    turned += "    return ''.join(alphabet[len(alphabet) - 1 - t] for t in tokens)\n"
    source, _ = swap.variant(Text(turned, "mine.py"))
    learner = Learner(load(source).module, NAMES[:300], 42, steps=1)
    assert learner.held_out(10) == pytest.approx(math.log(27), abs=0.1)
