"""The native engine where Python itself runs in a browser: the C kernel, compiled to WebAssembly.

Its numbers live in native/wasm/kernel.mjs, which the page's worker gives to Python as a module.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from microgpt.arrays import Array, State, array, reshape
from microgpt.checkpoint import check_state
from microgpt.config import Adam, GPTConfig
from microgpt.documents import Batch, Document, Weights, check_batch, check_tokens, check_training
from microgpt.engines.base import by_name

try:
    import js  # these three are Pyodide's, and the worker's
    import microgpt_kernel
    from pyodide.ffi import JsException, to_js
except ImportError as error:
    raise ImportError("it runs in a browser: microgpt lab --export") from error


class WasmEngine:
    """Runs and trains a model in WebAssembly, in float32."""

    def __init__(self, config: GPTConfig, state: State, optimizer: Adam) -> None:
        self.config, self.optimizer = config, optimizer
        with _as_value_error():
            self._kernel = microgpt_kernel.create(
                _object(asdict(config)), _object(asdict(optimizer))
            )
        self.load(state)

    def load(self, state: State) -> None:
        check_state(self.config, state)
        parts: dict[str, Any] = {"params": self._flat(state, "")}
        if state.get("adam.t"):
            parts |= {which: self._flat(state, f"adam.{which}.") for which in "mv"}
            parts["t"] = int(state["adam.t"])
        with _as_value_error():
            self._kernel.load(_object(parts))

    def __reduce__(self) -> tuple[Any, ...]:
        return WasmEngine, (self.config, self.state(), self.optimizer)

    def state(self) -> dict[str, Array]:
        held = self._kernel.state()
        state = self._by_name("", held.params)
        for which in "mv":
            state |= self._by_name(f"adam.{which}.", getattr(held, which))
        return state | {"adam.t": array(float(held.t))}

    def reset(self) -> None:
        self._kernel.reset()

    def step(self, token_id: int) -> Array:
        with _as_value_error():
            return _array(self._kernel.step(token_id), [self.config.vocab_size])

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        with _as_value_error():
            seen = self._kernel.inspect(to_js([*tokens]))
        return {
            "logits": _array(seen.logits, [count, c.vocab_size]),
            "probs": _array(seen.probs, [count, c.vocab_size]),
            "attention": _array(seen.attention, [c.n_layer, c.n_head, count, count]),
            "residual": _array(seen.residual, [c.n_layer + 1, count, c.n_embd]),
            "hidden": _array(seen.hidden, [c.n_layer, count, 4 * c.n_embd]),
        }

    def sample_many(
        self,
        count: int,
        seed: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        prefix: Sequence[int],
    ) -> list[list[int]]:
        given = {"temperature": temperature, "topK": top_k, "topP": top_p, "prefix": [*prefix]}
        dials = _object({name: dial for name, dial in given.items() if dial is not None})
        with _as_value_error():
            documents: list[list[int]] = self._kernel.sample(0, count, seed, dials).to_py()
        return documents

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        check_training(self.config, batches, learning_rates, weights)
        given = batches, learning_rates, weights or [None] * len(batches)
        with _as_value_error():
            losses: list[float] = self._kernel.train(*map(to_js, given)).to_py()
        return losses

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        check_batch(self.config, batch, weights)
        with _as_value_error():
            return float(self._kernel.loss(to_js(batch), to_js(weights)))

    def losses(self, batch: Batch) -> list[list[float]]:
        check_batch(self.config, batch)
        with _as_value_error():
            losses: list[list[float]] = self._kernel.losses(to_js(batch)).to_py()
        return losses

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        check_batch(self.config, batch, weights)
        with _as_value_error():
            return self._by_name("", self._kernel.gradients(to_js(batch), to_js(weights)))

    def _flat(self, state: State, prefix: str) -> Any:
        names = [prefix + name for name, _ in self.config.shapes()]
        return to_js([x for name in names for row in state[name].tolist() for x in row])

    def _by_name(self, prefix: str, flat: Any) -> dict[str, Array]:
        return by_name(self.config, flat.to_py(), prefix)


def _array(flat: Any, shape: Sequence[int]) -> Array:
    """Return the numbers of a Float64Array as an array of a shape."""
    return reshape(flat.to_py(), shape)


def _object(entries: dict[str, Any]) -> Any:
    return to_js(entries, dict_converter=js.Object.fromEntries)


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn an Error of the kernel's into a ValueError."""
    try:
        yield
    except JsException as error:
        raise ValueError(str(error.message)) from None
