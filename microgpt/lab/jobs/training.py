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
from microgpt.lab.jobs.controls import Event, TrainingDials
from microgpt.lab.plane import Points, plane
from microgpt.training import Run, Settings

FRAME = 0.03  # seconds between two events: more often, no eye can tell
SHOWN = 0.2  # seconds between two looks inside, at least
SHARE = 5  # and this many times what a look costs, so that looking slows learning little
OWN = "own"  # the list that the question brings along
DATA = ("world", "names", OWN)
FEW = 100  # of a list of fewer different documents, none are held out
SIZES = ("n_layer", "n_embd", "n_head", "block_size")


def train(question: Event, controls: TrainingDials) -> Iterator[Event | float | Checkpoint]:
    """Train a model and show what happens; whenever it rests, yield the model as it is then."""
    followed = question.pop("follow", ["lm_head", 0, 0])
    controls.begin({"speed": question.pop("speed", None), "follow": followed})
    run = begin(question)
    uniform, bigram = run.baselines(run.val)  # one set for all that is compared
    yield {
        "documents": len(run.feed.documents),
        "held_out": len(run.val),
        "n_params": run.config.n_params,
        "engine": run.engine_name,
        "vocabulary": run.feed.tokenizer.characters,
        "uniform": uniform,
        "bigram": bigram,
        "steps": run.settings.steps,
    }
    yield from watch(run, controls)
    yield {"done": True}


def begin(question: Event) -> Run[Pretraining]:
    """Return the run that a question asks for.

    Raises:
        OSError: the documents cannot be read.
        ValueError: there are no such documents, or a part of the question cannot be used.
    """
    fed = {name: question.pop(name) for name in ("batch", "val", "seed") if name in question}
    sizes = {name: question.pop(name) for name in SIZES if name in question}
    name, own = question.pop("data", "world"), str(question.pop("list", ""))
    engine = question.pop("engine", None)
    if name not in DATA:
        raise ValueError(f"there are no documents {name!r}; there are {', '.join(DATA)}")
    data = dataset.load(name) if name != OWN else dataset.parse("your list", own.encode())
    if name == OWN and len(set(data.documents)) < FEW:
        fed["val"] = 0.0
    return Run(Pretraining(data, **fed), Settings(**question), engine, sizes=sizes)


def watch(run: Run[Pretraining], controls: TrainingDials) -> Iterator[Event | float | Checkpoint]:
    """Take the steps of a run as its controls allow, and show it now and then."""
    look, steps, dials = Look(run), run.advance(), controls.turned
    yield look(dials["follow"], force=True)
    unsaid: Event = {"losses": []}
    rested, sent, due = 0, 0.0, 0.0
    while not run.finished:
        speed = dials["speed"]  # read once a round: a command may change it at any moment
        if seconds := controls.take(due if speed else 0.0):
            if seconds < math.inf or rested == run.step:
                yield seconds
                continue
            rested = run.step  # it has just been paused
            yield {"step": rested} | unsaid | look(dials["follow"], force=True)
            yield run.checkpoint().model()
            unsaid = {"losses": []}
            continue
        if speed:
            due = max(due, time.monotonic() - 0.1) + 1 / speed
        if controls.paused or speed:
            steps = run.advance()  # afresh, it takes one step at first
        progress = next(steps)
        unsaid["losses"] += progress.losses
        if progress.val_loss is not None:
            unsaid["val_loss"] = progress.val_loss
        late = not controls.paused and time.monotonic() - sent > FRAME
        if not run.finished and (late or "val_loss" in unsaid):
            yield {"step": run.step} | unsaid | look(dials["follow"])
            unsaid, sent = {"losses": []}, time.monotonic()
    yield {"step": run.step} | unsaid | look(dials["follow"], force=True)
    yield run.checkpoint().model()


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
