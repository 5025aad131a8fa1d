"""The engine that a browser has (native/wasm/kernel.mjs), run by Node, as an engine in Python."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.config import GPTConfig
from microgpt.documents import Batch, Document

ROOT = Path(__file__).parent.parent
KERNEL = ROOT / "microgpt" / "native" / "wasm" / "kernel.wasm"
NODE = shutil.which("node")


class Wasm:
    """Runs and trains a model in Node; errors are ValueErrors."""

    def __init__(self, config: GPTConfig, state: State, kernel: Path = KERNEL) -> None:
        assert NODE
        self.config = config
        self._node: Any = subprocess.Popen(
            [NODE, ROOT / "tests" / "wasm.mjs", kernel],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.evaluate("void (engine = create(module, given))", vars(config))
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
        given: dict[str, Any] = {"params": self._flat(state, "")}
        if "adam.t" in state:
            given |= {"m": self._flat(state, "adam.m."), "v": self._flat(state, "adam.v.")}
            given["t"] = int(state["adam.t"])
        self.evaluate("engine.load(given)", given)

    def state(self) -> dict[str, Array]:
        found = self.evaluate("engine.state()")
        state = self._by_name(found["params"])
        for which in "mv":
            named = self._by_name(found[which])
            state |= {f"adam.{which}.{name}": array for name, array in named.items()}
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

    def train(self, batches: Sequence[Batch], learning_rates: Sequence[float]) -> list[float]:
        losses: list[float] = self.evaluate("engine.train(...given)", [batches, learning_rates])
        return losses

    def loss(self, batch: Batch) -> float:
        return float(self.evaluate("engine.loss(given)", batch))

    def gradients(self, batch: Batch) -> dict[str, Array]:
        return self._by_name(self.evaluate("engine.gradients(given)", batch))

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

    def _by_name(self, numbers: list[float]) -> dict[str, Array]:
        arrays, start = {}, 0
        for name, (rows, columns) in self.config.shapes():
            end = start + rows * columns
            arrays[name] = np.array(numbers[start:end]).reshape(rows, columns)
            start = end
        assert start == len(numbers)
        return arrays
