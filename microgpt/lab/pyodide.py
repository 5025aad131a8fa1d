"""The lab in a browser's Python: the same answers and the same runs, for a worker of the page's.

static/hosts/python.mjs loads it there. What comes and goes is JSON text.
"""

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from typing import Any

from microgpt.arrays import array
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.lab import jobs
from microgpt.lab.answers import Answers
from microgpt.lab.jobs.controls import Controls
from microgpt.model import Model

MODEL = files("microgpt") / "data" / "model.json"
_trained: str | None = None
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


def use(model: str | None) -> None:
    """Answer about a model that a run has trained (JSON) from now on; None: about the site's."""
    global _trained
    _trained = model


@lru_cache(1)
def _checkpoint(trained: str | None) -> Checkpoint:
    return from_json(trained or MODEL.read_text("utf-8"))


@lru_cache(1)
def _answers(trained: str | None) -> Answers:
    return Answers(Model(_checkpoint(trained)))


def answer(name: str, question: str) -> str:
    """Return the answer to a question, or what is wrong with it."""
    try:
        reply: dict[str, Any] = {"answer": _answers(_trained).answer(name, json.loads(question))}
    except ValueError as error:
        reply = {"error": " ".join(str(error).split())}
    return json.dumps(reply)


async def run(question: str, emit: Callable[[str], None]) -> None:
    """Do what a question says; emit is called with each event. Commands are heard in between."""
    global _controls
    asked = json.loads(question)
    _controls = jobs.controls_of(asked)
    for event in jobs.run(asked, _controls, _checkpoint(_trained)):
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
