"""The numbers that the lessons speak of, each computed by a run.

    python -m microgpt.school.figures > microgpt/school/figures.json

A lesson writes {{name}} and gets what figures.json has under that name. Losses after training come
from the lab's ablations.json, which scripts/ablations.py measures in minutes, and what is said of
post-training and of subwords from runs.json, which scripts/lesson_runs.py does; all others are
computed here in a second or two, by gpt.py itself.
"""

import json
import math
import random
import statistics
from collections.abc import Sequence
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

from microgpt import dataset, gpt, xray
from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.model import Model
from microgpt.sampling import Sampling, probabilities
from microgpt.school import reference

NAME = "emma"  # what the lessons read
NUDGE = 0.01
FIRST = 100  # names that are read before anything is learned
ABLATIONS = files("microgpt.lab") / "static" / "ablations.json"
RUNS = files("microgpt") / "school" / "runs.json"
LOSSES = {  # what the lessons say of gpt.py with a change made: by task, the changes' titles
    "names": {
        "no attention": "no_attention",
        "no residual": "no_residual",
        "no correction": "no_correction",
        "= for +=": "overwritten",
        "the end left out": "no_end",
    },
    "mirror": {"no attention": "no_attention"},
}


def compute() -> dict[str, str]:
    """Return every figure by its name, as the lessons print it."""
    model = Model.load(SHIPPED, "scalar")
    return {
        **_surprises(model),
        **_slopes(model),
        **_graph(),
        **_attention(model),
        **_costs(),
        **_first(),
        **_policy(model),
        **_measured(),
        **_examples(),
        **_rewards(),
        **_preferences(),
        **_subwords(),
    }


def _surprises(model: Model) -> dict[str, str]:
    documents = dataset.load("world").documents
    chances = {"1": 1.0, "half": 0.5, "tenth": 0.1, "hundredth": 0.01}
    losses = model.score(NAME).losses
    after_q = _next(model, "q", 1.0)
    return {
        "names": f"{len(documents):,}",
        "guesses": f"{sum(len(name) + 1 for name in documents):,}",
        "u_after_q": _percent(after_q[model.tokenizer.ids("u")[0]]),
        "a_after_emm": _percent(_next(model, "emm", 1.0)[0]),
        **{f"surprise_{name}": f"{abs(math.log(p)):.2f}" for name, p in chances.items()},
        "ln27": f"{math.log(27):.3f}",
        "emma_e": f"{losses[0]:.2f}",
        "emma_a": f"{losses[3]:.2f}",
        "loss_emma": f"{model.score(NAME).loss:.2f}",
        "loss_amme": f"{model.score(NAME[::-1]).loss:.2f}",
        "perplexity_emma": f"{math.exp(model.score(NAME).loss):.1f}",
    }


def _slopes(model: Model) -> dict[str, str]:
    """Return slopes of x**3 at 2, and what a nudge of one parameter does to the loss of a name."""
    steps = {"1": 1.0, "3": 1e-3, "17": 1e-17}
    slopes = {name: reference.slope(lambda x: x**3, 2, h) for name, h in steps.items()}
    params = {
        name: [[gpt.Value(float(x)) for x in row] for row in matrix]
        for name, matrix in model.checkpoint.state.items()
    }
    tokens = model.tokenizer.encode(NAME)
    before = gpt.loss(params, model.config, tokens)
    before.backward()
    row = params["wte"][tokens[1]]
    place = max(range(len(row)), key=lambda i: abs(row[i].grad))
    row[place].data += NUDGE
    after = gpt.loss(params, model.config, tokens)
    return {
        "params": f"{model.config.n_params:,}",
        **{
            f"slope_{name}": f"{slope:.6f}".rstrip("0").rstrip(".")
            for name, slope in slopes.items()
        },
        "nudged_node": str(tokens[1] * model.config.n_embd + place),
        "nudged_grad": _signed(row[place].grad, 3),
        "nudged_said": _signed(row[place].grad * NUDGE, 5),
        "nudged_moved": _signed(after.data - before.data, 5),
    }


