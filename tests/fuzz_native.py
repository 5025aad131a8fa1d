"""Give the native engine whatever comes to mind: it answers, or raises, and never crashes.

    python tests/fuzz_native.py ROUNDS [EXTENSION]     EXTENSION: another build of the C part

Run by test_native.py, which also does so with the sanitizers' build.
"""

import importlib.util
import os
import random
import sys
from contextlib import suppress
from typing import Any

import numpy as np

if __name__ == "__main__" and len(sys.argv) > 2:
    spec = importlib.util.spec_from_file_location("microgpt.native.kernel", sys.argv[2])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["microgpt.native.kernel"] = module

from microgpt import engines
from microgpt.config import Adam, GPTConfig
from microgpt.native.kernel import Model, kernels

REFUSALS = (ValueError, TypeError, OverflowError, AttributeError)


def anything(rng: random.Random, depth: int = 0) -> Any:
    """Return something that no list of documents should hold, or might."""
    nested = [] if depth > 2 else [[anything(rng, depth + 1) for _ in range(rng.randrange(4))]]
    odd = [None, "", "abc", 1.5, float("nan"), 2**70, -(2**70), -1, 10**6, {}, {1: 2}, b"\x00"]
    return rng.choice([*odd, *nested, *nested, *nested, np.zeros(3), range(2), object(), True])


def document(rng: random.Random, config: GPTConfig) -> list[Any]:
    tokens: list[Any] = [
        rng.randrange(config.vocab_size) for _ in range(rng.randint(2, 2 * config.block_size + 2))
    ]
    if rng.random() < 0.2:
        tokens[rng.randrange(len(tokens))] = anything(rng)
    return tokens


def batch(rng: random.Random, config: GPTConfig) -> Any:
    if rng.random() < 0.1:
        return anything(rng)
    return [document(rng, config) for _ in range(rng.choice([0, 1, 1, 2, 3, 200]))]


def fuzz(rng: random.Random) -> None:
    """Make a model of random sizes, and call everything it has a few times."""
    head_dim = rng.choice([1, 2, 3, 4, 5, 8, 16, 17, 31])
    n_head = rng.choice([1, 2, 3, 5])
    config = GPTConfig(
        n_layer=rng.randint(1, 3),
        n_embd=head_dim * n_head,
        n_head=n_head,
        block_size=rng.choice([1, 2, 7, 16, 300]),
        vocab_size=rng.choice([1, 2, 15, 16, 17, 27, 100]),
    )
    if rng.random() < 0.2:
        config = GPTConfig()
    os.environ["MICROGPT_SIMD"] = rng.choice(kernels())
    numbers = np.random.default_rng(rng.randrange(2**32))
    scale = rng.choice([0, 0.1, 1, 1e20])
    state = {name: numbers.normal(0, scale, shape) for name, shape in config.shapes()}
    options = {"dtype": rng.choice(["float32", "float64"]), "threads": rng.randint(1, 3)}
    try:
        adam = Adam(weight_decay=rng.choice([0, 0, 0.1]))
        engine = engines.create_trainable("native", config, state, adam, **options)
    except ValueError:  # past the largest float32
        return
    for _ in range(6):
        docs, more = batch(rng, config), batch(rng, config)
        weights = rng.choice([None, None, anything(rng), [anything(rng)]])
        token = rng.choice([0, config.vocab_size - 1, config.vocab_size, anything(rng)])
        prefix = [
            rng.randrange(config.vocab_size) for _ in range(rng.randint(0, config.block_size))
        ]
        heat, kept = (
            rng.choice([0, 1, 1e-9, 1e9]),
            rng.choice([(None, None), (2, 0.5), (None, 0.1)]),
        )
        first = docs[0] if isinstance(docs, list) and docs else docs
        rates = [0.01, rng.choice([0.01, 1e30, float("nan")])]
        many = engine.sample_many  # type: ignore[attr-defined]
        calls: list[tuple[Any, ...]] = [
            (engine.loss, docs, weights),
            (engine.losses, docs),
            (engine.gradients, docs),
            (engine.train, [docs, more], rates),
            (engine.train, anything(rng), anything(rng), anything(rng)),
            (engine.step, token),
            (engine.inspect, first),
            (engine.load, {name: array * 2 for name, array in engine.state().items()}),
            (many, rng.randint(0, 40), rng.randrange(2**64), heat, *kept, prefix),
        ]
        call, *given = rng.choice(calls)
        with suppress(*REFUSALS):
            call(*given)
    for size in (0, 1, config.n_params, 3 * config.n_params + 1):
        with suppress(*REFUSALS):
            engine._model.load(np.zeros(size), anything(rng))  # type: ignore[attr-defined]
        with suppress(*REFUSALS):
            engine._model.state(np.zeros(size))  # type: ignore[attr-defined]
    with suppress(*REFUSALS):
        Model(*[anything(rng) for _ in range(5)])


if __name__ == "__main__":
    for seed in range(int(sys.argv[1])):
        fuzz(random.Random(seed))
    print(f"{sys.argv[1]} models, and no crash")
