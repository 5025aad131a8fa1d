"""The engine `wasm` against `scalar`, in a browser's Python: run by test_wasm.py, in Pyodide."""

import copy
import math
import pickle
import random
from typing import Any

from microgpt import engines
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import initial_state

CONFIG = GPTConfig(n_layer=2, n_embd=8, n_head=2, block_size=4, vocab_size=6)
BATCH = [[5, 0, 5], [5, 1, 2, 3, 4, 0, 5], [5, 5]]
WEIGHTS = [[0.25, 1.0], [-0.5, 0.0, 2.0, 1.0], [1.5]]


def flat(numbers: Any) -> list[float]:
    """Return all numbers of nested lists and dicts."""
    if isinstance(numbers, dict):
        numbers = list(numbers.values())
    return [x for item in numbers for x in flat(item)] if isinstance(numbers, list) else [numbers]


def close(found: Any, expected: Any) -> None:
    assert len(flat(found)) == len(flat(expected))
    for a, b in zip(flat(found), flat(expected), strict=True):
        assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-5), (a, b)


def refused(call: Any, *given: Any) -> str:
    try:
        call(*given)
    except ValueError as error:
        return str(error)
    raise AssertionError(f"{call} took {given}")


def main() -> None:
    state, adam = initial_state(CONFIG, random.Random(42)), Adam(0.8, 0.95, 1e-6, 0.3)
    wasm = engines.create_trainable("wasm", CONFIG, state, adam)
    scalar = engines.create_trainable("scalar", CONFIG, state, adam)
    for weights in (None, WEIGHTS):
        close(wasm.loss(BATCH, weights), scalar.loss(BATCH, weights))
        close(wasm.gradients(BATCH, weights), scalar.gradients(BATCH, weights))
    assert [len(row) for row in wasm.losses(BATCH)] == [2, 4, 1]
    close(wasm.losses(BATCH), scalar.losses(BATCH))
    both = [BATCH, BATCH], [0.01, 0.005], [None, WEIGHTS]
    close(wasm.train(*both), scalar.train(*both))
    close(wasm.state(), scalar.state())
    close(wasm.inspect([5, 1, 2]), scalar.inspect([5, 1, 2]))
    for twin in (copy.deepcopy(wasm), pickle.loads(pickle.dumps(wasm))):
        assert twin.state() == wasm.state()
        assert twin.losses(BATCH) == wasm.losses(BATCH)
    for bad in ([], [[0]], [[5, 9]]):
        assert refused(wasm.losses, bad) == refused(scalar.losses, bad)
    assert refused(wasm.loss, BATCH, [[1.0]]) == refused(scalar.loss, BATCH, [[1.0]])


if __name__ == "__main__":
    main()
    print("held")