def _graph() -> dict[str, str]:
    trace = xray.record(NAME, SHIPPED, until="backward")
    assert trace.graph
    return {
        "values": f"{len(trace.data) - trace.first:,}",
        "turns": f"{len(trace.graph.steps):,}",
        "last_turn": str(len(trace.graph.steps) - 1),
        "paths": f"{2**22:,}",
        "softmax": ", ".join(
            f"{p.data:.2f}" for p in gpt.softmax([gpt.Value(z) for z in (1, 2, 3)])
        ),
    }


def _attention(model: Model) -> dict[str, str]:
    """Return what two heads look at from the last letter of a name."""
    weights = model.engine.inspect(model.tokenizer.encode(NAME)[:-1])["attention"][0]
    return {
        "head3_m": _percent(float(weights[3][-1][-2])),
        "head2_bos": _percent(float(weights[2][-1][0])),
    }


def _costs() -> dict[str, str]:
    """Return how many multiplications a name of full length takes, and where the parameters are."""
    config = gpt.Config(vocab_size=27, n_layer=1, n_embd=16, n_head=4, block_size=16)
    n, length = config.n_embd, config.block_size
    kept, again = (reference.multiplications(config, length, cached) for cached in (True, False))
    return {
        "n_embd": str(n),
        "attention": f"{4 * n * n:,}",
        "mlp": f"{8 * n * n:,}",
        "positions": str(length * (length + 1) // 2),
        "with_cache": f"{kept:,}",
        "without_cache": f"{again:,}",
        "cache_ratio": f"{again / kept:.1f}",
    }


def _first() -> dict[str, str]:
    """Return what gpt.py loses before it has learned anything, and Adam's first steps."""
    docs, rng = list(dataset.load("world").documents), random.Random(42)
    rng.shuffle(docs)
    alphabet = "".join(sorted(set("".join(docs))))
    config = GPTConfig(len(alphabet) + 1)
    fresh = Model(Checkpoint(config, alphabet, initial_state(config, rng)), "scalar")
    losses = [fresh.score(name).loss for name in docs[:FIRST]]
    weights: Any = [SimpleNamespace(data=0.0, grad=grad) for grad in (5, 0.005)]
    gpt.adam(weights, [0.0, 0.0], [0.0, 0.0], 0, 0.01)
    return {
        "first_loss": f"{losses[0]:.4f}",
        "first_count": str(FIRST),
        "first_mean": f"{sum(losses) / FIRST:.2f}",
        "adam_large": f"{abs(weights[0].data):.6f}",
        "adam_small": f"{abs(weights[1].data):.6f}",
    }


def _policy(model: Model) -> dict[str, str]:
    """Return what the temperature does to a guess and to names; and two numbers of Q8.8."""
    top = {name: max(_next(model, "ma", t)) for name, t in (("half", 0.5), ("one", 1), ("two", 2))}
    return {
        **{f"top_{name}": _percent(p) for name, p in top.items()},
        "names_half": ", ".join(model.sample(4, 0.5, seed=42)),
        "names_two": ", ".join(model.sample(4, 2.0, seed=42)),
        "tenth": str(round(0.1 * 256) / 256),
        "clamped": f"{reference.fixed_mul(200 * 256, 200 * 256, 8, 8) / 256:.3f}",
    }


def _measured() -> dict[str, str]:
    """Return what gpt.py loses on documents held out after 1,000 steps, whole or without a part."""
    page = json.loads(ABLATIONS.read_text("utf-8"))
    found: dict[str, str] = {}
    for task, ours in page["tasks"].items():
        found |= {f"{task}_{key}": f"{ours[key]:.2f}" for key in ("pairs", "least") if key in ours}
        found[f"{task}_ours"] = f"{ours['ours'][-1]:.2f}"
        for idea in page["ideas"]:
            measured = idea["measured"].get(task)
            if measured and (name := LOSSES[task].get(idea["title"])):
                found[f"{task}_{name}"] = f"{measured['yours'][-1]:.2f}"
    return found


def _examples() -> dict[str, str]:
    """Return what a model forgot that learned to answer questions (nats/token), and its answers."""
    seeds = _seeds("examples")
    shares = [row[way]["right"] for row in seeds for way in ("answers alone", "replayed")]
    return {
        "sft_learned": f"{seeds[0]['learned']:,}",
        "sft_asked": str(seeds[0]["asked"]),
        "sft_right": _percent(min(shares)),
        "sft_before": f"{statistics.mean(row['before']['old'] for row in seeds):.2f}",
        **_range("sft_alone", [row["answers alone"]["old"] for row in seeds], 1),
        **_range("sft_whole", [row["all of it"]["old"] for row in seeds], 1),
        **_range("sft_replayed", [row["replayed"]["old"] for row in seeds], 2),
    }


def _rewards() -> dict[str, str]:
    """Return what a model wrote, rewarded for vowels: with a hole, without it, held by KL."""
    seeds = _seeds("rewards")
    hole, closed, held = ([row[way] for row in seeds] for way in ("hole", "no hole", "KL"))
    unfinished = sum(row["unfinished"] > 0.9 for row in hole)
    return {
        **_range("rl_before", [row["before"]["reward"] for row in seeds], 2),
        "rl_hole_reward": f"{min(row['reward'] for row in hole):.2f}",
        "rl_hole_names": ", ".join(row["commonest"] for row in hole),
        "rl_unfinished": {2: "Two", 3: "Three", 4: "Four", 5: "All"}[unfinished],
        "rl_closed_names": ", ".join(row["commonest"] for row in closed),
        "rl_kl_names": ", ".join(row["commonest"] for row in held),
        "rl_kl_reward": f"{min(row['reward'] for row in held):.2f}",
        **_range("rl_kl", [row["kl"] for row in held], 2),
        "rl_distinct": _percent(min(row["distinct"] for row in held)),
    }


def _preferences() -> dict[str, str]:
    """Return what became of pairs of which the shorter was chosen, held loosely and tightly."""
    seeds = _seeds("preferences")
    found = {
        "dpo_ln2": f"{reference.dpo_loss(0.0, 0.0, 1.0):.3f}",
        "dpo_before_letters": f"{statistics.mean(row['before']['letters'] for row in seeds):.1f}",
    }
    for name, beta in (("dpo_loose", "beta 0.1"), ("dpo_tight", "beta 1")):
        rows = [row[beta] for row in seeds]
        found |= _range(f"{name}_chosen", [-row["chosen"] for row in rows], 1)
        found |= _range(f"{name}_letters", [row["letters"] for row in rows], 1)
        found[f"{name}_won"] = _percent(min(row["won"] for row in rows))
        if name == "dpo_loose":
            found |= _range(f"{name}_rejected", [-row["rejected"] for row in rows], 1)
    return found


def _subwords() -> dict[str, str]:
    """Return how many tokens a name becomes, and what was learned first."""
    runs = json.loads(RUNS.read_text("utf-8"))["subwords"]
    (_, none), (some, tokens), (more, fewer) = runs["tokens"].items()
    return {
        "bpe_0": f"{none:.1f}",
        "bpe_merges": some,
        "bpe_some": f"{tokens:.1f}",
        "bpe_more_merges": more,
        "bpe_more": f"{fewer:.1f}",
        "bpe_first": ", ".join(runs["first"]),
        **{f"bpe_{name}": f"`{' '.join(cut)}`" for name, cut in runs["shown"].items()},
    }


def _seeds(name: str) -> list[Any]:
    """Return what scripts/lesson_runs.py measured on each seed."""
    return [*json.loads(RUNS.read_text("utf-8"))[name].values()]


def _range(name: str, numbers: Sequence[float], digits: int) -> dict[str, str]:
    """Return the least and the most of some numbers."""
    return {
        f"{name}_least": f"{min(numbers):.{digits}f}",
        f"{name}_most": f"{max(numbers):.{digits}f}",
    }


def _next(model: Model, text: str, temperature: float) -> list[float]:
    tokens = [model.tokenizer.bos, *model.tokenizer.ids(text)]
    logits = model.engine.inspect(tokens)["logits"][-1].tolist()
    return probabilities(logits, Sampling(temperature))


def _signed(x: float, digits: int) -> str:
    return f"{x:.{digits}f}".replace("-", "\u2212")


def _percent(p: float) -> str:
    return f"{100 * p:.0f}"


if __name__ == "__main__":
    print(json.dumps(compute(), indent=1, ensure_ascii=False))
