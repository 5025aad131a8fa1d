"""The kernel in WebAssembly, run by Node, against the native engine and gpt.py."""

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import dataset, engines, gpt
from microgpt.arrays import State
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.sampling import Sampling, sample, sample_many
from tests.conftest import EMMA
from tests.test_contract import CONFIGS, documents
from tests.test_native import PUBLISHED_NAMES, SETTINGS, norm, random_config
from tests.wasm import KERNEL, NODE, ROOT, Wasm

if not NODE:
    pytest.skip("needs Node", allow_module_level=True)

Create = Callable[..., Wasm]


@pytest.fixture
def create() -> Iterator[Create]:
    """Return what makes an engine, with the parameters of seed 42 if none are given."""
    with ExitStack() as stack:

        def made(config: GPTConfig, state: State | None = None, **given: Any) -> Wasm:
            engine = Wasm(config, state or initial_state(config, random.Random(42)), **given)
            stack.callback(engine.close)
            return engine

        yield made


# ---- The same numbers ----------------------------------------------------------------------------


def run_both(create: Create, docs: list[str], steps: int) -> tuple[Wasm, random.Random, str]:
    """Train as gpt.py does, natively too; return the engine, the generator, and the alphabet.

    Natively in float64: between two float32 kernels a unit may fall on both sides of its ReLU.
    """
    rng = random.Random(42)
    rng.shuffle(docs)
    alphabet = "".join(sorted(set("".join(docs))))
    config = GPTConfig(vocab_size=len(alphabet) + 1)
    state = initial_state(config, rng)
    batches = [[gpt.encode(doc, alphabet)] for doc in docs[:steps]]
    rates = [0.01 * (1 - step / steps) for step in range(steps)]
    engine = create(config, state)
    native = engines.create_trainable("native", config, state, dtype="float64")
    np.testing.assert_allclose(engine.train(batches, rates), native.train(batches, rates), 1e-5)
    return engine, rng, alphabet


def test_published_run(create: Create, published: Path) -> None:
    engine, rng, alphabet = run_both(create, gpt.read(published), 1000)
    names = [sample(engine, rng, Sampling()) for _ in range(20)]
    assert " ".join(gpt.decode(name, alphabet) for name in names) == PUBLISHED_NAMES


def test_run_over_world_names(create: Create) -> None:
    run_both(create, list(dataset.load("world").documents), 200)


