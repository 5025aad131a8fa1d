"""The engines: parallel ways to run one model, behind the protocol of base.py."""

from importlib import import_module
from typing import Any

from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import State, TrainableEngine

ENGINES = {  # name: (module, class, what it is)
    "scalar": ("scalar", "ScalarEngine", "gpt.py itself: one Python number at a time"),
}


def create(
    name: str, config: GPTConfig, state: State, optimizer: Adam | None = None, **options: Any
) -> TrainableEngine:
    """Return the engine of that name, holding a state; options are the engine's own.

    Raises:
        ValueError: there is no such engine, or it cannot hold this model.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")
    module, class_name, _ = ENGINES[name]
    engine: TrainableEngine = getattr(import_module(f"microgpt.engines.{module}"), class_name)(
        config, state, optimizer or Adam(), **options
    )
    return engine
