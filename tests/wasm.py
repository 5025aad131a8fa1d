"""The engine that a browser has (native/wasm/kernel.mjs), run by Node, as an engine in Python."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import Adam, GPTConfig
from microgpt.documents import Batch, Document, Weights
from microgpt.engines.base import by_name

ROOT = Path(__file__).parent.parent
KERNEL = ROOT / "microgpt" / "native" / "wasm" / "kernel.wasm"
NODE = shutil.which("node")


class Wasm:
    """Runs and trains a model in Node; errors are ValueErrors."""

    def __init__(
        self, config: GPTConfig, state: State, optimizer: Adam | None = None, kernel: Path = KERNEL
    ) -> None:
        assert NODE
        self.config = config
        self._node: Any = subprocess.Popen(
            [NODE, ROOT / "tests" / "wasm.mjs", kernel],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        made = [asdict(config), asdict(optimizer or Adam())]
        self.evaluate("void (engine = create(module, ...given))", made)
        self.load(state)

    def close(self) -> None:
        self._node.communicate()

    def evaluate(self, expression: str, given: Any = None) -> Any:
        """Return the value of an expression in JavaScript, over `engine` and what is given."""
        question = json.dumps({"expression": expression, "given": given})
        print(question, file=self._node.stdin, flush=True)
        answer = json.loads(self._node.stdout.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer.get("value")

    def load(self, state: State) -> None:
        check_state(self.config, state)
        given: dict[str, Any] = {"params": self._flat(state, "")}
        if "adam.t" in state:
            given |= {"m": self._flat(state, "adam.m."), "v": self._flat(state, "adam.v.")}
            given["t"] = int(state["adam.t"])
        self.evaluate("engine.load(given)", given)

    def state(self) -> dict[str, Array]:
        found = self.evaluate("engine.state()")
        params = by_name(self.config, found["params"])
        state: dict[str, Array] = {name: a.astype(np.float32) for name, a in params.items()}
        for which in "mv":
            state |= by_name(self.config, found[which], f"adam.{which}.")
        return state | {"adam.t": np.array(float(found["t"]))}

    def reset(self) -> None:
        self.evaluate("engine.reset()")

    def step(self, token_id: int) -> Array:
        return np.array(self.evaluate("engine.step(given)", token_id))

    def inspect(self, tokens: Document) -> dict[str, Array]:
        found = self.evaluate("engine.inspect(given)", list(tokens))
        c, count = self.config, len(tokens)
        shapes = {
            "logits": (count, c.vocab_size),
            "probs": (count, c.vocab_size),
            "attention": (c.n_layer, c.n_head, count, count),
            "residual": (c.n_layer + 1, count, c.n_embd),
            "hidden": (c.n_layer, count, 4 * c.n_embd),
        }
        return {name: np.array(found[name]).reshape(shape) for name, shape in shapes.items()}

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        given = [batches, learning_rates] if weights is None else [batches, learning_rates, weights]
        losses: list[float] = self.evaluate("engine.train(...given)", given)
        return losses

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        return float(self.evaluate("engine.loss(...given)", [batch, weights]))

    def losses(self, batch: Batch) -> list[list[float]]:
        losses: list[list[float]] = self.evaluate("engine.losses(given)", batch)
        return losses

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        found = self.evaluate("engine.gradients(...given)", [batch, weights])
        return by_name(self.config, found)

    def sample_many(
        self,
        count: int,
        seed: int,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        prefix: Sequence[int],
    ) -> list[list[int]]:
        how = {"temperature": temperature, "topK": top_k, "topP": top_p, "prefix": prefix}
        how = {name: value for name, value in how.items() if value is not None}
        names: list[list[int]] = self.evaluate("engine.sample(0, ...given)", [count, seed, how])
        return names

    def _flat(self, state: State, prefix: str) -> list[float]:
        arrays = [state[prefix + name].ravel() for name, _ in self.config.shapes()]
        flat: list[float] = np.concatenate(arrays).tolist()
        return flat
