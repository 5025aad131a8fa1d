"""A complete GPT that you can hold in your head.

    >>> import microgpt
    >>> run = microgpt.train("world", steps=3, seed=42)
    >>> len(run.losses)
    3
    >>> names = run.model().sample(20, temperature=0.5)

Start reading at gpt.py: the whole algorithm in 200 lines. The rest runs the same model
faster, shows it at work, and teaches it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from microgpt.config import Adam, GPTConfig
    from microgpt.feed import Pretraining
    from microgpt.model import Model
    from microgpt.training import Run, Settings, train
    from microgpt.xray import Trace

__version__ = "0.1.0"
__all__ = ["Adam", "GPTConfig", "Model", "Pretraining", "Run", "Settings", "load", "show", "train"]


def load(
    path: str | os.PathLike[str], engine: str | None = None, dtype: str | None = None
) -> "Model":
    """Read a model from a file, to run it on an engine: the best one there is by default.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a model that microgpt can use.
    """
    from microgpt.model import Model

    return Model.load(path, engine, {"dtype": dtype} if dtype else None)


def show(trace: "Trace", screen: Literal["forward", "backward"] = "forward") -> Any:
    """Show a trace of xray.record in a notebook, as the lab does: its way forward, or backward.

    Raises:
        ImportError: anywidget is not installed: pip install 'microgpt-lab[notebook]'.
    """
    from microgpt.lab.notebook import show  # a server's libraries come with it

    return show(trace, screen)


if not TYPE_CHECKING:  # what costs time to import is imported when it is asked for (PEP 562)
    _ROOMS = {"Adam": "config", "GPTConfig": "config", "Model": "model", "Pretraining": "feed"}
    _ROOMS |= {"Run": "training", "Settings": "training", "train": "training"}

    def __getattr__(name: str) -> Any:
        if name not in _ROOMS:
            raise AttributeError(f"module 'microgpt' has no attribute {name!r}")
        return getattr(import_module(f"microgpt.{_ROOMS[name]}"), name)
