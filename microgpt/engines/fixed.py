"""The integer models as an engine: the console's arithmetic behind the engines' protocol."""

from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.config import GPTConfig
from microgpt.documents import Batch, Document, check_context, check_tokens
from microgpt.integers.base import IntegerModel, exp_scale, loss, softmax
from microgpt.integers.classic import Classic, Format


class FixedEngine:
    """Runs an integer model behind the engines' protocol: Classic in Qm.n, or another. No learning.

    Raises:
        ValueError: the integer model cannot hold these sizes or weights.
    """

    def __init__(
        self, config: GPTConfig, state: State, optimizer: object = None, m: int = 8, n: int = 8
    ) -> None:
        self._init(Classic(config, state, Format(m, n)))

    @classmethod
    def of(cls, model: IntegerModel) -> "FixedEngine":
        """Return the engine of an integer model that is there already."""
        engine = cls.__new__(cls)
        engine._init(model)
        return engine

    def _init(self, model: IntegerModel) -> None:
        self._model, self.config = model, model.config
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        return FixedEngine.of, (self._model,)

    @property
    def saturations(self) -> int:
        """How many results were clamped so far."""
        return self._model.saturations

    def reset(self) -> None:
        self._pos, self._cache = 0, self._model.begin(1)

    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        out = self._model.forward(np.array([token_id]), self._pos, self._cache)
        self._pos += 1
        return np.asarray(out["logits"][0] * self._model.units["logits"])

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        check_context(c, count)
        cache, attention = self._model.begin(1), np.zeros((c.n_layer, c.n_head, count, count))
        seen = []
        for t, token in enumerate(tokens):
            seen.append(self._model.forward(np.array([token]), t, cache))
            attention[:, :, t, : t + 1] = seen[-1]["attention"][0] / 32768
        logits = np.concatenate([out["logits"] for out in seen])
        units = self._model.units
        residual = np.concatenate([out["residual"] for out in seen]) * units["residual"]
        hidden = np.concatenate([out["hidden"] for out in seen]) * units["hidden"]
        return {
            "logits": logits * units["logits"],
            "probs": softmax(logits, exp_scale(1, float(units["logits"])))[1] / 32768,
            "attention": attention,
            "residual": residual.swapaxes(0, 1),
            "hidden": hidden.swapaxes(0, 1),
        }

    def loss(self, batch: Batch) -> float:
        """Return the loss of a batch (nats/token); raises as a trainable engine does."""
        return loss(self._model, batch)