@pytest.mark.parametrize("config", CONFIGS)
def test_what_it_computes(create: Create, config: GPTConfig) -> None:
    engine = create(config)
    scalar = engines.create_trainable("scalar", config, engine.state())
    for tokens in documents(config, 3):
        tokens = tokens[: config.block_size]
        seen, expected = engine.inspect(tokens), scalar.inspect(tokens)
        for name, array in expected.items():
            np.testing.assert_allclose(seen[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
        engine.reset()
        for token, logits in zip(tokens, expected["logits"], strict=True):
            np.testing.assert_allclose(engine.step(token), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_gradients_of_random_models(create: Create, seed: int) -> None:
    rng = random.Random(seed)
    config = random_config(rng)
    if config.n_embd == 1:
        pytest.skip("rmsnorm makes it 1 or -1: the gradient is what rounding leaves")
    engine, batch = create(config), documents(config, 5)
    native = engines.create_trainable("native", config, engine.state(), dtype="float64")
    assert engine.loss(batch) == pytest.approx(native.loss(batch), rel=1e-6)
    found, expected = engine.gradients(batch), native.gradients(batch)
    error = norm({key: found[key] - expected[key] for key in expected})
    assert error <= 1e-6 * norm(expected), config


@pytest.mark.parametrize("documents_in_batch", [2, 150])
def test_steps_of_batches(create: Create, documents_in_batch: int) -> None:
    """A small batch goes into Adam from registers, a large one falls into slices."""
    config = GPTConfig(n_layer=2, n_embd=12, n_head=3)
    batches, rates = [documents(config, documents_in_batch)] * 10, [0.01] * 10
    engine = create(config)
    native = engines.create_trainable("native", config, engine.state())
    np.testing.assert_allclose(engine.train(batches, rates), native.train(batches, rates), 1e-5)
    halfway, expected = engine.state(), native.state()
    for name, array in expected.items():
        np.testing.assert_allclose(halfway[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    losses = engine.train(batches, rates)
    engine.load(halfway)
    assert engine.train(batches, rates) == losses, "a run goes on from its state"


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("prefix", [[], [1, 0, 4], [1, 0, 4, 2]])
def test_names_in_bulk(create: Create, settings: Sampling, prefix: list[int]) -> None:
    config = GPTConfig(n_embd=8, n_head=2, block_size=4, vocab_size=6)
    native = engines.create_trainable("native", config, initial_state(config, random.Random(42)))
    native.train([documents(config, 8)] * 30, [0.02] * 30)
    engine = create(config, native.state())
    names = sample_many(native, 40, 7, settings, prefix)
    assert sample_many(engine, 40, 7, settings, prefix) == names
    how = {"temperature": settings.temperature, "prefix": prefix}
    how |= {"topK": settings.top_k} if settings.top_k else {}
    how |= {"topP": settings.top_p} if settings.top_p else {}
    assert engine.evaluate("engine.sample(30, 10, 7, given)", how) == names[30:]


def test_many_names_and_a_large_seed(create: Create) -> None:
    config = GPTConfig(n_embd=4, n_head=1, block_size=3, vocab_size=4)
    engine = create(config)
    native = engines.create("native", config, engine.state())
    names = sample_many(native, 5000, 2**64 - 3, Sampling())
    assert engine.evaluate(f"engine.sample(0, 5000, {2**64 - 3}n)") == names
    assert sample_many(engine, 5, -3, Sampling()) == names[:5]


def test_moments_do_not_linger_as_denormals(create: Create) -> None:
    """Rows that come no more have a momentum that fades; below float32's normal range it is 0."""
    config = GPTConfig()
    engine = create(config)
    engine.train([[[26, 0, 26]]], [0.01])
    rare = engine.state()["adam.m.wte"][0]
    assert (rare != 0).any()
    for _ in range(6):
        engine.train([[[26, 1, 1, 26]]] * 100, [0.0] * 100)
        rare = engine.state()["adam.m.wte"][0]
        smallest = np.finfo(np.float32).tiny * 0.15  # kept divided by 1 - beta1
        assert ((rare == 0) | (np.abs(rare) >= smallest)).all()
    assert (rare == 0).all()


def test_a_browsers_python_holds_the_contract() -> None:
    """Its engine `wasm`, with weights too, against gpt.py there: in Pyodide, run by Node."""
    if not (ROOT / "tests" / "node_modules" / "pyodide").exists():
        pytest.skip("pyodide is not installed: npm install --prefix tests")
    run: list[str | Path] = [
        str(NODE),
        ROOT / "tests" / "pyodide.mjs",
        ROOT / "tests" / "wasm_engine.py",
    ]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.stdout == "held\n", done.stderr


# ---- What must not happen ------------------------------------------------------------------------

REFUSED = [
    ("engine.step(27)", "token 27 is not in the vocabulary: 0 to 26"),
    ("engine.step(-1)", "token -1 is not in the vocabulary"),
    ("engine.step(0.5)", "token 0.5 is not in the vocabulary"),
    ("engine.step(NaN)", "token NaN is not in the vocabulary"),
    ("engine.step()", "token undefined is not in the vocabulary"),
    ("engine.step('1')", "token 1 is not in the vocabulary"),
    (
        "Array.from({length: 17}, () => engine.step(0))",
        "17 tokens do not fit block_size 16",
    ),
    ("engine.loss([])", "the batch is empty"),
    ("engine.loss([[26]])", "the document [26] has no next token"),
    ("engine.loss([[26, 4, 99]])", "token 99 is not in the vocabulary"),
    ("engine.gradients([[26, 4, 2 ** 32]])", "token 4294967296 is not in the vocabulary"),
    ("engine.train([[[26, 4, 26]]], [])", "batches, rates and weights differ in length: 1,0,1"),
    ("engine.train([[[26, 4, 26]]], [NaN])", "rates[0] is NaN"),
    ("engine.train([[[26, 4, 26]], [[27, 0]]], [1, 1])", "token 27 is not in the vocabulary"),
    ("engine.loss([[26, 4, 26]], [[1]])", "weights must hold a list for each document, of [2] num"),
    ("engine.gradients([[26, 4, 26]], [])", "weights must hold a list for each document"),
    ("engine.train([[[26, 4, 26]]], [1], [[[1], [1]]])", "weights must hold a list"),
    ("engine.losses([[26]])", "the document [26] has no next token"),
    ("engine.inspect([])", "there are no tokens; give at least one"),
    ("engine.inspect(Array(17).fill(0))", "17 tokens do not fit block_size 16"),
    ("engine.inspect([31])", "token 31 is not in the vocabulary"),
    ("engine.sample(0, -1, 0)", "count is -1"),
    ("engine.sample(-1, 1, 0)", "first is -1"),
    ("engine.sample(0, 1, 0.5)", "seed is 0.5"),
    ("engine.sample(0, 1, 0, {temperature: -1})", "temperature is -1"),
    ("engine.sample(0, 1, 0, {temperature: NaN})", "temperature is NaN"),
    ("engine.sample(0, 1, 0, {topK: 0})", "top-k is 0"),
    ("engine.sample(0, 1, 0, {topP: 0})", "top-p is 0"),
    ("engine.sample(0, 1, 0, {prefix: [-5]})", "token -5 is not in the vocabulary"),
    ("engine.sample(0, 1, 0, {prefix: Array(17).fill(0)})", "the prefix has 17 tokens"),
    ("engine.load({params: [1, 2]})", "params holds 2 numbers; the model has 4192"),
    ("engine.load({})", "params holds undefined numbers"),
    ("engine.load({params: Array(4192).fill(1e39)})", "params[0] is 1e+39"),
    ("engine.load({...engine.state(), v: Array(4192).fill(NaN)})", "v[0] is NaN"),
    ("engine.load({...engine.state(), t: -1})", "t is -1"),
    (
        "create(module, {n_layer: 1})",
        "vocab_size is undefined; it must be a whole number",
    ),
    ("create(module, {...engine.config, n_head: 3})", "a multiple of n_head, 3"),
    ("create(module, {...engine.config, n_layer: 2 ** 31 - 1})", "does not fit the memory"),
    ("create(module, {...engine.config, n_embd: 2 ** 30, n_head: 1})", "does not fit the memory"),
    ("create(module, {...engine.config, block_size: 2 ** 30})", "does not fit the memory"),
    ("create(module, {...engine.config, vocab_size: 2 ** 31 - 1})", "does not fit the memory"),
    ("create(module, engine.config, {beta1: 1, beta2: 0, eps: 1, weight_decay: 0})", "beta1 is 1"),
    ("create(module, engine.config, {beta1: 0, beta2: 0, eps: NaN})", "eps is NaN"),
    (
        "create(module, engine.config, {beta1: 0, beta2: 0, eps: 1, weight_decay: -1})",
        "weight_decay is -1",
    ),
]


def test_what_it_refuses(create: Create) -> None:
    engine = create(GPTConfig())
    before = engine.state()
    for expression, problem in REFUSED:
        with pytest.raises(ValueError, match=re.escape(problem)) as caught:
            engine.evaluate(expression)
        assert "\n" not in str(caught.value)
        engine.reset()
    for name, array in engine.state().items():
        np.testing.assert_array_equal(array, before[name])


def test_nothing_changes_when_the_loss_is_lost(create: Create) -> None:
    engine = create(GPTConfig())
    with pytest.raises(ValueError, match="no longer a finite number"):
        engine.evaluate(
            "engine.train(Array(9).fill([given]), [0.01, 1e300, ...Array(7).fill(1)])", EMMA
        )
    kept = engine.evaluate("engine.state()")
    assert kept["t"] < 9
    for batch in ([EMMA], [EMMA] * 100):
        with pytest.raises(ValueError, match="no longer a finite number"):
            engine.train([batch], [0.01])
        assert engine.evaluate("engine.state()") == kept


def test_memory_grows(create: Create) -> None:
    """A wide model, a batch of many documents, and engines side by side."""
    config = GPTConfig(n_layer=2, n_embd=64, n_head=4, block_size=64)
    engine = create(config)
    native = engines.create_trainable("native", config, engine.state())
    batch = documents(config, 70)
    assert engine.loss(batch) == pytest.approx(native.loss(batch), rel=1e-5)
    engine.evaluate("void (globalThis.other = create(module, {...engine.config, n_embd: 4}))")
    assert engine.evaluate("other.loss(given)", batch) == pytest.approx(np.log(27), abs=1e-6)
    assert engine.loss(batch) == pytest.approx(native.loss(batch), rel=1e-5)


# ---- Built from the source that lies here --------------------------------------------------------


def test_the_kernel_is_built_from_its_source(create: Create, tmp_path: Path) -> None:
    """The same compiler makes the same bytes; another makes a kernel of the same numbers."""
    if not all(map(shutil.which, ("make", "clang", "wasm-ld"))):
        pytest.skip("needs make, clang and lld")
    built = tmp_path / "kernel.wasm"
    subprocess.run(["make", "-s", "wasm", f"WASM={built}"], check=True, cwd=ROOT)
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    here = re.search(r"\d+\.\d+\.\d+", version.stdout)
    made_by = re.search(rb"clang.(\d+\.\d+\.\d+)", KERNEL.read_bytes())  # in "producers"
    assert here
    assert made_by
    if here[0] == made_by[1].decode():
        assert built.read_bytes() == KERNEL.read_bytes(), "run `make wasm`"
    config = GPTConfig(n_layer=2)
    batches, rates = [documents(config, 40)] * 20, [0.01] * 20
    shipped = create(config).train(batches, rates)
    assert create(config, kernel=built).train(batches, rates) == shipped
