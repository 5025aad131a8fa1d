"""A model trained while the page watches: losses, and looks inside the run now and then."""

import math
import time
from collections.abc import Iterator
from itertools import chain
from typing import Any

from microgpt import dataset
from microgpt.arrays import Array
from microgpt.checkpoint import Checkpoint
from microgpt.feed import Pretraining
from microgpt.lab.jobs.controls import Dials, Event
from microgpt.lab.plane import Points, plane
from microgpt.training import Run, Settings

FRAME = 0.03  # seconds between two events: more often, no eye can tell
SHOWN = 0.2  # seconds between two looks inside, at least
SHARE = 5  # and this many times what a look costs, so that looking slows learning little


def train(question: Event, controls: Dials) -> Iterator[Event | float | Checkpoint]:
    """Train a model and show what happens; whenever it rests, yield the model as it is then."""
    name = question.pop("data", "world")
    if name not in ("world", "names"):
        raise ValueError(f"there are no documents {name!r}; there are world and names")
    data = dataset.load(name)
    engine = question.pop("engine", None)
    controls.speed = question.pop("speed", None)
    sizes = {
        name: question.pop(name)
        for name in ("n_layer", "n_embd", "n_head", "block_size")
        if name in question
    }
    fed = {name: question.pop(name) for name in ("batch", "val", "seed") if name in question}
    run = Run(Pretraining(data, **fed), Settings(**question), engine, sizes=sizes)
    uniform, bigram = run.baselines()
    yield {
        "documents": len(run.feed.documents),
        "n_params": run.config.n_params,
        "engine": run.engine_name,
        "vocabulary": run.feed.tokenizer.vocabulary,
        "uniform": uniform,
        "bigram": bigram,
        "steps": run.settings.steps,
    }
    look = Look(run)
    yield look(controls.follow, force=True)
    steps, losses, sent, due = run.advance(), list[float](), 0.0, 0.0
    while not run.finished:
        while seconds := controls.take(due if controls.speed else 0.0):
            yield seconds
        if controls.speed:
            due = max(due, time.monotonic() - 0.1) + 1 / controls.speed
        if controls.paused or controls.speed:
            steps = run.advance()  # afresh, it takes one step at first
        progress = next(steps)
        losses += progress.losses
        at_rest = controls.paused or run.finished
        if at_rest or progress.val_loss is not None or time.monotonic() - sent > FRAME:
            event: Event = {"step": progress.step, "losses": losses}
            if progress.val_loss is not None:
                event["val_loss"] = progress.val_loss
            yield event | look(controls.follow, at_rest)
            if at_rest:
                yield run.checkpoint().model()
            losses, sent = [], time.monotonic()
    yield {"done": True}


class Look:
    """Looks inside a run now and then: names, gradients, one parameter, the embeddings."""

    def __init__(self, run: Run[Pretraining]) -> None:
        self.run = run
        self.next = self.named = 0.0
        self.points: Points | None = None

    def __call__(self, follow: list[Any], force: bool = False) -> dict[str, Any]:
        """Return what is to be seen now; nothing where the last look was a moment ago."""
        now, run = time.monotonic(), self.run
        if not force and now < self.next:
            return {}
        batch, _ = run.feed.batch(run.step)
        gradients = run.engine.gradients(batch)  # those that the next step will follow
        state = run.engine.state()
        self.points = plane(state["wte"].tolist(), self.points)
        seen: dict[str, Any] = {
            "at": run.step,
            "document": run.feed.tokenizer.decode(batch[0][1:-1]),
            "norms": {name: math.hypot(*chain(*g.tolist())) for name, g in gradients.items()},
            "points": [[round(x, 4) for x in point] for point in self.points],
            "followed": self._follow(state, gradients, *follow),
        }
        if force or now > self.named:
            seen["names"] = run.model().sample(6, seed=run.feed.seed)
            self.named = time.monotonic() + 10 * (time.monotonic() - now)
        ended = time.monotonic()
        self.next = ended + max(SHOWN, SHARE * (ended - now))
        return seen

    def _follow(
        self, state: dict[str, Array], gradients: dict[str, Array], name: str, i: int, j: int
    ) -> dict[str, Any]:
        run, adam = self.run, self.run.settings.optimizer
        lr = run.settings.learning_rate(min(run.step, run.settings.steps - 1))
        t = run.step + 1
        grad = float(gradients[name][i][j])
        m = adam.beta1 * float(state[f"adam.m.{name}"][i][j]) + (1 - adam.beta1) * grad
        v = adam.beta2 * float(state[f"adam.v.{name}"][i][j]) + (1 - adam.beta2) * grad**2
        m_hat, v_hat = m / (1 - adam.beta1**t), v / (1 - adam.beta2**t)
        return {
            "name": f"{name}[{i}][{j}]",
            "value": float(state[name][i][j]),
            "grad": grad,
            "m": m_hat,
            "v": v_hat,
            "update": -lr * m_hat / (v_hat**0.5 + adam.eps),
        }
