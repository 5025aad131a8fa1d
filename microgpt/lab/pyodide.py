"""The lab in a browser's Python: the same answers and the same runs, for a worker of the page's.

static/hosts/python.mjs loads it there. What comes and goes is JSON text.
"""

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from microgpt.arrays import array
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.lab import jobs
from microgpt.lab.answers import Answers
from microgpt.lab.jobs.controls import Controls
from microgpt.model import Model

MODELS = files("microgpt") / "data" / "models.json"
OPEN = 4  # models whose engines stay in memory
_held: dict[str, str] = {}
_controls = Controls()
_changed = asyncio.Event()


def to_json(checkpoint: Checkpoint) -> str:
    """Return a model as the exported site holds it."""
    config = checkpoint.config
    return json.dumps(
        {
            "config": {name: getattr(config, name) for name in config.__dataclass_fields__},
            "vocabulary": checkpoint.characters,
            "state": {name: numbers.tolist() for name, numbers in checkpoint.state.items()},
            "training": checkpoint.training,
        }
    )


def from_json(text: str) -> Checkpoint:
    """Return the model that to_json wrote."""
    held = json.loads(text)
    state = {name: array(numbers) for name, numbers in held["state"].items()}
    return Checkpoint(GPTConfig(**held["config"]), held["vocabulary"], state, held["training"])


def pack(models: dict[str, tuple[str, Checkpoint]]) -> str:
    """Return models by name, each with its title, as the exported site holds them."""
    return json.dumps({name: [title, to_json(model)] for name, (title, model) in models.items()})


def hold(name: str, model: str) -> None:
    """Keep a model that a run has trained (JSON): it can be asked about by its name."""
    _held[name] = model


@cache
def _packed() -> dict[str, list[str]]:
    packed: dict[str, list[str]] = json.loads(MODELS.read_text("utf-8"))
    return packed


@lru_cache(OPEN)
def _checkpoint(of: str) -> Checkpoint:
    if of in _held:
        return from_json(_held[of])
    if of == "shipped" and of not in _packed():
        return _checkpoint("")
    if of not in _packed():
        raise ValueError("that model is gone: the page has been loaded again; train another")
    return from_json(_packed()[of][1])


@lru_cache(OPEN)
def _answers(of: str) -> Answers:
    built_in = of == "shipped" or (of == "" and "shipped" not in _packed())
    return Answers(Model(_checkpoint(of)), built_in)


def answer(of: str, name: str, question: str) -> str:
    """Return the answer to a question about a model, or what is wrong with it."""
    try:
        if name == "models":
            reply: dict[str, Any] = {"answer": listed(_packed())}
        else:
            reply = {"answer": _answers(of).answer(name, json.loads(question))}
    except ValueError as error:
        reply = {"error": " ".join(str(error).split())}
    return json.dumps(reply)


def listed(packed: dict[str, list[str]]) -> list[dict[str, str]]:
    """Return each model's name and title, but those trained on the page."""
    return [{"name": name, "title": title} for name, (title, _) in packed.items()]


async def run(of: str, question: str, emit: Callable[[str], None]) -> None:
    """Do what a question says; emit is called with each event. Commands are heard in between."""
    global _controls
    asked = json.loads(question)
    _controls = jobs.controls_of(asked)
    for event in jobs.run(asked, _controls, _checkpoint(of)):
        _changed.clear()
        if isinstance(event, float):
            with suppress(TimeoutError):
                await asyncio.wait_for(_changed.wait(), None if event == math.inf else event)
        elif isinstance(event, Checkpoint):
            emit(json.dumps({"model": event.training["step"], "held": to_json(event)}))
        else:
            emit(json.dumps(event))
            await asyncio.sleep(0)


def command(order: str) -> None:
    """Pass a command to the run that goes on."""
    _controls.apply(json.loads(order))
    _changed.set()
