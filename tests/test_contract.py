"""The contract of engines/base.py, held by every engine over every config that it can run.

The scalar engine is the reference: it is gpt.py itself, which tests/test_gpt.py holds against
the published figures, finite differences and PyTorch.
"""

import copy
import json
import math
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pytest

from microgpt import dataset, engines, gpt
from microgpt.arrays import Array, State
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import Engine, TrainableEngine, initial_state
from tests.conftest import EMMA
from tests.wasm import NODE, Wasm


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
        state = initial_state(config, random.Random(42))
        if self.engine == "node":
            return node(config, state, **given)
        if reason := engines.missing(self.engine):
            pytest.skip(f"{self.engine}: {reason}")
        return engines.create(self.engine, config, state, **self.options, **given)


OPENED: list[Wasm] = []


def node(config: GPTConfig, state: State, **given: Any) -> Wasm:
    """Return the browser's kernel, run by Node, or skip where that is missing."""
    if not NODE:
        pytest.skip("needs Node")
    OPENED.append(Wasm(config, state, **given))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """End the processes that a test began."""
    yield
    while OPENED:
        OPENED.pop().close()


CASES = [
    Case("scalar", 0, 0),
    Case("native", 1e-5, 1e-6),
    Case("native", 1e-12, 1e-12, {"dtype": "float64"}),
    Case("node", 1e-5, 1e-6),
    Case("pytorch", 1e-5, 1e-6),
    Case("pytorch", 1e-12, 1e-12, {"dtype": "float64"}),
    Case("pytorch", 1e-12, 1e-12, {"dtype": "float64", "micro_batch": 3}),
]
CONFIGS = [
    GPTConfig(),
    GPTConfig(n_layer=2, n_embd=12, n_head=3, block_size=5, vocab_size=7),
    GPTConfig(n_layer=3, n_embd=5, n_head=1, block_size=3, vocab_size=2),
    GPTConfig(n_layer=1, n_embd=6, n_head=6, block_size=1, vocab_size=40),
]


SMALL = GPTConfig(n_layer=2, n_embd=4, n_head=1, block_size=5, vocab_size=7)
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


def test_losses_of_positions(case: Case, config: GPTConfig) -> None:
    count = 4 if case.engine == "scalar" else 60  # more than one slice
    batch = documents(config, count)
    engine, reference = case.create(config), REFERENCE.create(config)
    reference.load(engine.state())
    losses = engine.losses(batch)
    assert [len(row) for row in losses] == [min(len(t) - 1, config.block_size) for t in batch]
    assert all(type(loss) is float and math.isfinite(loss) for row in losses for loss in row)
    for d in (0, 1, count // 2, count - 1):
        (expected,) = reference.losses([batch[d]])
        assert losses[d] == pytest.approx(expected, rel=0, abs=4 * case.tolerance)
    means = [sum(row) / len(row) for row in losses]
    assert sum(means) / count == pytest.approx(engine.loss(batch), rel=1e-6)


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
    parameters = {name: before[name].astype(np.float32) for name, _ in config.shapes()}
    engine.load(parameters)
    assert engine.state()["adam.t"] == 0, "without adam entries the optimizer starts afresh"


def test_decay_is_torchs(case: Case) -> None:
    """AdamW, over all weights, in a batch of one slice and in one of many."""
    torch = pytest.importorskip("torch")
    config, optimizer = SMALL, Adam(0.8, 0.95, 1e-6, weight_decay=0.3)
    engine, gradients = (case.create(config, optimizer=optimizer) for _ in range(2))
    params = {n: torch.tensor(a, dtype=torch.float64) for n, a in engine.state().items()}
    params = {name: params[name].requires_grad_() for name, _ in config.shapes()}
    adam = torch.optim.AdamW(params.values(), 0.01, (0.8, 0.95), 1e-6, weight_decay=0.3)
    for batch in (documents(config, 2), documents(config, 100), documents(config, 2)):
        held = {name: p.detach().numpy() for name, p in params.items()}
        gradients.load(held)
        for name, g in gradients.gradients(batch).items():
            params[name].grad = torch.tensor(g, dtype=torch.float64)
        adam.step()
        engine.train([batch], [0.01])
        for name, array in engine.state().items():
            if name in params:
                expected = params[name].detach().numpy()
                np.testing.assert_allclose(array, expected, atol=max(200 * case.tolerance, 1e-14))


def test_decay_is_of_the_weights_before_the_step(case: Case) -> None:
    for batch in (documents(SMALL, 2), documents(SMALL, 100)):
        plain = case.create(SMALL)
        decayed = case.create(SMALL, optimizer=Adam(weight_decay=0.5))
        before = plain.state()
        plain.train([batch], [0.02])
        decayed.train([batch], [0.02])
        for name, array in plain.state().items():
            less = 0.02 * 0.5 * before[name] if "adam" not in name else 0.0
            atol = max(case.tolerance, 1e-15)
            np.testing.assert_allclose(decayed.state()[name], array - less, atol=atol)


def test_a_run_that_diverges_says_so_in_the_same_words(case: Case) -> None:
    """gpt.py's softmax gives the next token 0, whose log is an error; others could go on."""
    engine, batch = case.create(GPTConfig()), [EMMA, EMMA]
    state = engine.state()
    before = state | {"lm_head": state["lm_head"] * 2000}
    engine.load(before)
    for call in (
        engine.loss,
        engine.losses,
        engine.gradients,
        lambda batch: engine.train([batch], [0.01]),
        lambda batch: engine.train([batch * 60], [0.01]),
    ):
        with pytest.raises(ValueError, match="^the loss is no longer a finite number; lower lr$"):
            call(batch)
    for name, array in engine.state().items():
        assert (array == before[name]).all(), name
    engine.load(state | {"lm_head": state["lm_head"] * 500})
    assert max(engine.losses(batch)[0]) < 745, "so near to the edge all still go on"


def test_a_learning_rate_too_high_stops_every_engine_at_the_same_step(case: Case) -> None:
    docs = list(dataset.load("world").documents[:300])
    alphabet = "".join(sorted(set("".join(docs))))
    batches = [[gpt.encode(doc, alphabet)] for doc in docs]
    config = GPTConfig(vocab_size=len(alphabet) + 1)
    engine, reference = case.create(config), REFERENCE.create(config)
    with pytest.raises(ValueError, match="the loss is no longer a finite number; lower lr"):
        reference.train(batches, [1.0] * 300)
    with pytest.raises(ValueError, match="the loss is no longer a finite number; lower lr"):
        engine.train(batches, [1.0] * 300)
    assert engine.state()["adam.t"] == reference.state()["adam.t"]


def test_numbers_of_numpy_are_numbers(case: Case) -> None:
    if case.engine == "node":
        pytest.skip("a browser's Python has no numpy")
    one, other = case.create(GPTConfig()), case.create(GPTConfig())
    tokens: list[Any] = [np.int64(token) for token in EMMA]
    lr: Any = np.float32(0.01)
    weights = [[0.25, 0.5, 0.125, 0.125, 0.0]]
    rows: list[list[Any]] = [[np.float32(w) for w in weights[0]]]
    assert one.losses([tokens]) == other.losses([EMMA])
    found = one.train([[tokens]] * 2, [lr] * 2, [rows, rows])
    assert found == other.train([[EMMA]] * 2, [float(lr)] * 2, [weights, weights])
    assert all(type(loss) is float for loss in found)
    for name, array in one.state().items():
        assert (array == other.state()[name]).all(), name
    assert (one.step(tokens[0]) == other.step(26)).all()
    for token in (1.5, "a", None):  # numbers of a kind that is not an id
        with pytest.raises(ValueError, match="is not in the vocabulary"):
            one.loss([[26, token, 26]])  # type: ignore[list-item]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
@pytest.mark.parametrize(
    ("case", "config"), [(case, config) for case, config in RUNS if case.engine != "node"], ids=str
)
def test_a_copy_is_the_same_engine(
    case: Case, config: GPTConfig, copied: Callable[[Engine], Engine]
) -> None:
    engine, batch = case.run(config), documents(config, 4)
    if isinstance(engine, TrainableEngine):
        engine.train([batch], [0.01])
    engine.step(0)
    twin = copied(engine)
    assert twin.config == engine.config
    engine.reset()
    assert (twin.step(0) == engine.step(0)).all(), "a copy begins a document"
    if isinstance(engine, TrainableEngine):
        assert isinstance(twin, TrainableEngine)
        assert twin.train([batch], [0.01]) == engine.train([batch], [0.01])


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
        good | {"adam.t": np.array(2.5)},
        good | {"adam.t": np.array(1e300)},
    ):
        with pytest.raises(ValueError, match=r"parameter|tensor|adam.t"):
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


