"""The native engine against gpt.py itself, at every vector width that this machine has.

tests/test_contract.py holds it to what every engine must do; here is what is its own.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import engines, gpt
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import TrainableEngine, initial_state
from microgpt.sampling import Sampling, Stream, sample, sample_many
from tests.conftest import EMMA
from tests.test_contract import documents

if reason := engines.missing("native"):
    pytest.skip(f"native: {reason}", allow_module_level=True)

from microgpt.native.kernel import Model, kernels

DTYPES = ("float32", "float64")
ROOT = Path(__file__).parent.parent


@pytest.fixture(params=kernels())
def simd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the engine use one vector width of those that are there."""
    monkeypatch.setenv("MICROGPT_SIMD", request.param)
    return str(request.param)


def create(config: GPTConfig, dtype: str = "float32", **options: Any) -> TrainableEngine:
    state = initial_state(config, random.Random(42))
    return engines.create_trainable("native", config, state, dtype=dtype, **options)


# ---- The published run ---------------------------------------------------------------------------


class Heart:
    """The published run by gpt.py: its first losses, and what the generator was after it."""

    def __init__(self, path: Path, steps: int) -> None:
        docs = gpt.read(path)
        self.rng = random.Random(42)
        self.rng.shuffle(docs)
        self.alphabet = "".join(sorted(set("".join(docs))))
        self.config = GPTConfig()
        self.state = initial_state(self.config, self.rng)
        self.after = self.rng.getstate()
        self.batches = [[gpt.encode(doc, self.alphabet)] for doc in docs[:1000]]
        self.rates = [0.01 * (1 - step / 1000) for step in range(1000)]
        engine = engines.create_trainable("scalar", self.config, self.state)
        self.losses = np.array(engine.train(self.batches[:steps], self.rates[:steps]))


@pytest.fixture(scope="module", params=[200, pytest.param(1000, marks=pytest.mark.slow)])
def heart(published: Path, request: pytest.FixtureRequest) -> Heart:
    return Heart(published, request.param)


PUBLISHED_NAMES = (
    "kamon ann karai jaire vialan karia yeran anna areli kaina "
    "konna keylen liole alerin earan lenne kana lara alela anton"
)


def first_edge(heart: Heart) -> int:
    """Return the first step at which a unit is on one side of its ReLU in float32, and on the other
    in float64: from there on rounding has had its say. Few kernels meet one in 1,000 steps."""
    both = [engines.create_trainable("native", heart.config, heart.state, dtype=d) for d in DTYPES]
    for i, (batch, rate) in enumerate(zip(heart.batches, heart.rates, strict=True)):
        alive = [e.inspect(batch[0][:-1][: heart.config.block_size])["hidden"] > 0 for e in both]
        if (alive[0] != alive[1]).any():
            return i
        for engine in both:
            engine.train([batch], [rate])
    return len(heart.batches)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_published_run(heart: Heart, simd: str, dtype: str, tolerance: float) -> None:
    engine = engines.create_trainable("native", heart.config, heart.state, dtype=dtype)
    losses, steps = engine.train(heart.batches, heart.rates), len(heart.losses)
    edge = first_edge(heart) if dtype == "float32" else len(losses)
    np.testing.assert_allclose(losses[: edge + 1][:steps], heart.losses[: edge + 1], rtol=tolerance)
    if edge < len(losses):
        np.testing.assert_allclose(losses[:steps], heart.losses, rtol=0.1)
        return
    heart.rng.setstate(heart.after)
    names = [sample(engine, heart.rng, Sampling()) for _ in range(20)]
    assert " ".join(gpt.decode(name, heart.alphabet) for name in names) == PUBLISHED_NAMES


# ---- Any sizes -----------------------------------------------------------------------------------


def random_config(rng: random.Random) -> GPTConfig:
    n_head, head_dim = rng.choice([1, 1, 2, 3, 4]), rng.choice([1, 2, 3, 4, 5, 7, 8, 9, 17, 33])
    return GPTConfig(
        n_layer=rng.choice([1, 1, 2, 3, 4]) if n_head * head_dim < 40 else 1,
        n_embd=n_head * head_dim,
        n_head=n_head,
        block_size=rng.randint(1, 9),
        vocab_size=rng.choice([2, 3, 15, 16, 17, 33, 64]),
    )


