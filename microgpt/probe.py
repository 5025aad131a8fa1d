"""What an engineer asks of any engine, past what its `inspect` answers.

`engine.inspect(tokens)` gives attention per head, logits, probabilities, the residual stream and
the MLP's units. Here is what follows from them and from `gradients`, as plain arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microgpt.arrays import Array, State
from microgpt.documents import Batch, Document
from microgpt.engines.base import Engine, TrainableEngine


def lens(engine: Engine, tokens: Document, lm_head: Array | None = None) -> Array:
    """Return (n_layer + 1, T, vocab_size): what the model would say after each block.

    The residual stream before each layer, and after the last, is read through lm_head and softmax
    (the logit lens, nostalgebraist 2020); the last row is what the model says.

    Raises:
        ValueError: the engine does not tell its parameters, and no lm_head is given.
    """
    if lm_head is None:
        if not isinstance(engine, TrainableEngine):
            raise ValueError("this engine does not tell its parameters; give lens an lm_head")
        lm_head = engine.state()["lm_head"]
    stream = np.asarray(engine.inspect(tokens)["residual"], dtype=float)
    return _softmax(stream @ np.asarray(lm_head, dtype=float).T)


def dead_units(engine: Engine, documents: Batch) -> NDArray[np.bool_]:
    """Return (n_layer, 4 n_embd) of bool: units of the MLP that no position of the documents wakes.

    Raises:
        ValueError: there are no documents.
    """
    if not len(documents):
        raise ValueError("there are no documents; a unit is dead only as far as one has looked")
    dead = np.ones((engine.config.n_layer, 4 * engine.config.n_embd), dtype=bool)
    for tokens in documents:
        hidden = engine.inspect(tokens[: engine.config.block_size])["hidden"]
        dead &= (hidden <= 0).all(axis=1)
    return dead


@dataclass(frozen=True)
class Norms:
    """The sizes of one training step, by tensor."""

    step: int  # from 0
    loss: float  # before the step (nats/token)
    gradient: dict[str, float]  # L2 norm of the gradient
    update: dict[str, float]  # L2 norm of what the step changed
    weight: dict[str, float]  # L2 norm of the parameters before the step


def watch_training(
    engine: TrainableEngine, batches: Sequence[Batch], learning_rates: Sequence[float]
) -> Iterator[Norms]:
    """Train step by step, and yield each step's norms; the gradients are computed once more for it.

    Raises:
        ValueError: as the engine's train does.
    """
    for step, (batch, lr) in enumerate(zip(batches, learning_rates, strict=True)):
        before, gradient = _weights(engine.state()), engine.gradients(batch)
        (loss,) = engine.train([batch], [lr])
        after = _weights(engine.state())
        update = {name: after[name] - before[name] for name in before}
        yield Norms(step, loss, _norms(gradient), _norms(update), _norms(before))


def _weights(state: State) -> dict[str, Array]:
    return {name: np.array(a) for name, a in state.items() if not name.startswith("adam.")}


def _norms(tensors: State) -> dict[str, float]:
    return {name: float(np.linalg.norm(np.asarray(a, float))) for name, a in tensors.items()}


def _softmax(logits: Array) -> Array:
    exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=-1, keepdims=True))
