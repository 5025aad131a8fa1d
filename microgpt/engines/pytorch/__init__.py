"""The PyTorch engine: heart.py is gpt.py as tensors, bricks.py its second chapter.

engine.py trains the heart behind the protocol, pretrained.py runs any architecture.

torch takes seconds to import, so nothing here does before an engine is made.
"""

from importlib.util import find_spec
from typing import Any


def missing() -> str | None:
    """Return how to get PyTorch where it is not installed."""
    if find_spec("torch"):
        return None
    return "PyTorch is not installed; pip install 'microgpt-lab[torch]', or torch by itself"


def __getattr__(name: str) -> Any:
    if name == "PyTorchEngine":
        from microgpt.engines.pytorch.engine import PyTorchEngine

        return PyTorchEngine
    if name == "PyTorchBricksEngine":
        from microgpt.engines.pytorch.pretrained import PyTorchBricksEngine

        return PyTorchBricksEngine
    raise AttributeError(name)