def norm(arrays: dict[str, np.ndarray]) -> float:
    return float(np.linalg.norm(np.concatenate([a.ravel() for a in arrays.values()])))


@pytest.mark.parametrize("seed", range(32))
def test_gradients_of_random_models(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    config = random_config(rng)
    batch = [
        [rng.randrange(config.vocab_size) for _ in range(rng.randint(2, config.block_size + 3))]
        for _ in range(3)
    ]
    engine = create(config)
    reference = engines.create_trainable("scalar", config, engine.state())
    loss, expected = reference.loss(batch), reference.gradients(batch)
    for name in kernels():
        monkeypatch.setenv("MICROGPT_SIMD", name)
        for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
            if dtype == "float32" and config.n_embd == 1:
                continue  # rmsnorm makes it 1 or -1: the gradient is what rounding leaves
            engine = create(config, dtype)
            engine.load(reference.state())
            assert engine.loss(batch) == pytest.approx(loss, rel=tolerance)
            found = engine.gradients(batch)
            error = norm({key: found[key] - expected[key] for key in expected})
            assert error <= tolerance * norm(expected), f"{config} {name} {dtype}"


@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_finite_differences(seed: int, simd: str) -> None:
    rng = random.Random(100 + seed)
    config = random_config(rng)
    batch = documents(config, 3)
    engine = create(config, "float64")
    state, gradients, h = engine.state(), engine.gradients(batch), 1e-5
    for _ in range(20):
        name = rng.choice(list(gradients))
        at = tuple(rng.randrange(n) for n in gradients[name].shape)
        losses = []
        for sign in (1, -1):
            moved = {key: array.copy() for key, array in state.items()}
            moved[name][at] += sign * h
            engine.load(moved)
            losses.append(engine.loss(batch))
        slope = (losses[0] - losses[1]) / (2 * h)
        assert gradients[name][at] == pytest.approx(slope, abs=1e-8), f"{config} {name}{at}"


# ---- Many at a time ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_embd", [16, 24])
def test_large_batches_do_not_depend_on_threads(simd: str, n_embd: int) -> None:
    config = GPTConfig(n_embd=n_embd)
    batch = documents(config, 150)
    one, three = create(config, threads=1), create(config, threads=3)
    assert one.train([batch] * 3, [0.01] * 3) == three.train([batch] * 3, [0.01] * 3)
    assert one.loss(batch) == three.loss(batch)
    for name, array in one.state().items():
        assert (three.state()[name] == array).all(), name
    singly = [one.loss([tokens]) for tokens in batch]
    assert one.loss(batch) == pytest.approx(sum(singly) / len(batch), rel=1e-6)


def test_a_large_batch_is_one_step(simd: str) -> None:
    config = GPTConfig(n_layer=2)
    batch = documents(config, 150)
    engine = create(config, "float64")
    gradients, before = engine.gradients(batch), engine.state()
    engine.train([batch], [0.01])
    after, a = engine.state(), Adam()
    for name, g in gradients.items():
        np.testing.assert_allclose(after[f"adam.m.{name}"], (1 - a.beta1) * g, atol=1e-15)
        step = 0.01 * g / (np.abs(g) + a.eps)
        np.testing.assert_allclose(after[name], before[name] - step, atol=1e-12)


SETTINGS = [
    Sampling(),
    Sampling(temperature=0),
    Sampling(temperature=1, top_k=3),
    Sampling(temperature=2, top_p=0.7),
    Sampling(temperature=1.5, top_k=5, top_p=0.6),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("prefix", [[], [3], [1, 0, 4, 2]])
def test_names_in_bulk_equal_the_scalar_engines(
    simd: str, settings: Sampling, prefix: list[int]
) -> None:
    config = GPTConfig(n_embd=8, n_head=2, block_size=4, vocab_size=6)
    engine = create(config, "float64")
    engine.train([documents(config, 8)] * 30, [0.02] * 30)
    state = {name: engine.state()[name] for name, _ in config.shapes()}
    scalar = engines.create("scalar", config, state)
    names = sample_many(scalar, 40, 7, settings, prefix)
    assert sample_many(engine, 40, 7, settings, prefix) == names
    assert sample_many(engine, 3, 7, settings, prefix) == names[:3], "in any number"
    assert len({tuple(name) for name in names}) > 1 or settings.temperature == 0 or prefix


TIES = [Sampling(temperature=1, top_k=2), Sampling(temperature=1, top_p=0.5)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("settings", TIES)
def test_of_equally_likely_tokens_the_first_are_kept(
    simd: str, settings: Sampling, dtype: str
) -> None:
    config = GPTConfig(n_embd=4, n_head=1, block_size=4, vocab_size=4)
    state = {name: np.zeros(shape) for name, shape in config.shapes()}
    engine = engines.create("native", config, state, dtype=dtype)
    names = sample_many(engine, 40, 7, settings)
    assert names == sample_many(engines.create("scalar", config, state), 40, 7, settings)
    assert {token for name in names for token in name} == {0, 1}


def test_thousands_of_names(simd: str) -> None:
    """Past what one call of the kernel makes."""
    config = GPTConfig(n_embd=2, n_head=1, block_size=3, vocab_size=4)
    engine = create(config, "float64")
    scalar = engines.create("scalar", config, engine.state())
    names = sample_many(engine, 5000, 7, Sampling())
    for i in range(4090, 4120):
        assert names[i] == sample(scalar, Stream(7, i), Sampling())


def test_numbers_that_only_a_careful_softmax_bears(simd: str) -> None:
    """Scores of hundreds, rising or falling, and logits all far below zero."""
    config = GPTConfig(n_layer=2, n_embd=6, n_head=2, block_size=8, vocab_size=10)
    draw = np.random.default_rng(3)
    state = {name: draw.normal(0, 0.1, shape) for name, shape in config.shapes()}
    state["wte"] += 1
    state["lm_head"] -= 2000
    for i in range(config.n_layer):
        for which in "qk":
            state[f"layer{i}.attn_w{which}"] *= 200
    engine = engines.create_trainable("native", config, state, dtype="float64")
    scalar = engines.create_trainable("scalar", config, state)
    seen, expected = (
        engine.inspect([9, 1, 4, 1, 5, 9, 2, 6]),
        scalar.inspect([9, 1, 4, 1, 5, 9, 2, 6]),
    )
    for name, array in expected.items():
        np.testing.assert_allclose(seen[name], array, rtol=1e-9, atol=1e-9, err_msg=name)
    assert engine.loss([[9, 1, 4, 1, 9]]) == pytest.approx(scalar.loss([[9, 1, 4, 1, 9]]), rel=1e-9)


# ---- What must not happen ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_changes_when_the_loss_is_lost(simd: str, dtype: str) -> None:
    engine = create(GPTConfig(), dtype)
    with pytest.raises(ValueError, match="no longer a finite number"):
        engine.train([[EMMA]] * 9, [0.01, 1e300, *[0.01] * 7])
    kept = engine.state()
    assert kept["adam.t"] < 9
    with pytest.raises(ValueError, match="no longer a finite number"):
        engine.train([[EMMA]], [0.01])
    for name, array in engine.state().items():
        np.testing.assert_array_equal(array, kept[name])


def test_interrupting_a_long_call(simd: str) -> None:
    engine = create(GPTConfig())
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    batches = [[EMMA]] * 10_000

    def train_on_and_on() -> None:
        while True:
            engine.train(batches, [0.001] * len(batches))

    timer.start()
    with pytest.raises(KeyboardInterrupt):
        train_on_and_on()
    timer.join()
    assert engine.state()["adam.t"] > 0
    assert engine.loss([EMMA]) < 1


def test_interrupting_a_batch_in_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each share that ends is a moment to look for Ctrl-C."""
    monkeypatch.setenv("MICROGPT_SIMD", "portable")  # slow enough to look after each
    config, draw = GPTConfig(n_embd=256), np.random.default_rng(1)
    state = {name: draw.normal(0, 0.02, shape) for name, shape in config.shapes()}
    engine = engines.create_trainable("native", config, state, threads=1)
    batches = [documents(config, 150)] * 20
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.train(batches, [0.0] * len(batches))
    timer.join()
    assert engine.loss(batches[0]) > 0


def test_one_call_at_a_time() -> None:
    engine = create(GPTConfig())

    class Meddler(list[int]):
        def __iter__(self) -> Iterator[int]:
            engine.loss([EMMA])  # while the engine reads this very document
            return super().__iter__()

    with pytest.raises(RuntimeError, match="at work"):
        engine.loss([Meddler(EMMA)])
    assert engine.loss([EMMA]) > 0


def test_threads_are_refused_or_alone() -> None:
    """What one thread reads while another trains is of some step; the training is not disturbed."""
    config = GPTConfig(n_embd=32)
    engine, alone = create(config, threads=2), create(config, threads=2)
    batch, done = documents(config, 60), threading.Event()
    reads: list[Callable[[], object]] = [
        lambda: engine.loss(batch),
        lambda: engine.losses(batch),
        lambda: engine.gradients(batch),
        lambda: engine.inspect(EMMA[:-1]),
        lambda: engine.step(0),
        engine.reset,
        engine.state,
        lambda: sample_many(engine, 200, 7, Sampling()),
    ]
    troubles: list[Exception] = []

    def read(first: int) -> None:
        turn = first
        while not done.is_set() or turn < first + len(reads):
            turn += 1
            try:
                reads[turn % len(reads)]()
            except RuntimeError as refusal:
                assert "at work in another thread" in str(refusal)
            except ValueError as full:  # of steps past the block
                assert "do not fit block_size" in str(full)
            except Exception as trouble:
                troubles.append(trouble)

    readers = [threading.Thread(target=read, args=(first,)) for first in range(3)]
    for reader in readers:
        reader.start()
    steps = 0
    for _ in range(60):
        with suppress(RuntimeError):
            steps += len(engine.train([batch] * 5, [0.01] * 5))
    done.set()
    for reader in readers:
        reader.join()
    assert not troubles
    alone.train([batch] * steps, [0.01] * steps)
    for name, array in alone.state().items():
        np.testing.assert_array_equal(engine.state()[name], array, err_msg=name)


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 1, 2**31 - 1, 1, 1),
        (1, 2**31 - 1, 2**15, 1, 1),
        (1, 1, 2**15, 1, 2**31 - 1),
        (2**31 - 1, 1, 1, 1, 1),
        (2, 1, 2**20, 1, 2**20),
        (2, 1, 16, 1, 2**20),
    ],
)
def test_absurd_sizes_are_refused(sizes: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not fit the memory"):
        Model(sizes, (0.85, 0.99, 1e-8, 0.0), 4, "", 1)


def test_options_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="dtype is 'float16'; it must be one of float32, float64"):
        create(GPTConfig(), "float16")
    with pytest.raises(ValueError, match="threads"):
        create(GPTConfig(), threads=0)
    monkeypatch.setenv("MICROGPT_SIMD", "mmx")
    with pytest.raises(ValueError, match="MICROGPT_SIMD is 'mmx'; this machine has .*portable"):
        create(GPTConfig())


def test_numbers_past_the_largest_float32() -> None:
    engine = create(GPTConfig())
    state = engine.state()
    with pytest.raises(ValueError, match="past the largest float32"):
        engine.load(state | {"wte": np.full((27, 16), 1e39)})


FUZZ = ROOT / "tests" / "fuzz_native.py"


def test_fuzz() -> None:
    subprocess.run([sys.executable, FUZZ, "100"], check=True, cwd=ROOT)


@pytest.mark.slow
def test_fuzz_under_sanitizers(tmp_path: Path) -> None:
    """Build the engine with AddressSanitizer and UndefinedBehaviorSanitizer, and fuzz that."""
    compiler = sysconfig.get_config_var("CC").split()[0]
    if sys.platform != "linux" or not shutil.which(compiler):
        pytest.skip("needs Linux and a C compiler")
    found = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    library = found.stdout.strip()
    if not Path(library).exists():
        pytest.skip(f"{compiler} has no AddressSanitizer")
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -O0"
    built = tmp_path / "built"
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "-b", built, "-t", tmp_path / "objects"],
        check=True,
        cwd=ROOT,
        env=os.environ | {"MICROGPT_CFLAGS": flags},
        capture_output=True,
    )
    (extension,) = built.rglob("kernel*.so")
    subprocess.run(
        [sys.executable, FUZZ, "40", extension],
        check=True,
        cwd=ROOT,
        env=os.environ | {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0"},
    )
