"""The numbers that the lessons speak of, each computed by a run.

    python -m microgpt.school.figures > microgpt/school/figures.json

A lesson writes {{name}} and gets what figures.json has under that name. Losses after training come
from the lab's ablations.json, which scripts/ablations.py measures in minutes; all others are
computed here in a second or two, by gpt.py itself.
"""

import json
import math
import random
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
