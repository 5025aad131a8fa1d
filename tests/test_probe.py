"""What is asked of an engine: the same numbers, computed another way."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microgpt import probe
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import TrainableEngine, initial_state
from microgpt.engines.scalar import ScalarEngine
from tests.conftest import EMMA

CONFIG = GPTConfig(n_layer=2, n_embd=8, n_head=2, block_size=6)


@pytest.fixture
def engine() -> TrainableEngine:
    """Return a small model on the scalar engine, its weights large enough to kill some units."""
    state = initial_state(CONFIG, random.Random(3))
    return ScalarEngine(CONFIG, {name: 5 * array for name, array in state.items()}, Adam())


def test_lens_ends_in_what_the_model_says(engine: TrainableEngine) -> None:
    seen = probe.lens(engine, EMMA[:-1])
    assert seen.shape == (3, 5, 27)
    np.testing.assert_allclose(seen.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_allclose(seen[-1], engine.inspect(EMMA[:-1])["probs"], rtol=1e-10)


class Deaf:
    """An engine that can run a model and no more."""

    def __init__(self, engine: TrainableEngine) -> None:
        self.config, self.inspect = engine.config, engine.inspect
        self.reset, self.step = engine.reset, engine.step


def test_lens_of_an_engine_that_cannot_learn(engine: TrainableEngine) -> None:
    deaf = Deaf(engine)
    with pytest.raises(ValueError, match="give lens an lm_head"):
        probe.lens(deaf, EMMA[:-1])
    seen = probe.lens(deaf, EMMA[:-1], engine.state()["lm_head"])
    np.testing.assert_array_equal(seen, probe.lens(engine, EMMA[:-1]))
    assert probe.dead_units(deaf, [EMMA[:-1]]).shape == (2, 32)


def test_lens_of_a_block_that_adds_nothing_is_that_before_it(engine: TrainableEngine) -> None:
    state = engine.state()
    for name in ("layer1.attn_wo", "layer1.mlp_fc2"):
        state[name] = np.zeros_like(state[name])
    engine.load(state)
    seen = probe.lens(engine, EMMA[:-1])
    np.testing.assert_allclose(seen[1], seen[2], rtol=1e-12)
    assert not np.allclose(seen[0], seen[1])


def test_dead_units_are_those_that_get_no_gradient(engine: TrainableEngine) -> None:
    """A unit that no position wakes passes nothing back: its row of mlp_fc1 learns nothing."""
    documents = [EMMA, [26, 13, 0, 26]]
    read = [tokens[:-1] for tokens in documents]
    dead = probe.dead_units(engine, read)
    gradients = engine.gradients(documents)
    learns = [(gradients[f"layer{i}.mlp_fc1"] != 0).any(axis=1) for i in range(2)]
    np.testing.assert_array_equal(dead, ~np.array(learns))
    assert dead.any()
    assert not dead.all()
    with pytest.raises(ValueError, match="no documents"):
        probe.dead_units(engine, [])


def test_norms_over_training(engine: TrainableEngine) -> None:
    twin = ScalarEngine(CONFIG, engine.state(), Adam())
    batches, rates = [[EMMA], [[26, 0, 26]], [EMMA]], [0.01, 0.02, 0.0]
    steps = list(probe.watch_training(engine, batches, rates))
    assert [step.loss for step in steps] == twin.train(batches, rates)
    assert [step.step for step in steps] == [0, 1, 2]
    assert steps[0].gradient.keys() == steps[0].update.keys() == dict(CONFIG.shapes()).keys()
    touched = 0.01 * np.sqrt(3 * 8 + 2 * 8)  # Adam's first step is lr, whatever the gradient
    assert steps[0].update["wpe"] == pytest.approx(touched, rel=1e-3)
    assert set(steps[2].update.values()) == {0.0}, "a learning rate of 0 moves nothing"
    before = np.linalg.norm(5 * initial_state(CONFIG, random.Random(3))["wte"])
    assert steps[0].weight["wte"] == pytest.approx(before)


def test_the_command(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-X", "utf8", "-m", "microgpt", "xray", *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, encoding="utf8"
        )

    done = run("emma", "-o", "trace.json", "--with", "grads,source")
    assert done.returncode == 0
    notice, first, *_ = done.stdout.splitlines()
    assert notice.startswith("the trained model that ships with microgpt")
    assert first.startswith("emma | loss 1.8279 nats/token")
    saved = json.loads((tmp_path / "trace.json").read_text())
    assert list(saved["parts"]) == ["grads", "source"]
    for words, message in (
        (["emm4"], "'4' in 'emm4' is not in the model's vocabulary"),
        (["emma", "-o", "t.json", "--with", "all"], "'all' is not one of source, params"),
        (["emma", "missing.safetensors"], "missing.safetensors: No such file or directory"),
        (["emma", "trace.json"], "trace.json is not a model that microgpt can use"),
        (["emma", "-o", "no/t.json"], "no/t.json: its folder is missing"),
    ):
        done = run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
