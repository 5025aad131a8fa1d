"""Quantization-aware training: a model learns while its weights are rounded wherever they are used.

Rounding has no useful derivative. So the gradient is taken at the rounded weights, and moves others
that are kept unrounded until they round another way: the straight-through estimator (Bengio et al.
2013). It is a loop over `load` and `train`; any engine that can train will do, and needs no hook.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.documents import Batch, Document, Weights
from microgpt.engines.base import TrainableEngine

Rounding = Callable[[State], dict[str, Array]]
KEPT, BEGAN = "unrounded.", "rounding."  # before names: the weights kept, and those it began with


class QuantizationAware:
    """A trainable engine around another; from some step on, what it runs and gives is rounded."""

    def __init__(
        self, engine: TrainableEngine, rounding: Callable[[State], Rounding], start: int
    ) -> None:
        """Round after `start` steps, by what `rounding` returns for the weights of that moment."""
        self.engine, self.config = engine, engine.config
        self._rounding, self._start = rounding, start
        self._names = [name for name, _ in self.config.shapes()]
        self._began: dict[str, Array]  # the weights when rounding began; none before
        self._kept: dict[str, Array]  # the unrounded weights as they are now ...
        self._rounded: dict[str, Array]  # ... and the rounded, as the engine holds them
        self._round: Rounding
        self.load(engine.state())

    def load(self, state: State) -> None:
        self.engine.load({k: a for k, a in state.items() if not k.startswith((KEPT, BEGAN))})
        self._t = int(state.get("adam.t", np.array(0.0)))
        self._began, self._kept = (
            {name: state[which + name].copy() for name in self._names if which + name in state}
            for which in (BEGAN, KEPT)
        )
        if self._began:
            self._round = self._rounding(self._began)
            self._rounded = self._held(self.engine.state())

    def state(self) -> dict[str, Array]:
        """Return the engine's state, and what rounding goes on from once it has begun."""
        began = {BEGAN + name: array.copy() for name, array in self._began.items()}
        kept = {KEPT + name: array.copy() for name, array in self._kept.items()}
        return self.engine.state() | began | kept

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: all but the rounding, a function that it makes itself."""
        return {name: value for name, value in vars(self).items() if name != "_round"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        if self._began:
            self._round = self._rounding(self._began)

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        free = min(max(0, self._start - self._t), len(batches))
        self._t += len(batches)
        losses: list[float] = []
        if free:
            first = weights[:free] if weights else None
            losses += self.engine.train(batches[:free], learning_rates[:free], first)
        for i in range(free, len(batches)):
            if not self._began:
                self._begin()
            one = weights[i : i + 1] if weights else None
            losses += self.engine.train(batches[i : i + 1], learning_rates[i : i + 1], one)
            state = self.engine.state()
            for name, kept in self._kept.items():
                kept += state[name] - self._rounded[name]
            self._run_rounded(state)
        return losses

    def reset(self) -> None:
        self.engine.reset()

    def step(self, token_id: int) -> Array:
        return self.engine.step(token_id)

    def inspect(self, tokens: Document) -> dict[str, Array]:
        return self.engine.inspect(tokens)

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        return self.engine.loss(batch, weights)

    def losses(self, batch: Batch) -> list[list[float]]:
        return self.engine.losses(batch)

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        return self.engine.gradients(batch, weights)

    def _begin(self) -> None:
        state = self.engine.state()
        self._began, self._kept = self._held(state), self._held(state)
        self._round = self._rounding(self._began)
        self._run_rounded(state)

    def _run_rounded(self, state: State) -> None:
        self.engine.load({**state, **self._round(self._kept)})
        self._rounded = self._held(self.engine.state())

    def _held(self, state: State) -> dict[str, Array]:
        """Return the parameters as the engine holds them, in float64."""
        return {name: state[name].astype(float) for name in self._names}
