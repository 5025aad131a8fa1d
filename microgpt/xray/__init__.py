"""Watch gpt.py run, forward and backward: every line, every number, every Value.

    trace = record("emma", model)     # what happened, statement by statement
    print(trace)                      # a short view; in a notebook, a richer one
    trace.save("trace.json")          # the schema is described in docs/xray.md
    diff(trace, record_source(edited, "emma", model))

It needs only the standard library, so that the same code runs in a browser's Python.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from microgpt import gpt
from microgpt.config import GPTConfig
from microgpt.tokenizer import Tokenizer, characters
from microgpt.xray.difference import Difference, diff
from microgpt.xray.graph import Graph
from microgpt.xray.recorder import Program, Recorder, load, program
from microgpt.xray.trace import Trace

__all__ = [
    "Difference",
    "Graph",
    "Trace",
    "diff",
    "record",
    "record_lines",
    "record_source",
]

Until = Literal["loss", "backward", "adam"]


if TYPE_CHECKING:
    from microgpt.arrays import Array
    from microgpt.checkpoint import Checkpoint
    from microgpt.model import Model

Source: TypeAlias = "Checkpoint | Model | str | os.PathLike[str] | None"


def record(
    document: str | Sequence[int],
    model: Source = None,
    *,
    until: Until = "adam",
    learning_rate: float = 0.01,
    every_round: bool = False,
) -> Trace:
    """Watch gpt.py learn from one document: its loss, backward(), and a step of adam.

    The document is text or token ids [BOS, ..., BOS]. Without a model, gpt.py's own is watched as
    it is before training, drawn with seed 42. The model given is not changed.

    With every_round, each round of the loops of backward and adam is shown line by line: megabytes,
    and minutes.

    Raises:
        OSError: the model's file cannot be read.
        ValueError: the file is not a model, or the document does not fit the model.
    """
    return _record(program(gpt), document, model, until, learning_rate, every_round)


def record_source(
    source: str,
    document: str | Sequence[int],
    model: Source = None,
    *,
    until: Until = "adam",
    learning_rate: float = 0.01,
    file: str = "edited gpt.py",
) -> Trace:
    """Watch an edited gpt.py, given as text. It can do all that Python can: the caller confines it.

    Parameters that only the edited init() makes are drawn by it, with seed 42. An error while the
    source runs ends the trace and is in its `error`.

    Raises:
        OSError: the model's file cannot be read.
        ValueError: the source cannot be loaded, or the document does not fit the model.
    """
    return _record(load(source, file), document, model, until, learning_rate)


def record_lines(lines: str, source: str | None = None) -> Trace:
    """Watch a few lines that use gpt.py's names, such as b = a + a, run as a function.

    They follow the source (gpt.py, if none is given), in a function named lines().

    Raises:
        ValueError: they cannot be loaded.
    """
    whole = (program(gpt).source if source is None else source).rstrip() + "\n\ndef lines():\n"
    loaded = load(whole + "".join(f"    {line}\n" for line in lines.splitlines()), "gpt.py")
    recorder = Recorder(loaded)
    error = _run(recorder, loaded.module.lines)
    return _trace(recorder, "", [], "", {}, error)


def _record(
    watched: Program,
    document: str | Sequence[int],
    model: Source,
    until: Until,
    learning_rate: float,
    every_round: bool = False,
) -> Trace:
    if until not in get_args(Until):
        raise ValueError(f"until is {until!r}; it may be {', '.join(get_args(Until))}")
    config, vocabulary, state = _open(model)
    tokens = Tokenizer(vocabulary).encode(document) if isinstance(document, str) else [*document]
    if len(tokens) < 2 or not all(0 <= token < config.vocab_size for token in tokens):
        raise ValueError(
            f"the document {tokens} must hold two tokens or more, each from 0 to "
            f"{config.vocab_size - 1}"
        )
    text = "".join(vocabulary[token] for token in tokens if token < len(vocabulary))
    module = watched.module
    try:
        values = _params(module, config, state)
    except Exception as problem:
        raise ValueError(
            f"init() or Value stops with {type(problem).__name__}: {problem}"
        ) from None
    flat = [value for rows in values.values() for row in rows for value in row]
    moments = {which: _moments(which, values, state) for which in "mv"}
    step = int(state["adam.t"]) if "adam.t" in state else 0
    recorder = Recorder(watched, every_round)
    recorder.add_params(values)
    reached: dict[str, Any] = {}

    def learn() -> None:
        surprise = reached["loss"] = module.loss(values, config, tokens)
        if until != "loss":
            surprise.backward()
        if until == "adam":
            module.adam(flat, moments["m"], moments["v"], step, learning_rate)
            reached["adam"] = {"step": step, "lr": learning_rate} | moments

    error = _run(recorder, learn)
    if "adam" in reached:
        reached["adam"]["data"] = [value.data for value in flat]
    trace = _trace(recorder, text, tokens, vocabulary, asdict(config), error)
    trace.loss = getattr(reached.get("loss"), "data", None)
    trace.adam = reached.get("adam")
    return trace


def _open(model: Source) -> tuple[GPTConfig, str, Mapping[str, Array]]:
    """Return a model's config, vocabulary and state; of no model, an empty state."""
    if model is None:
        return GPTConfig(), "abcdefghijklmnopqrstuvwxyz", {}
    if isinstance(model, str | os.PathLike):
        from microgpt.checkpoint import Checkpoint  # here, for it brings numpy with it

        model = Checkpoint.load(model)
    held: Any = getattr(model, "checkpoint", model)  # a microgpt.Model holds one
    return held.config, characters(held.vocabulary), held.state


