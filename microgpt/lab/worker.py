"""One run in a process of its own: `python -m microgpt.lab.worker MODEL`.

Its first line on standard input is what to do, each later one a command, each line on standard
output an event; all are JSON objects. It ends with its work, or when its input does: whoever
started it is gone then. A run itself knows no process: browser.py has it in a worker of the page's.
"""

import json
import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from operator import mul
from types import ModuleType
from typing import Any

from microgpt import dataset, engines, gpt, xray
from microgpt.arrays import Array
from microgpt.checkpoint import Checkpoint
from microgpt.lab.controls import Controls, Dials, Event
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
SQUARINGS = 20  # two directions of which one is 0.01% longer are told apart
Points = list[tuple[float, float]]


def main() -> None:
    """Do what the first line says."""
    os.nice(10)  # the page, and the rest of the machine, come first
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what edited code prints is no event

    one_by_one = threading.Lock()

    def emit(event: Event) -> None:
        with one_by_one:
            out.write(json.dumps(event) + "\n")
            out.flush()

    def listen() -> None:
        for line in sys.stdin:
            try:
                controls.obey(json.loads(line))
            except (ValueError, TypeError) as error:  # said, and nothing changed
                emit({"error": " ".join(str(error).split())})
        os._exit(0)

    question = json.loads(sys.stdin.readline())
    controls = controls_of(question)
    threading.Thread(target=listen, daemon=True).start()
    if question.get("kind") == "edit":
        confine(emit)
    for told in run(question, controls, Checkpoint.load(sys.argv[1])):
        if isinstance(told, float):
            controls.wait(told)
        else:
            emit(told)
    os._exit(0)


def controls_of(question: Event) -> Controls:
    """Return what the run that a question asks for can be told; it may begin paused."""
    controls: Controls = Dials()
    if question.get("kind") == "console":
        from microgpt.lab.console import Pad

        controls = Pad()
    controls.paused = bool(question.pop("paused", False))
    return controls


def run(question: Event, controls: Controls, checkpoint: Checkpoint) -> Iterator[Event | float]:
    """Do what a question says; yield events, and where there is to wait, the seconds.

    An error is an event like any other.
    """
    kind = question.pop("kind", None)
    try:
        if kind == "console":
            from microgpt.lab import console  # a browser's Python has no emulator

            assert isinstance(controls, console.Pad)
            yield from console.play(question, controls)
        elif kind == "training":
            assert isinstance(controls, Dials)
            yield from train(question, controls)
        elif kind == "edit":
            yield from edit(question, checkpoint)
        elif kind == "bits":
            yield from bits(checkpoint)
        else:
            yield {"error": f"there is no run of the kind {kind!r}"}
    except MemoryError:
        yield {"error": "it needs more memory than it may have"}
    except (ValueError, OSError) as error:
        yield {"error": " ".join(str(error).split())}
    except (Exception, SystemExit) as error:  # edited code may stop in any way
        yield {"error": f"it stops with {type(error).__name__}: {' '.join(str(error).split())}"}


def train(question: Event, controls: Dials) -> Iterator[Event | float]:
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
    yield {
        "documents": len(run.train),
        "n_params": run.config.n_params,
        "engine": run.engine_name,
        "vocabulary": run.tokenizer.vocabulary,
        "uniform": uniform,
        "bigram": bigram,
        "steps": run.settings.steps,
    }
    look = Look(run)
    yield look(controls.follow, force=True)
    steps, losses, told, due = run.advance(), list[float](), 0.0, 0.0
    while run.step < run.settings.steps:
        while seconds := controls.take(due if controls.speed else 0.0):
            yield seconds
        if controls.speed:
            due = max(due, time.monotonic() - 0.1) + 1 / controls.speed
        if controls.paused or controls.speed:
            steps = run.advance()  # afresh, it takes one step at first
        progress = next(steps)
        losses += progress.losses
        at_rest = controls.paused or run.step == run.settings.steps
        if at_rest or progress.val_loss is not None or time.monotonic() - told > FRAME:
            event: Event = {"step": progress.step, "losses": losses}
            if progress.val_loss is not None:
                event["val_loss"] = progress.val_loss
            yield event | look(controls.follow, at_rest)
            losses, told = [], time.monotonic()
    yield {"done": True}


def edit(question: Event, checkpoint: Checkpoint) -> Iterator[Event]:
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


