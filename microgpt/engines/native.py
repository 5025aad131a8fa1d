"""The native engine: the model in C (native/kernel.c), as wide as the machine's vectors."""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import astuple
from functools import partial
from typing import Any, TypeVar

import numpy as np

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import Adam, GPTConfig, whole
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

try:
    from microgpt.native.kernel import Model, kernels
except ImportError as error:
    raise ImportError(
        "its C part was not built; install a C compiler (gcc or clang), then microgpt again"
    ) from error

T = TypeVar("T")
DTYPES: dict[str, type[np.floating]] = {"float32": np.float32, "float64": np.float64}
REFUSALS = (ValueError, TypeError, OverflowError)  # of the kernel, which says no more than that
PARTS = ("", "adam.m.", "adam.v.")  # of a state, by what their names begin with


class NativeEngine:
    """Runs and trains a model in C.

    Args:
        dtype: float32, or float64 to follow gpt.py to the last digits.
        threads: how many share a large batch; all the processor has, if None. Results are the same.

    Raises:
        ValueError: an option or the environment's MICROGPT_SIMD is not one there is, or the
            model does not fit the memory.
    """

    def __init__(
        self,
        config: GPTConfig,
        state: State,
        optimizer: Adam,
        dtype: str = "float32",
        threads: int | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
        threads = None if threads is None else whole("threads", threads, least=1)
        self.config, self.optimizer, self.dtype = config, optimizer, np.dtype(DTYPES[dtype])
        self._threads = threads
        self._model = Model(
            astuple(config), astuple(optimizer), self.dtype.itemsize, simd(), threads or cores()
        )
        self.load(state)

    def load(self, state: State) -> None:
        check_state(self.config, state)
        names = [name for name, _ in self.config.shapes()]
        largest = float(np.finfo(DTYPES[self.dtype.name]).max)
        for name, array in state.items():
            if (np.abs(array.astype(float)) > largest).any():
                raise ValueError(f"tensor {name} holds numbers past the largest {self.dtype}")
        flat = np.zeros((len(PARTS), self.config.n_params))
        for row, part in zip(flat, PARTS, strict=True):
            if part + names[0] in state:
                np.concatenate([state[part + name].ravel() for name in names], out=row)
        self._model.load(flat, float(state.get("adam.t", 0.0)))

    def __reduce__(self) -> tuple[Any, ...]:
        of = (self.config, self.state(), self.optimizer, self.dtype.name, self._threads)
        return NativeEngine, of

    def state(self) -> dict[str, Array]:
        flat = np.empty((len(PARTS), self.config.n_params))
        t = self._model.state(flat)
        params, *moments = map(partial(by_name, self.config), flat, PARTS)
        state = {name: array.astype(self.dtype) for name, array in params.items()}
        return state | moments[0] | moments[1] | {"adam.t": np.array(t)}

    def reset(self) -> None:
        self._model.reset()

    def step(self, token_id: int) -> Array:
        logits = np.empty(self.config.vocab_size)
        try:
            self._model.step(token_id, logits)
        except REFUSALS:
            check_tokens(self.config, [token_id])
            check_context(self.config, self._model.position + 1)
            raise
        return logits

    def sample_many(
        self,
        count: int,
        seed: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        prefix: Sequence[int],
    ) -> list[list[int]]:
        c = self.config
        if prefix:
            check_tokens(c, prefix)
        if len(prefix) == c.block_size:
            return [list(prefix) for _ in range(count)]
        kept = min(top_k or c.vocab_size, c.vocab_size)
        given = np.array(prefix, np.int32)
        return self._model.sample(
            count, seed % 2**64, temperature, kept, 1.0 if top_p is None else top_p, given
        )

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        check_context(c, count)
        seen: dict[str, Array] = {
            "logits": np.empty((count, c.vocab_size)),
            "probs": np.empty((count, c.vocab_size)),
            "attention": np.empty((c.n_layer, c.n_head, count, count)),
            "residual": np.empty((c.n_layer + 1, count, c.n_embd)),
            "hidden": np.empty((c.n_layer, count, 4 * c.n_embd)),
        }
        self._model.inspect(np.array(tokens, np.int32), *seen.values())
        return seen

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        try:
            return self._model.train(batches, learning_rates, weights)
        except FloatingPointError:
            raise diverged() from None
        except REFUSALS:
            check_training(self.config, batches, learning_rates, weights)
            raise

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        return self._of_batch(self._model.loss, batch, weights)

    def losses(self, batch: Batch) -> list[list[float]]:
        return self._of_batch(self._model.losses, batch)

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        flat = np.empty(self.config.n_params)
        self._of_batch(lambda b, w: self._model.gradient(b, w, flat), batch, weights)
        return by_name(self.config, flat)

    def _of_batch(self, call: Callable[..., T], batch: Batch, *weights: Weights | None) -> T:
        """Return what the kernel says of a batch, or say what is wrong with the batch."""
        try:
            return call(batch, *weights)
        except FloatingPointError:
            raise diverged() from None
        except REFUSALS:
            check_batch(self.config, batch, *weights)
            raise


def about() -> str:
    """Return what the engine is on this machine."""
    others = [name for name in kernels() if name != simd()]
    return f"C, with the vectors of {simd()}" + (f" (also: {', '.join(others)})" if others else "")


def cores() -> int:
    """Return how many of the processor's cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def simd() -> str:
    """Return the vector width in use: the machine's best, or the environment's MICROGPT_SIMD.

    Raises:
        ValueError: this machine does not have the one that the environment names.
    """
    name = os.environ.get("MICROGPT_SIMD") or kernels()[0]
    if name not in kernels():
        raise ValueError(
            f"MICROGPT_SIMD is {name!r}; this machine has {', '.join(kernels())}; "
            "unset it for the fastest"
        )
    return name