def _params(
    module: Any, config: GPTConfig, state: Mapping[str, Array]
) -> dict[str, list[list[Any]]]:
    """Return a state's parameters as Values; those that it lacks are drawn by init(), seed 42."""
    rows = {name: state[name].tolist() for name, _ in config.shapes() if name in state}
    if module is not gpt or not rows:
        for name, drawn in module.init(config, random.Random(42)).items():
            rows.setdefault(name, [[value.data for value in row] for row in drawn])
    return {name: [[module.Value(x) for x in row] for row in rows[name]] for name in rows}


def _moments(which: str, params: Mapping[str, Any], state: Mapping[str, Array]) -> list[float]:
    """Return Adam's m or v, one number a parameter; zeros for a parameter that it has not moved."""
    moments: list[float] = []
    for name, rows in params.items():
        kept = state.get(f"adam.{which}.{name}")
        moments += chain(*(kept.tolist() if kept is not None else [[0.0] * len(r) for r in rows]))
    return moments


def _run(recorder: Recorder, function: Callable[[], Any]) -> dict[str, Any] | None:
    """Run a function under the recorder; return what stopped it, if anything did."""
    try:
        recorder.run(function)
    except (Exception, SystemExit) as error:
        at = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == recorder.program.module.__file__
        ]
        where = {"fn": at[-1].name, "line": at[-1].lineno} if at else {"fn": None, "line": None}
        return where | {"message": f"{type(error).__name__}: {error}"}
    return None


def _trace(
    recorder: Recorder,
    document: str,
    tokens: list[int],
    vocabulary: str,
    config: dict[str, int],
    error: dict[str, Any] | None,
) -> Trace:
    graph = recorder.graph()  # first: it may meet Values made before the run
    return Trace(
        document=document,
        tokens=tokens,
        vocabulary=vocabulary,
        config=config,
        file=recorder.program.file,
        source=recorder.program.source,
        functions=recorder.program.functions,
        params=recorder.params,
        calls=recorder.calls,
        events=recorder.events,
        data=recorder.data,
        loss=None,
        error=error,
        graph=graph,
    )
