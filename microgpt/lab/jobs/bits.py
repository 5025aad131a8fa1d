"""How many bits the integer engine needs: the loss of every Qm.n on names held out."""

import math
from collections.abc import Iterator
from typing import Any

from microgpt import dataset, engines
from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs.controls import Event
from microgpt.model import Model

HELD_OUT = 0.05  # of the names, where the model's record says nothing
NAMES = 200  # held out, that each Qm.n is measured on
WIDTHS = range(2, 17)  # bits


def measure(checkpoint: Checkpoint) -> Iterator[Event]:
    """Measure every Qm.n of the integer engine on names held out: how many bits does it need?

    A width can be divided in many ways. `choosing` says which is best: it is the loss on other
    names than those that `loss` is of.
    """
    model = Model(checkpoint.model())
    fraction = model.training.get("feed", {}).get("val")
    val, test = held_out(model, fraction or HELD_OUT)
    yield {
        "names": len(test),
        "unseen": bool(fraction),
        "float": sum(model.score(text).loss for text in test) / len(test),
        "uniform": math.log(model.config.vocab_size),
    }
    choosing, reported = ([model.tokenizer.encode(text) for text in part] for part in (val, test))
    for m, n in [(width - n, n) for width in WIDTHS for n in range(1, width)]:
        try:
            engine: Any = engines.create("fixed", model.config, model.checkpoint.state, m=m, n=n)
        except ValueError:  # sums of its products could leave 32 bits
            continue
        point = {"m": m, "n": n, "loss": engine.loss(reported), "saturations": engine.saturations}
        yield point | {"choosing": engine.loss(choosing)}
    yield {"done": True}


def held_out(model: Model, fraction: float) -> tuple[list[str], list[str]]:
    """Return names to choose by and names to report on, in letters that a model knows.

    Raises:
        ValueError: there are none.
    """
    parts = dataset.split(dataset.load("world").documents, fraction)
    known = set(model.tokenizer.characters)
    val, test = (
        [text for text in part if known.issuperset(text)][:NAMES]
        for part in (parts.val, parts.test)
    )
    if not (val and test):
        raise ValueError("the names held out are in letters that the model does not know")
    return val, test