def bits(checkpoint: Checkpoint) -> Iterator[Event]:
    """Measure every Qm.n of the integer engine on names held out: how many bits does it need?

    A width can be divided in many ways. `choosing` tells the best of them: the loss on other names
    than those that `loss` is of.
    """
    model = Model(checkpoint.model())
    settings = model.training.get("settings", {})
    parts = dataset.split(dataset.load("world").documents, settings.get("val") or HELD_OUT)
    known = set(model.tokenizer.vocabulary)
    val, test = (
        [t for t in part if known.issuperset(t)][:NAMES] for part in (parts.val, parts.test)
    )
    if not (val and test):
        raise ValueError("the names held out are in letters that the model does not know")
    choosing, reported = ([model.tokenizer.encode(text) for text in part] for part in (val, test))
    yield {
        "names": len(test),
        "unseen": bool(settings.get("val")),
        "float": sum(model.score(text).loss for text in test) / len(test),
        "uniform": math.log(model.config.vocab_size),
    }
    for width in range(2, 17):
        for n in range(1, width):
            m = width - n
            try:
                engine: Any = engines.create(
                    "fixed", model.config, model.checkpoint.state, m=m, n=n
                )
            except ValueError:  # sums of its products could leave 32 bits
                continue
            loss, saturations = engine.loss(reported), engine.saturations
            yield {
                "m": m,
                "n": n,
                "loss": loss,
                "saturations": saturations,
                "choosing": engine.loss(choosing),
            }
    yield {"done": True}


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


def confine(emit: Callable[[Event], None]) -> None:
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
        self.points: Points | None = None

    def __call__(self, follow: list[Any], force: bool = False) -> dict[str, Any]:
        """Return what is to be seen now; nothing where the last look was a moment ago."""
        now, run = time.monotonic(), self.run
        if not force and now < self.next:
            return {}
        size, count = run.settings.batch, len(run.train)
        batch = [run.train[i % count] for i in range(run.step * size, (run.step + 1) * size)]
        gradients = run.engine.gradients(batch)  # those that the next step will follow
        state = run.engine.state()
        self.points = plane(state["wte"].tolist(), self.points)
        seen: dict[str, Any] = {
            "at": run.step,
            "document": run.tokenizer.decode(batch[0][1:-1]),
            "norms": {name: math.hypot(*chain(*g.tolist())) for name, g in gradients.items()},
            "points": [[round(x, 4) for x in point] for point in self.points],
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


def plane(vectors: Sequence[Sequence[float]], before: Points | None) -> Points:
    """Return vectors (n, d) on the plane in which they differ most (n, 2): PCA.

    The plane is turned to lie as it did before, so that points move because the vectors do.
    """
    means = [sum(column) / len(column) for column in zip(*vectors, strict=True)]
    left = [[x - mean for x, mean in zip(v, means, strict=True)] for v in vectors]
    found = []
    for _ in range(2):
        axis = direction(left)
        found.append([sum(map(mul, v, axis)) for v in left])
        left = [
            [x - place * a for x, a in zip(v, axis, strict=True)]
            for v, place in zip(left, found[-1], strict=True)
        ]
    points = list(zip(*found, strict=True))
    if before is None:
        return points
    # the orthogonal matrix that brings them nearest, of all turns and of all turned mirrors
    pairs = list(zip(points, before, strict=True))
    turns = []
    for side in (1, -1):
        a = sum(x * u + side * y * v for (x, y), (u, v) in pairs)
        b = sum(x * v - side * y * u for (x, y), (u, v) in pairs)
        turns.append((math.hypot(a, b), side, math.atan2(b, a)))
    _, side, angle = max(turns)
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - side * s * y, s * x + side * c * y) for x, y in points]


def direction(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return the direction, of length 1, in which vectors (n, d) reach furthest from 0.

    The matrix of their products, squared again and again, forgets every other.
    """
    columns = list(zip(*vectors, strict=True))
    few = min(columns, vectors, key=len)
    matrix = [[sum(map(mul, a, b)) for b in few] for a in few]
    for _ in range(SQUARINGS):
        trace = sum(row[i] for i, row in enumerate(matrix)) or 1.0
        matrix = [[x / trace for x in row] for row in matrix]
        if sum(sum(map(mul, row, row)) for row in matrix) > 1 - 1e-12:
            break  # one direction is left
        matrix = [[sum(map(mul, a, b)) for b in matrix] for a in matrix]  # it is symmetric
    axis = max(matrix, key=lambda row: sum(map(mul, row, row)))
    if few is vectors:
        axis = [sum(map(mul, column, axis)) for column in columns]
    length = math.hypot(*axis) or 1.0
    return [x / length for x in axis]


if __name__ == "__main__":
    main()
