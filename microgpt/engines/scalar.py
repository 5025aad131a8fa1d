"""The scalar engine: gpt.py itself, adapted to the protocol. It computes nothing of its own."""

from __future__ import annotations  # some names of gpt.pyi are there for the type checker alone

import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from microgpt import gpt
from microgpt.arrays import Array, State, array
from microgpt.checkpoint import check_state
from microgpt.config import Adam, GPTConfig
from microgpt.documents import (
    Batch,
    Document,
    Weights,
    check_batch,
    check_context,
    check_tokens,
    check_training,
    diverged,
)
from microgpt.engines.base import by_name


class ScalarEngine:
    """Runs and trains a model in Python scalars, one Value a number."""

    def __init__(self, config: GPTConfig, state: State, optimizer: Adam) -> None:
        self.config, self.optimizer = config, optimizer
        self.load(state)

    def load(self, state: State) -> None:
        check_state(self.config, state)
        names = [name for name, _ in self.config.shapes()]
        self.params = {
            name: [[gpt.Value(x) for x in row] for row in _rows(state[name])] for name in names
        }
        self._flat = gpt.flat(self.params)
        self._t = int(state["adam.t"]) if "adam.t" in state else 0
        self._moments = {
            which: [
                x for name in names for row in _rows(state[f"adam.{which}.{name}"]) for x in row
            ]
            if self._t
            else [0.0] * len(self._flat)
            for which in "mv"
        }
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        return ScalarEngine, (self.config, self.state(), self.optimizer)

    def state(self) -> dict[str, Array]:
        state = by_name(self.config, [p.data for p in self._flat])
        for which, moments in self._moments.items():
            state |= by_name(self.config, moments, f"adam.{which}.")
        return state | {"adam.t": array(float(self._t))}

    def reset(self) -> None:
        self._pos, (self._keys, self._values) = 0, gpt.cache(self.config)

    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        keys, values = self._keys, self._values
        logits = gpt.gpt(self.params, self.config, token_id, self._pos, keys, values)
        for layer in (*keys, *values):  # keep the numbers, not the graph behind them
            layer[-1] = [gpt.Value(x.data) for x in layer[-1]]
        self._pos += 1
        return array(_data(logits))

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        check_context(c, count)
        seen: dict[str, list[list[float]]] = {
            "softmax": [],
            "rmsnorm": [],
            "relu": [],
            "lm_head": [],
        }
        watched = _watching(self.params, seen)
        keys, values = gpt.cache(c)
        logits = [
            _data(watched(self.params, c, token, pos, keys, values))
            for pos, token in enumerate(tokens)
        ]
        # position by position: softmax weighs for each head of each layer, ReLU wakes each layer's
        # units, rmsnorm reads the embedding, then in each layer the stream before attention and MLP
        heads, norms, units = seen["softmax"], seen["rmsnorm"], seen["relu"]
        attention = [
            [
                [*weights, *[0.0] * (count - len(weights))]
                for weights in heads[i :: len(heads) // count]
            ]
            for i in range(c.n_layer * c.n_head)
        ]
        streams = [norms[i :: len(norms) // count] for i in range(1, 1 + 2 * c.n_layer, 2)]
        return {
            "logits": array(logits),
            "probs": array([_data(gpt.softmax([gpt.Value(z) for z in row])) for row in logits]),
            "attention": array(
                [attention[i : i + c.n_head] for i in range(0, len(attention), c.n_head)]
            ),
            "residual": array([*streams, seen["lm_head"]]),
            "hidden": array([units[i :: c.n_layer] for i in range(c.n_layer)]),
        }

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        check_training(self.config, batches, learning_rates, weights)
        losses = []
        for batch, lr, w in zip(
            batches, learning_rates, weights or [None] * len(batches), strict=True
        ):
            losses.append(self._backward(batch, w))
            self._step(float(lr))
        return losses

    def _step(self, lr: float) -> None:
        """Take a step of Adam, or of AdamW, with the gradient in the parameters' grad."""
        optimizer, m, v = self.optimizer, self._moments["m"], self._moments["v"]
        if optimizer.weight_decay:
            for p in self._flat:
                p.data *= 1 - lr * optimizer.weight_decay
        beta1, beta2, eps = optimizer.beta1, optimizer.beta2, optimizer.eps
        gpt.adam(self._flat, m, v, self._t, lr, beta1, beta2, eps)
        self._t += 1

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        check_batch(self.config, batch, weights)
        each = [self._loss(t, weights[i] if weights else None) for i, t in enumerate(batch)]
        return sum(loss.data for loss in each) / len(batch)

    def losses(self, batch: Batch) -> list[list[float]]:
        check_batch(self.config, batch)
        return [_data(_surprises(self._loss(tokens, None))) for tokens in batch]

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        check_batch(self.config, batch, weights)
        self._backward(batch, weights)
        return by_name(self.config, [p.grad for p in self._flat])

    def _backward(self, batch: Batch, weights: Weights | None) -> float:
        """Leave the gradient of a batch's loss in the parameters' grad; return the loss."""
        for p in self._flat:
            p.grad = 0
        mean = 0.0
        for i, tokens in enumerate(batch):
            loss = self._loss(tokens, weights[i] if weights else None) / len(batch)
            loss.backward()
            mean += loss.data
        return mean

    def _loss(self, tokens: Document, weights: Sequence[float] | None) -> gpt.Value:
        try:
            loss = gpt.loss(self.params, self.config, tokens)
        except (ValueError, OverflowError):  # log(0), or a number past the largest float
            raise diverged() from None
        if not math.isfinite(loss.data):
            raise diverged()
        if weights is None:
            return loss
        each = zip(_surprises(loss), weights, strict=True)
        return gpt.add([surprise * float(weight) for surprise, weight in each])


def _surprises(loss: gpt.Value) -> Sequence[gpt.Value]:
    """Return the -log p of each position that gpt.loss added up."""
    (total,) = loss._children  # it ends in total * (1/n)
    return total._children


def _rows(matrix: Array) -> list[list[float]]:
    rows: list[list[float]] = matrix.tolist()
    return rows


def _data(values: Sequence[gpt.Value]) -> list[float]:
    return [v.data for v in values]


def _watching(params: gpt.Params, seen: dict[str, list[list[float]]]) -> Callable[..., Any]:
    """Return gpt.gpt, the same code, calling functions that also note what passes through them.

    Each function of gpt.py finds the others by name; here the names lead to these.
    """
    names = dict(vars(gpt))

    def softmax(logits: gpt.Vector) -> gpt.Vector:
        probs = gpt.softmax(logits)
        seen["softmax"].append(_data(probs))
        return probs

    def rmsnorm(x: gpt.Vector) -> gpt.Vector:
        seen["rmsnorm"].append(_data(x))
        return gpt.rmsnorm(x)

    def linear(x: gpt.Vector, w: gpt.Matrix) -> gpt.Vector:
        if w is params["lm_head"]:
            seen["lm_head"].append(_data(x))
        elif len(x) > len(w):  # only mlp_fc2 is wider than high: its input are the units after ReLU
            seen["relu"].append(_data(x))
        return gpt.linear(x, w)

    names |= {"softmax": softmax, "rmsnorm": rmsnorm, "linear": linear}
    names["attention"] = FunctionType(gpt.attention.__code__, names)
    return FunctionType(gpt.gpt.__code__, names)
