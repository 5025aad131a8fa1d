"""A complete GPT that one can hold in one's head.

    >>> import microgpt
    >>> run = microgpt.train("world", steps=3, seed=42)
    >>> len(run.losses)
    3
    >>> names = run.model.sample(20, temperature=0.5)

Start reading at gpt.py: the whole algorithm in 200 lines. What stands around it runs the same model
faster, shows it at work, and teaches it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from microgpt.config import Adam, GPTConfig
    from microgpt.model import Model
    from microgpt.training import Run, Settings
    from microgpt.xray import Trace

__version__ = "0.1.0"
__all__ = ["Adam", "GPTConfig", "Model", "Run", "Settings", "load", "show", "train"]


def train(
    data: str | None = None,
    *,
    engine: str | None = None,
    n_layer: int = 1,
    n_embd: int = 16,
    n_head: int = 4,
    block_size: int = 16,
    options: dict[str, Any] | None = None,
    **settings: Any,
) -> "Run":
    """Train a model to the end and return the run: its losses (nats/token), its model.

    Args:
        data: "names", "world" or the path of a file of one document a line; without it the
            published names where they can be had, else the built-in ones.
        engine: its name; the best one there is if it is not given.
        n_layer, n_embd, n_head, block_size: the sizes of the model, as GPTConfig has them.
        options: the engine's own.
        settings: those of training.Settings: steps, batch, lr, seed, val, optimizer.

    Raises:
        OSError: the documents cannot be read.
        ValueError: the documents, a size or a setting cannot be used.
    """
    from microgpt import dataset
    from microgpt.training import Run, Settings

    documents = dataset.load(data) if data else dataset.default()
    sizes = {"n_layer": n_layer, "n_embd": n_embd, "n_head": n_head, "block_size": block_size}
    run = Run(documents, Settings(**settings), sizes, engine, options)
    for _ in run.advance():
        pass
    return run


def load(path: str | os.PathLike[str], engine: str | None = None) -> "Model":
    """Read a model from a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a model that microgpt can use.
    """
    from microgpt.model import Model

    return Model.load(path, engine)


def show(trace: "Trace", screen: Literal["forward", "backward"] = "forward") -> Any:
    """Show a trace of xray.record in a notebook, as the lab does: its way forward, or backward.

    Raises:
        ImportError: anywidget is not installed: pip install 'microgpt-lab[notebook]'.
    """
    from microgpt.lab.notebook import show  # a server's libraries come with it

    return show(trace, screen)


if not TYPE_CHECKING:  # what costs time to import is imported when it is asked for (PEP 562)
    _ROOMS = {"Adam": "config", "GPTConfig": "config", "Model": "model"}
    _ROOMS |= {"Run": "training", "Settings": "training"}

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module 'microgpt' has no attribute {name!r}")
        return getattr(import_module(f"microgpt.{_ROOMS[name]}"), name)
