"""What the page may ask of a model, and the answers: plain JSON, every number the engine's."""

import math
import textwrap
import time
from collections.abc import Callable
from typing import Any

from microgpt import engines, gpt, xray
from microgpt.arrays import BROWSER
from microgpt.documents import surprises
from microgpt.engines.base import Engine
from microgpt.lab import inside
from microgpt.model import Model
from microgpt.sampling import Sampling, Stream, draw, probabilities
from microgpt.school import source as texts
from microgpt.school.course import lesson
from microgpt.xray import zoom
from microgpt.xray.nudge import nudge

MOST_NAMES = 100
MEASURED = 0.1  # seconds that an engine is watched to tell how fast it is
ROUNDS = 3  # at least, so that one interruption tells nothing of the engine
ELSEWHERE = "it runs where microgpt is installed, not in a browser"
DIGITS = 7  # of a trace's numbers: as many as the weights have
LOOKS: dict[str, Callable[..., dict[str, Any]]] = {
    "document": zoom.document,
    "operations": zoom.operations,
    "expression": zoom.expression,
    "around": zoom.around,
    "turn": zoom.turn,
    "nudge": nudge,
}
SMALL = {  # why backward() needs an order, in three lines
    "twice": "a = Value(3.0)\nb = a + a\nc = b + b\nc.backward()",
    "two ways": "a = Value(3.0)\nb = a * a\nc = b + a\nc.backward()",
    "silent": "a = Value(-3.0)\nb = a.relu()\nc = b + a\nc.backward()",
}


