"""The model that a run of post-training began with, which it is compared with at every step."""

import hashlib
from array import array
from itertools import chain
from typing import Any

from microgpt import engines
from microgpt.checkpoint import Checkpoint
from microgpt.documents import Batch


class Reference:
    """A model that does not change.

    Args:
        name: the path of its file, or what to call it.
        checkpoint: the model.
        engine: as in Run; the best one there is by default.
        options: the engine's own.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        engine: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.name, self.checkpoint = name, checkpoint.model()
        self._engine = engines.create_trainable(
            engine or engines.default(), checkpoint.config, self.checkpoint.state, **options or {}
        )

    def losses(self, batch: Batch) -> list[list[float]]:
        """Return -log p of every position (nats)."""
        return self._engine.losses(batch)

    def record(self) -> dict[str, Any]:
        """Return which model it is, as JSON."""
        return {"model": self.name, "model_sha256": fingerprint(self.checkpoint)}


def fingerprint(checkpoint: Checkpoint) -> str:
    """Return the sha256 of a model's parameters, in gpt.py's order, as float64."""
    digest = hashlib.sha256()
    for name, _ in checkpoint.config.shapes():
        digest.update(array("d", chain.from_iterable(checkpoint.state[name].tolist())).tobytes())
    return digest.hexdigest()
