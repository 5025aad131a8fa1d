"""One run in a process of its own: `python -m microgpt.lab.worker MODEL`.

Its first line on standard input is what to do, each later one a command, each line on standard
output an event; all are JSON objects. It ends with its work, or when its input does: whoever
started it is gone then.
"""

import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np

from microgpt import dataset, gpt, xray
from microgpt.checkpoint import Checkpoint
from microgpt.engines.base import Array
from microgpt.engines.fixed import FixedEngine
from microgpt.lab import console
from microgpt.lab.controls import Controls, Emit
from microgpt.model import Model
from microgpt.training import Run, Settings
from microgpt.xray.recorder import load

FRAME = 0.03  # seconds between two events: more often, no eye can tell
SHOWN = 0.2  # seconds between two looks inside, at least
SHARE = 5  # and this many times what a look costs, so that looking slows learning little
STEPS = 100  # of gpt.py and its edited copy, side by side
HELD_OUT = 0.05  # of the names, where the model's record says nothing
NAMES = 200  # held out, that each Qm.n is measured on
LIMIT = 60  # seconds that edited code may take
MEMORY = 4 * 2**30  # bytes of address space that it may have


class Dials(Controls):
    """What a training run can be told besides: how fast to go, and which parameter to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.speed: float | None = None  # steps a second; None for as fast as it goes
        self.follow = ["lm_head", 0, 0]

    def hear(self, command: dict[str, Any]) -> None:
        super().hear(command)
        self.speed = command.get("speed", self.speed)
        self.follow = command.get("follow", self.follow)


def main() -> None:
    """Do what the first line says; an error is an event like any other."""
    os.nice(10)  # the page, and the rest of the machine, come first
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what edited code prints is no event

    one_by_one = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        with one_by_one:
            out.write(json.dumps(event) + "\n")
            out.flush()

    question = json.loads(sys.stdin.readline())
    try:
        work(question.pop("kind"), question, emit)
    except MemoryError:
        emit({"error": "it needs more memory than it may have"})
    except (ValueError, OSError) as error:
        emit({"error": " ".join(str(error).split())})
    except (Exception, SystemExit) as error:  # edited code may stop in any way
        emit({"error": f"it stops with {type(error).__name__}: {' '.join(str(error).split())}"})
    out.flush()
    os._exit(0)


def work(kind: str, question: dict[str, Any], emit: Emit) -> None:
    """Do a run of a kind, with a thread beside it that hears commands."""
    if kind not in RUNS:
        raise ValueError(f"there is no run of the kind {kind!r}; there are {', '.join(RUNS)}")
    run, controls = RUNS[kind]
    heard = controls()
    heard.paused = bool(question.pop("paused", False))
    threading.Thread(target=heard.listen, args=[emit], daemon=True).start()
    run(question, heard, emit)


def train(question: dict[str, Any], controls: Dials, emit: Emit) -> None:
    """Train a model, and show what happens."""
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
    run = Run(data, Settings(**question), sizes, engine)
    uniform, bigram = run.standard()
    emit(
        {
            "documents": len(run.train),
            "n_params": run.config.n_params,
            "engine": run.engine_name,
            "vocabulary": run.tokenizer.vocabulary,
            "uniform": uniform,
            "bigram": bigram,
            "steps": run.settings.steps,
        }
    )
    look = Look(run)
    emit(look(controls.follow, force=True))
    steps = run.advance()
    next_at, losses, told = time.monotonic(), list[float](), 0.0
    while run.step < run.settings.steps:
        controls.wait(next_at)
        if controls.paused or controls.speed:
            steps = run.advance()  # afresh, it takes one step at first
        if controls.speed:
            next_at = max(next_at, time.monotonic() - 0.1) + 1 / controls.speed
        progress = next(steps)
        losses += progress.losses
        at_rest = controls.paused or run.step == run.settings.steps
        if at_rest or progress.val_loss is not None or time.monotonic() - told > FRAME:
            event: dict[str, Any] = {"step": progress.step, "losses": losses}
            if progress.val_loss is not None:
                event["val_loss"] = progress.val_loss
            emit(event | look(controls.follow, at_rest))
            losses, told = [], time.monotonic()
    emit({"done": True})


def edit(question: dict[str, Any], controls: Controls, emit: Emit) -> None:
    """Run gpt.py and an edited copy side by side: where they part, and how both learn."""
    confine(emit)
    text, source = str(question["text"]), str(question["source"])
    checkpoint = Checkpoint.load(sys.argv[1])
    ours = xray.record(text, checkpoint)
    theirs = xray.record_source(source, text, checkpoint)
    parted = xray.diff(ours, theirs)
    emit(
        {
            "line": [asdict(place) if place else None for place in (parted.line_a, parted.line_b)],
            "number": asdict(parted.number) if parted.number else None,
            "same": not parted,
            "failed": theirs.error,
            "losses": [ours.loss, theirs.loss],
        }
    )
    if theirs.error:
        return
    documents = list(dataset.load("world").documents)
    random.Random(42).shuffle(documents)
    alphabet = "".join(sorted(set("".join(documents))))
    learners = [learn(module, documents, alphabet) for module in (gpt, load(source).module)]
    for step in range(STEPS):
        emit({"step": step + 1, "pair": [next(learner) for learner in learners]})
    emit({"names": [next(learner) for learner in learners], "done": True})


def bits(question: dict[str, Any], controls: Controls, emit: Emit) -> None:
    """Measure every Qm.n of the integer engine on names held out: how many bits does it need?

    A width can be divided in many ways. `choosing` tells the best of them: the loss on other names
    than those that `loss` is of.
    """
    model = Model.load(sys.argv[1])
    settings = model.training.get("settings", {})
    parts = dataset.split(dataset.load("world").documents, settings.get("val") or HELD_OUT)
    known = set(model.tokenizer.vocabulary)
    val, test = (
        [t for t in part if known.issuperset(t)][:NAMES] for part in (parts.val, parts.test)
    )
    if not (val and test):
        raise ValueError("the names held out are in letters that the model does not know")
    choosing, reported = ([model.tokenizer.encode(text) for text in part] for part in (val, test))
    emit(
        {
            "names": len(test),
            "unseen": bool(settings.get("val")),
            "float": sum(model.score(text).loss for text in test) / len(test),
            "uniform": math.log(model.config.vocab_size),
        }
    )
    for width in range(2, 17):
        for n in range(1, width):
            m = width - n
            try:
                engine = FixedEngine(model.config, model.checkpoint.state, m=m, n=n)
            except ValueError:  # sums of its products could leave 32 bits
                continue
            loss, saturations = engine.loss(reported), engine.saturations
            emit(
                {
                    "m": m,
                    "n": n,
                    "loss": loss,
                    "saturations": saturations,
                    "choosing": engine.loss(choosing),
                }
            )
    emit({"done": True})


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


def confine(emit: Emit) -> None:
    """Set limits to a process that runs edited code: seconds, and memory where it can be set."""

    def give_up() -> None:
        emit({"error": f"the edited code was stopped after {LIMIT} s; does a loop never end?"})
        os._exit(0)

    timer = threading.Timer(LIMIT, give_up)
    timer.daemon = True
    timer.start()
    try:
        import resource
    except ImportError:  # Windows has none
        return
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT + 5, LIMIT + 5))  # where no thread gets a turn
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


class Look:
    """Looks inside a run now and then: names, gradients, one parameter, the embeddings."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.next = self.named = 0.0
        self.points: Array | None = None

    def __call__(self, follow: list[Any], force: bool = False) -> dict[str, Any]:
        """Return what is to be seen now; nothing where the last look was a moment ago."""
        now, run = time.monotonic(), self.run
        if not force and now < self.next:
            return {}
        size, count = run.settings.batch, len(run.train)
        batch = [run.train[i % count] for i in range(run.step * size, (run.step + 1) * size)]
        gradients = run.engine.gradients(batch)  # those that the next step will follow
        state = run.engine.state()
        self.points = plane(state["wte"], self.points)
        seen: dict[str, Any] = {
            "at": run.step,
            "document": run.tokenizer.decode(batch[0][1:-1]),
            "norms": {name: float(np.linalg.norm(g)) for name, g in gradients.items()},
            "points": self.points.round(4).tolist(),
            "followed": self._follow(state, gradients, *follow),
        }
        if force or now > self.named:
            seen["names"] = run.model.sample(6, seed=run.settings.seed)
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


def plane(vectors: Array, before: Array | None) -> Array:
    """Return vectors (n, d) on the plane in which they differ most (n, 2): PCA.

    The plane is turned to lie as it did before, so that points move because the vectors do.
    """
    centered = vectors - vectors.mean(axis=0)
    points: Array = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    if before is not None:
        u, _, v = np.linalg.svd(points.T @ before)  # orthogonal Procrustes
        points = points @ (u @ v)
    return points


RUNS: dict[str, tuple[Callable[..., None], type[Controls]]] = {
    "training": (train, Dials),
    "edit": (edit, Controls),
    "bits": (bits, Controls),
    "console": (console.play, console.Pad),
}

if __name__ == "__main__":
    main()