class Answers:
    """Answers questions about one model; raises ValueError if its tokens are not characters."""

    def __init__(self, model: Model, built_in: bool = False) -> None:
        """Take a model; one that ships with microgpt is built in."""
        self.model, self.vocabulary = model, model.tokenizer.characters
        self.built_in = built_in
        self._recorded: xray.Trace | None = None  # the last graph asked for: most questions go on
        self._made: dict[str, Any] = {}  # engines, by name: to build a cartridge takes seconds

    def answer(self, name: str, question: dict[str, Any]) -> Any:
        """Return the answer to a question: JSON data.

        Raises:
            ValueError: nobody can ask that, or a part of the question is missing or wrong.
        """
        questions: dict[str, Callable[..., Any]] = {
            "model": self.describe,
            "host": host,
            "next": self.next,
            "names": self.names,
            "trace": self.trace,
            "backward": self.backward,
            "order": order,
            "begin": begin,
            "own": own,
            "engine": self.engine,
            "fixed": self.fixed,
            "inside": self.inside,
            "stream": self.stream,
        }
        return reply(questions, name, question)

    def describe(self) -> dict[str, Any]:
        """Return what the page shows of the model as such, and the source of gpt.py."""
        config, record = self.model.config, self.model.training
        with open(gpt.__file__, encoding="utf-8") as file:
            source = file.read()
        return {
            "vocabulary": self.vocabulary,
            "config": {name: getattr(config, name) for name in config.__dataclass_fields__},
            "n_params": config.n_params,
            "steps": record.get("step"),
            "documents": record.get("step", 0) * record.get("feed", {}).get("batch", 1),
            "source": source,
            "built_in": self.built_in,
        }

    def next(self, text: str, **dials: Any) -> dict[str, Any]:
        """Return how likely each token is to follow a text, as it is and as the dials make it."""
        sampling, ids = _sampling(**dials), self._ids(text)
        size = self.model.config.block_size
        tokens = [self.model.tokenizer.bos, *ids][:size]
        logits = self.model.engine.inspect(tokens)["logits"].tolist()
        probs = [probabilities(row, Sampling(1.0)) for row in logits]
        letters = [row[token] for row, token in zip(probs, ids, strict=False)]
        if len(ids) == size:
            return {"letters": letters, "full": True}
        return {
            "letters": letters,
            "logits": logits[-1],
            "probs": probs[-1],
            "chosen": probabilities(logits[-1], sampling),
        }

    def names(self, prefix: str, count: int, seed: int, **dials: Any) -> list[dict[str, Any]]:
        """Return names that begin with a prefix, and how likely each of their tokens was."""
        sampling, ids = _sampling(**dials), self._ids(prefix)
        if type(count) is not int or not 0 < count <= MOST_NAMES:
            raise ValueError(f"count is {count!r}; it must be a whole number, 1 to {MOST_NAMES}")
        if type(seed) is not int or not 0 <= seed < 2**53:
            raise ValueError(f"seed is {seed!r}; it must be a whole number, 0 or more")
        return [self._name(seed, i, sampling, ids) for i in range(count)]

    def trace(self, text: str) -> dict[str, Any]:
        """Return what gpt.py did, statement by statement, to find the loss of a name."""
        self._ids(text)
        return pack(xray.record(text, self.model.checkpoint, until="loss"))

    def backward(self, text: str, look: str, **place: int) -> dict[str, Any]:
        """Return a piece of the Value graph of a name's loss; see xray.zoom for the pieces."""
        self._ids(text)
        if self._recorded is None or self._recorded.document != text:
            self._recorded = xray.record(text, self.model.checkpoint, until="backward")
        return look_at(self._recorded, look, **place)

    def engine(self, name: str, text: str) -> dict[str, Any]:
        """Return what an engine makes of a name: logits, loss, microseconds a token.

        A console also names its cartridge, and what the cartridge's integers make of the name.
        """
        self._ids(text)
        if name not in engines.ENGINES:
            raise ValueError(f"there is no engine {name!r}; there are {', '.join(engines.ENGINES)}")
        try:
            engine = self._engine(name)
        except ValueError as error:  # an answer too: it is missing, or holds other models only
            return {"refused": str(error)}
        tokens = self.model.tokenizer.encode(text)[: engine.config.block_size + 1]
        answer = {"what": engines.ENGINES[name].what, **_read(engine, tokens)}
        answer["microseconds"] = 1e6 * _time(engine, tokens[:-1])
        if name == "snes":
            answer["cartridge"] = engine.console.cartridge
            answer["integers"] = engine.expected(tokens[:-1]).tolist()
        return answer

    def _engine(self, name: str) -> Any:
        if name not in self._made:
            state = self.model.checkpoint.state
            self._made[name] = engines.create(name, self.model.config, state)
        return self._made[name]

    def fixed(self, text: str, m: int, n: int) -> dict[str, Any]:
        """Return what the integer engine makes of a name in Qm.n: logits, loss, results clamped."""
        self._ids(text)
        if type(m) is not int or type(n) is not int:
            raise ValueError(f"m is {m!r} and n is {n!r}; they must be whole numbers, 1 or more")
        tokens = self.model.tokenizer.encode(text)[: self.model.config.block_size + 1]
        state = self.model.checkpoint.state
        try:
            engine: Any = engines.create("fixed", self.model.config, state, m=m, n=n)
        except ValueError as error:  # that is an answer too: so few bits, or so many, will not do
            return {"refused": str(error)}
        return _read(engine, tokens) | {"saturations": engine.saturations}

    def inside(self, text: str) -> dict[str, Any]:
        """Return what each head looks at in a name, and what each layer would say next."""
        return inside.of_names(self.model, self._ids(text))[0]

    def stream(self, text: str, pos: int) -> list[list[float]]:
        """Return (n_layer + 1, n_embd): the residual stream at a position of a name."""
        return inside.stream(inside.of_names(self.model, self._ids(text))[1], pos)

    def _name(self, seed: int, i: int, sampling: Sampling, prefix: list[int]) -> dict[str, Any]:
        """Return name i of a seed: the one that Model.sample draws, with its probabilities."""
        bos, tokens = self.model.tokenizer.bos, [*prefix]
        drawn: list[float | None] = [None] * len(prefix)
        for token, probs in draw(self.model.engine, Stream(seed, i), sampling, prefix):
            drawn.append(probs[token])
            if token != bos:
                tokens.append(token)
        return {"name": self.model.tokenizer.decode(tokens), "probs": drawn}

    def _ids(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise ValueError(f"the text is {text!r}; it must be a string")
        if len(text) > self.model.config.block_size:
            raise ValueError(
                f"the beginning has {len(text):,} letters; "
                f"the model can see {self.model.config.block_size}"
            )
        return self.model.tokenizer.ids(text)


def reply(questions: dict[str, Callable[..., Any]], name: str, question: dict[str, Any]) -> Any:
    """Ask one of some questions, by name.

    Raises:
        ValueError: nobody can ask that, or a part of the question is missing or wrong.
    """
    if name not in questions:
        raise ValueError(f"there is no question {name!r}; there are {', '.join(questions)}")
    try:
        return questions[name](**question)
    except TypeError:
        raise ValueError(f"the question {name!r} lacks a part, or has one too many") from None


def host() -> dict[str, Any]:
    """Return what can be done here: engines, those that train, documents, a console.

    An engine that is missing has the reason.
    """
    missing = {name: reason for name in engines.ENGINES if (reason := engines.missing(name))}
    return {
        "engines": engines.trainable(),
        "present": [name for name in engines.ENGINES if name not in missing],
        "missing": dict.fromkeys(missing, ELSEWHERE) if BROWSER else missing,
        "data": ["world"] if BROWSER else ["world", "names"],
        "console": not BROWSER,
    }


def pack(trace: xray.Trace) -> dict[str, Any]:
    """Return a trace as the page reads it, with the parameters that it began with."""
    return trace.to_dict(["params"], DIGITS)


def order(example: str) -> dict[str, Any]:
    """Return a few lines of Values, their graph, and the turns that backward() took.

    Raises:
        ValueError: there is no such example.
    """
    if example not in SMALL:
        raise ValueError(f"there is no example {example!r}; there are {', '.join(SMALL)}")
    trace = xray.record_lines(SMALL[example])
    assert trace.graph
    return {
        "lines": SMALL[example].split("\n"),
        "values": [zoom.value(trace, node) for node in range(len(trace.data))],
        "children": trace.graph.children,
        "local_grads": trace.graph.local_grads,
        "turns": [zoom.turn(trace, step) for step in range(len(trace.graph.steps))],
    }


def begin(source: str, number: int) -> str:
    """Return a learner's file with what a lesson begins with added, where it is not there yet.

    Raises:
        ValueError: there is no such lesson, or the file is not Python.
    """
    if not isinstance(source, str) or type(number) is not int:
        raise ValueError("a lesson begins with a text and the lesson's number")
    return texts.begin(source, lesson(number))


def own(number: int) -> str:
    """Return gpt.py's own version of what a lesson writes, to compare with.

    Raises:
        ValueError: there is no such lesson.
    """
    if type(number) is not int:
        raise ValueError("a lesson is named by its number")
    names = lesson(number).writes
    return "\n\n".join(textwrap.dedent(texts.home(name).text(name)).rstrip() for name in names)


def look_at(trace: xray.Trace, look: str, **place: int) -> dict[str, Any]:
    """Return a piece of a trace's Value graph; see xray.zoom for the pieces.

    Raises:
        ValueError: there is no such look, or no such place.
    """
    if look not in LOOKS:
        raise ValueError(f"there is no look {look!r}; there are {', '.join(LOOKS)}")
    try:
        if all(type(number) is int and number >= 0 for number in place.values()):
            return LOOKS[look](trace, **place)
    except (IndexError, KeyError):
        pass
    raise ValueError(f"{place} is not a place in the graph of {trace.document!r}")


def _read(engine: Engine, tokens: list[int]) -> dict[str, Any]:
    """Return an engine's logits after each token of a document, and its loss (nats/token)."""
    logits = engine.inspect(tokens[:-1])["logits"].tolist()
    losses = surprises(logits, tokens)
    return {"logits": logits, "loss": sum(losses) / len(losses)}


def _time(engine: Engine, tokens: list[int]) -> float:
    """Return the seconds that an engine takes for a token: the least of some rounds."""
    least, rounds, ends = math.inf, 0, time.perf_counter() + MEASURED
    while rounds < ROUNDS or time.perf_counter() < ends:
        rounds += 1
        engine.reset()
        began = time.perf_counter()
        for token in tokens:
            engine.step(token)
        least = min(least, (time.perf_counter() - began) / len(tokens))
    return least


def _sampling(
    temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Sampling:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise ValueError(f"temperature is {temperature!r}; it must be a number, 0 or more")
    if top_k is not None and type(top_k) is not int:
        raise ValueError(f"top-k is {top_k!r}; it must be a whole number, 1 or more")
    if top_p is not None and not isinstance(top_p, int | float):
        raise ValueError(f"top-p is {top_p!r}; it must be more than 0 and at most 1")
    if 0 < temperature < 1e-3 or math.isinf(temperature):
        raise ValueError(f"temperature is {temperature}; it must be 0, or 0.001 and more")
    return Sampling(temperature, top_k, top_p)
