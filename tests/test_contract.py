"""The contract of engines/base.py, held by every engine over every config that it can run.

The scalar engine is the reference: it is gpt.py itself, which tests/test_gpt.py holds against
the published figures, finite differences and PyTorch.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from microgpt import engines, gpt
from microgpt.arrays import Array
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import Engine, TrainableEngine, initial_state
from tests.conftest import EMMA


@dataclass(frozen=True)
class Case:
    """An engine as it is created, and how near it must come to the reference."""

    engine: str
    tolerance: float  # of losses, logits and all that inspect gives, relative to their largest
    gradient: float  # relative L2 error of gradients
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.engine, *map(str, self.options.values())])

    def create(self, config: GPTConfig, **given: Any) -> TrainableEngine:
        """Return the engine with the parameters of seed 42, or skip where it is missing."""
        engine = self.run(config, **given)
        assert isinstance(engine, TrainableEngine)
        return engine

    def run(self, config: GPTConfig, **given: Any) -> Engine:
        """Return the same for an engine that need not be able to train."""
        if reason := engines.missing(self.engine):
            pytest.skip(f"{self.engine}: {reason}")
        state = initial_state(config, random.Random(42))
        return engines.create(self.engine, config, state, **self.options, **given)


CASES = [
    Case("scalar", 0, 0),
    Case("native", 1e-5, 1e-6),
    Case("native", 1e-12, 1e-12, {"dtype": "float64"}),
]
CONFIGS = [
    GPTConfig(),
    GPTConfig(n_layer=2, n_embd=12, n_head=3, block_size=5, vocab_size=7),
    GPTConfig(n_layer=3, n_embd=5, n_head=1, block_size=3, vocab_size=2),
    GPTConfig(n_layer=1, n_embd=6, n_head=6, block_size=1, vocab_size=40),
]


CONSOLE = GPTConfig(block_size=8)  # what a cartridge holds: classic's
RUNS = [(case, config) for case in CASES for config in CONFIGS]
RUNS += [(Case("fixed", 0.05, 0), CONSOLE), (Case("snes", 0.05, 0), CONSOLE)]


def documents(config: GPTConfig, count: int) -> list[list[int]]:
    """Return random documents, of a next token only up to longer than the block."""
    rng, bos = random.Random(7), config.vocab_size - 1
    lengths = [1 + i * (config.block_size + 2) // count for i in range(count)]
    return [[bos, *(rng.randrange(bos) for _ in range(n - 1)), bos] for n in lengths]


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=CONFIGS, ids=lambda c: f"{c.n_layer}x{c.n_embd}")
def config(request: pytest.FixtureRequest) -> GPTConfig:
    return request.param  # type: ignore[no-any-return]


REFERENCE = Case("scalar", 0, 0)


def close(case: Case, actual: Array, expected: Array) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=case.tolerance * scale)


@pytest.mark.parametrize(("case", "config"), RUNS, ids=str)
def test_steps_equal_inspection_and_reference(case: Case, config: GPTConfig) -> None:
    tokens = documents(config, 4)[-1][: config.block_size]
    engine, reference = case.run(config), REFERENCE.create(config)
    expected = reference.inspect(tokens)
    found = engine.inspect(tokens)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].shape == expected[name].shape
        close(case, found[name], expected[name])
    for _ in range(2):  # the second time after a reset
        stepped = np.array([engine.step(token) for token in tokens])
        close(case, stepped, expected["logits"])
        engine.reset()


@pytest.mark.parametrize(("case", "config"), RUNS, ids=str)
def test_inspection_fits_together(case: Case, config: GPTConfig) -> None:
    tokens = documents(config, 3)[1][: config.block_size]
    engine = case.run(config)
    seen, count = engine.inspect(tokens), len(tokens)
    near = max(case.tolerance, 1e-12)
    assert seen["attention"].shape == (config.n_layer, config.n_head, count, count)
    np.testing.assert_allclose(seen["attention"].sum(-1), 1, atol=10 * near)
    assert not np.triu(seen["attention"], 1).any(), "no position may look at a later one"
    np.testing.assert_allclose(seen["probs"].sum(-1), 1, atol=10 * near)
    assert (seen["hidden"] >= 0).all()
    lm_head = initial_state(config, random.Random(42))["lm_head"]
    np.testing.assert_allclose(seen["residual"][-1] @ lm_head.T, seen["logits"], atol=10 * near)


def test_losses_and_gradients(case: Case, config: GPTConfig) -> None:
    batch = documents(config, 4)
    engine, reference = case.create(config), REFERENCE.create(config)
    reference.load(engine.state())  # the same weights, for an engine that rounds them
    n = [min(len(tokens) - 1, config.block_size) for tokens in batch]
    rng = random.Random(3)
    for weights in (None, [[rng.uniform(-1, 2) for _ in range(count)] for count in n]):
        expected = reference.loss(batch, weights)
        assert engine.loss(batch, weights) == pytest.approx(
            expected, rel=max(case.tolerance, 1e-15), abs=case.tolerance
        )
        compare_gradients(
            case, engine.gradients(batch, weights), reference.gradients(batch, weights)
        )
    means = [[1 / count] * count for count in n]
    assert engine.loss(batch, means) == pytest.approx(engine.loss(batch), rel=1e-6)
    singly = [engine.loss([tokens]) for tokens in batch]
    assert engine.loss(batch) == pytest.approx(sum(singly) / len(singly), rel=1e-6)


def compare_gradients(case: Case, found: dict[str, Array], expected: dict[str, Array]) -> None:
    assert list(found) == list(expected)
    a, b = (np.concatenate([g.ravel() for g in each.values()]) for each in (found, expected))
    assert np.linalg.norm(a - b) <= case.gradient * np.linalg.norm(b)


def test_training_follows_the_reference(case: Case, config: GPTConfig) -> None:
    docs = documents(config, 6)
    batches = [docs[i : i + 2] for i in (0, 2, 4, 1)]
    rates = [0.01, 0.008, 0.005, 0.002]
    optimizer = Adam(beta1=0.8, beta2=0.95, eps=1e-6)
    engine, reference = (c.create(config, optimizer=optimizer) for c in (case, REFERENCE))
    losses = reference.train(batches, rates)
    assert engine.train(batches, rates) == pytest.approx(losses, rel=max(case.tolerance, 1e-15))
    found, expected = engine.state(), reference.state()
    assert found.keys() == expected.keys()
    assert found["adam.t"] == 4
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=200 * case.tolerance, err_msg=name)


def test_state_carries_everything(case: Case, config: GPTConfig) -> None:
    docs = documents(config, 4)
    engine, other = case.create(config), case.create(config)
    engine.train([docs[:2]], [0.01])
    before = engine.state()
    other.load(before)
    assert engine.train([docs], [0.01]) == other.train([docs], [0.01])
    after = engine.state()
    for name, array in other.state().items():
        assert (array == after[name]).all(), name
    assert (before["wte"] != after["wte"]).any(), "state() gives copies"
    parameters = {name: before[name] for name, _ in config.shapes()}
    engine.load(parameters)
    assert engine.state()["adam.t"] == 0, "without adam entries the optimizer starts afresh"


def test_one_call_or_many(case: Case) -> None:
    config = GPTConfig()
    docs = documents(config, 6)
    together, apart = case.create(config), case.create(config)
    losses = together.train([[d] for d in docs], [0.01] * 6)
    assert losses == [apart.train([[d]], [0.01])[0] for d in docs]


def test_bad_input_is_refused_and_changes_nothing(case: Case) -> None:
    engine = case.create(GPTConfig(block_size=4))
    before = engine.state()
    for tokens in ([], [27], [-1], [26, 27]):
        with pytest.raises(ValueError, match="token"):
            engine.inspect(tokens)
    with pytest.raises(ValueError, match="block_size"):
        engine.inspect([0] * 5)
    batches: list[list[list[int]]] = [[], [[]], [[26]], [EMMA, [26, 99, 26]]]
    for batch in batches:
        for method in (engine.loss, engine.gradients):
            with pytest.raises(ValueError, match=r"batch|token|document"):
                method(batch)
        with pytest.raises(ValueError, match=r"batch|token|document"):
            engine.train([batch], [0.01])
    for weights in ([], [[0.2] * 3], [[0.2] * 4] * 2):
        with pytest.raises(ValueError, match="weights"):
            engine.loss([EMMA], weights)
    with pytest.raises(ValueError, match="differ in length"):
        engine.train([[EMMA]], [0.01, 0.01])
    for token in (-1, 27):
        with pytest.raises(ValueError, match="token"):
            engine.step(token)
    for _ in range(4):
        engine.step(0)
    with pytest.raises(ValueError, match="block_size"):
        engine.step(0)
    for name, array in engine.state().items():
        assert (array == before[name]).all()


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_states_that_are_not_sound_are_refused(case: Case, number: float) -> None:
    engine = case.create(GPTConfig())
    good = engine.state()
    bad = {name: array.copy() for name, array in good.items()}
    bad["layer0.mlp_fc1"][3, 4] = number
    for state in (
        bad,
        {k: v for k, v in good.items() if k != "wpe"},
        good | {"extra": good["wte"]},
        good | {"wte": good["wte"][:-1]},
        {k: v for k, v in good.items() if k != "adam.v.wte"},
    ):
        with pytest.raises(ValueError, match=r"parameter|tensor"):
            engine.load(state)
    assert (engine.state()["wte"] == good["wte"]).all()


def test_a_loss_past_all_numbers_is_an_error(case: Case) -> None:
    engine = case.create(GPTConfig())
    state = engine.state()
    largest = float(np.finfo(state["lm_head"].dtype).max)
    engine.load(state | {"lm_head": np.where(state["lm_head"] > 0, largest, -largest)})
    with pytest.raises(ValueError, match="finite"):
        engine.train([[EMMA]], [0.01])


def test_scalar_engine_is_the_heart() -> None:
    config = GPTConfig(n_layer=2)
    engine = REFERENCE.create(config)
    params = gpt.init(config, random.Random(42))
    flat = gpt.flat(params)
    m, v, losses = [0.0] * len(flat), [0.0] * len(flat), []
    for step in range(3):
        loss = gpt.loss(params, config, EMMA)
        loss.backward()
        gpt.adam(flat, m, v, step, 0.01)
        losses.append(loss.data)
    assert engine.train([[EMMA]] * 3, [0.01] * 3) == losses
    assert [x for a, _ in config.shapes() for x in engine.state()[a].ravel()] == [
        p.data for p in flat
    ]


def test_those_that_train_are_known() -> None:
    assert "scalar" in engines.trainable()
    assert {case.engine for case in CASES} >= set(engines.trainable()), "each is held to this file"
    for name in set(engines.present()) - set(engines.trainable()):
        config = GPTConfig(block_size=8)
        with pytest.raises(ValueError, match="cannot train"):
            engines.create_trainable(name, config, initial_state(config, random.Random(1)))