def test_sizes_are_in_the_order_of_gpt_py() -> None:
    """The kernel takes them in that order too, or nothing above would pass."""
    assert tuple(field.name for field in fields(GPTConfig)) == gpt.Config._fields


def test_sizes_and_settings_of_numpy_are_numbers() -> None:
    config = GPTConfig(n_embd=np.int64(8), n_head=np.int32(2))  # type: ignore[arg-type]
    adam = Adam(beta1=np.float32(0.5), eps=np.float64(1e-6))  # type: ignore[arg-type]
    assert {type(size) for size in asdict(config).values()} == {int}
    assert {type(number) for number in asdict(adam).values()} == {float}
    assert json.loads(json.dumps(asdict(config))) == asdict(config)
    for wrong in (True, 2.0, "8", None):
        with pytest.raises(ValueError, match="n_embd is .*; it must be a whole number"):
            GPTConfig(n_embd=wrong)  # type: ignore[arg-type]
    for wrong in (True, "0.9", None):
        with pytest.raises(ValueError, match="beta2 is .*; it must be a number"):
            Adam(beta2=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight_decay is -1.0; it must be 0 or more"):
        Adam(weight_decay=-1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scalar", "none"),
        ("native", "dtype, threads"),
        ("pytorch", "dtype, device, autocast, compile, fsdp, micro_batch"),
    ],
)
def test_an_option_that_an_engine_has_not(name: str, options: str) -> None:
    if reason := engines.missing(name):
        pytest.skip(f"{name}: {reason}")
    state = initial_state(GPTConfig(), random.Random(1))
    line = f"^the engine {name} has no option 'm'; it has {options}$"
    with pytest.raises(ValueError, match=line):
        engines.create(name, GPTConfig(), state, m=8)


def test_those_that_train_are_known() -> None:
    assert "scalar" in engines.trainable()
    assert {case.engine for case in CASES} >= set(engines.trainable()), "each is held to this file"
    for name in set(engines.present()) - set(engines.trainable()):
        config = GPTConfig(block_size=8)
        with pytest.raises(ValueError, match="cannot train"):
            engines.create_trainable(name, config, initial_state(config, random.Random(1)))
