"""gpt.py and an edited copy, side by side: where they part, and how both learn."""

import math
import random
from collections.abc import Iterator
from dataclasses import asdict
from types import ModuleType
from typing import Any

from microgpt import dataset, gpt, xray
from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs.controls import Event
from microgpt.xray.recorder import load

STEPS = 100  # of gpt.py and its edited copy, side by side


def compare(question: Event, checkpoint: Checkpoint) -> Iterator[Event]:
    """Run gpt.py and an edited copy side by side: where they part, and how both learn."""
    text, source = str(question["text"]), str(question["source"])
    ours = xray.record(text, checkpoint)
    theirs = xray.record_source(source, text, checkpoint)
    parted = xray.diff(ours, theirs)
    yield {
        "line": [asdict(place) if place else None for place in (parted.line_a, parted.line_b)],
        "number": asdict(parted.number) if parted.number else None,
        "same": not parted,
        "failed": theirs.error,
        "losses": [ours.loss, theirs.loss],
    }
    if theirs.error:
        return
    documents = list(dataset.load("world").documents)
    random.Random(42).shuffle(documents)
    alphabet = "".join(sorted(set("".join(documents))))
    learners = [learn(module, documents, alphabet) for module in (gpt, load(source).module)]
    for step in range(STEPS):
        yield {"step": step + 1, "pair": [next(learner) for learner in learners]}
    yield {"names": [next(learner) for learner in learners], "done": True}


def learn(module: ModuleType, documents: list[str], alphabet: str) -> Iterator[Any]:
    """Yield the losses of STEPS steps of a gpt.py, and then some names: its main(), watched."""
    rng = random.Random(42)
    config = module.Config(len(alphabet) + 1, n_layer=1, n_embd=16, n_head=4, block_size=16)
    params = module.init(config, rng)
    weights = module.flat(params)
    m, v = [0.0] * len(weights), [0.0] * len(weights)
    for step in range(STEPS):
        loss = module.loss(params, config, module.encode(documents[step], alphabet))
        loss.backward()
        module.adam(weights, m, v, step, lr=0.01)
        if not math.isfinite(loss.data):
            raise ValueError(f"after {step} steps the loss is {loss.data}")
        yield loss.data
    yield [module.decode(module.sample(params, config, rng), alphabet) for _ in range(5)]
