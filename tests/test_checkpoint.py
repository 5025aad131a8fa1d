"""Checkpoints: what is saved is loaded, nothing is ever half written, and no file is trusted."""

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from microgpt import checkpoint as checkpoints
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.tokenizer import SubwordTokenizer
from tests.conftest import LETTERS

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
sizes = st.integers(1, 3)


@same_folder
@given(sizes, sizes, sizes, sizes, st.text(min_size=1))
def test_what_is_saved_is_loaded(
    tmp_path: Path, n_layer: int, head_dim: int, n_head: int, block_size: int, text: str
) -> None:
    vocabulary = "".join(dict.fromkeys(text))
    config = GPTConfig(len(vocabulary) + 1, n_layer, n_head * head_dim, n_head, block_size)
    state = initial_state(config, random.Random(1))
    for which in "mv":
        state |= {f"adam.{which}.{name}": np.ones(s) for name, s in config.shapes()}
    state["adam.t"] = np.array(7.0)
    saved = Checkpoint(config, vocabulary, state, {"seed": 42, "text": text})
    saved.save(tmp_path / "run.safetensors")
    loaded = Checkpoint.load(tmp_path / "run.safetensors")
    assert (loaded.config, loaded.vocabulary, loaded.training) == (
        config,
        vocabulary,
        saved.training,
    )
    assert loaded.state.keys() == state.keys()
    assert all((loaded.state[name] == array).all() for name, array in state.items())
    assert all(not name.startswith("adam.") for name in loaded.model().state)
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_float32_stays_float32(tmp_path: Path, checkpoint: Checkpoint) -> None:
    state = {name: array.astype(np.float32) for name, array in checkpoint.state.items()}
    Checkpoint(checkpoint.config, LETTERS, state).save(tmp_path / "m")
    assert Checkpoint.load(tmp_path / "m").state["wte"].dtype == np.float32


def refused(path: Path) -> str:
    """Return the one line that loading a file ends in."""
    with pytest.raises(ValueError, match="is not a model that microgpt can use") as error:
        Checkpoint.load(path)
    return str(error.value)


@same_folder
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    refused(tmp_path / "m")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@same_folder
@given(
    header=st.dictionaries(st.text(max_size=9), json_values, max_size=4),
    length=st.none() | st.integers(0, 2**64 - 1),
)
def test_random_headers_are_refused(
    tmp_path: Path, header: dict[str, Any], length: int | None
) -> None:
    text = json.dumps(header).encode()
    size = (len(text) if length is None else length).to_bytes(8, "little")
    (tmp_path / "m").write_bytes(size + text + bytes(64))
    refused(tmp_path / "m")


@same_folder
@given(
    config=json_values | st.fixed_dictionaries({name: json_values for name in asdict(GPTConfig())}),
    vocabulary=json_values,
    training=json_values,
)
def test_random_metadata_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, config: Any, vocabulary: Any, training: Any
) -> None:
    metadata = {
        "format": checkpoints.FORMAT,
        "config": json.dumps(config),
        "vocabulary": json.dumps(vocabulary),
        "training": json.dumps(training),
    }
    save_file(dict(checkpoint.state), tmp_path / "m", metadata)
    refused(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n_layer": 10**15}, "missing"),
        ({"n_layer": 2}, "layer1.attn_wq is missing"),
        ({"n_embd": 20}, "shape"),
        ({"n_head": 3}, "heads"),
        ({"block_size": -1}, "block_size"),
        ({"vocab_size": 28}, "vocab_size"),
        ({"n_embd": 16.0}, "n_embd"),
        ({"n_embd": True}, "n_embd"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_config_that_lies_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, change: dict[str, Any], says: str
) -> None:
    metadata = {
        "format": checkpoints.FORMAT,
        "config": json.dumps(asdict(checkpoint.config) | change),
        "vocabulary": json.dumps(LETTERS),
        "training": "{}",
    }
    save_file(dict(checkpoint.state), tmp_path / "m", metadata)
    assert says in refused(tmp_path / "m")


def test_a_tokenizer_of_another_kind_is_named(tmp_path: Path, checkpoint: Checkpoint) -> None:
    """The format has room for it: a later version's file is refused for what it is."""
    metadata = {
        "format": checkpoints.FORMAT,
        "config": json.dumps(asdict(checkpoint.config)),
        "vocabulary": json.dumps({"type": "bpe", "merges": []}),
        "training": "{}",
    }
    save_file(dict(checkpoint.state), tmp_path / "m", metadata)
    assert "its tokenizer is of the type 'bpe'" in refused(tmp_path / "m")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "", "{", "null"])
def test_metadata_made_to_hurt_is_refused(
    tmp_path: Path, checkpoint: Checkpoint, text: str
) -> None:
    for name in ("config", "vocabulary", "training"):
        metadata = {"config": json.dumps(asdict(checkpoint.config)), "vocabulary": '"ab"'}
        metadata |= {"format": checkpoints.FORMAT, "training": "{}", name: text}
        save_file(dict(checkpoint.state), tmp_path / "m", metadata)
        refused(tmp_path / "m")


def test_foreign_and_damaged_files_are_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    save_file({"weight": np.zeros(3)}, part)
    assert "format" in refused(part)
    checkpoint.save(whole)
    data = whole.read_bytes()
    for size in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        part.write_bytes(data[:size])
        refused(part)
    state = load_file(whole)
    for name, array, says in (
        ("wte", np.full((27, 16), np.nan), "NaN"),
        ("wte", np.zeros((27, 16), dtype=np.int64), "I64"),
        ("wte", np.zeros((26, 16)), "shape"),
        ("adam.t", np.array(1.0), "missing"),
        ("more", np.zeros(1), "belong"),
    ):
        config = json.dumps(asdict(checkpoint.config))
        metadata = {"format": checkpoints.FORMAT, "config": config, "training": "{}"}
        save_file(state | {name: array}, part, metadata | {"vocabulary": json.dumps(LETTERS)})
        assert says in refused(part)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "m"
    checkpoint.save(path)
    before = path.read_bytes()
    program = (  # the system refuses to let a file grow past 4 kB: a disk that is full
        "import resource, sys\n"
        "from microgpt.checkpoint import Checkpoint\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "checkpoint = Checkpoint.load(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    checkpoint.save(sys.argv[1])\n"
        "except OSError as error:\n    print(error.strerror, error.filename == sys.argv[1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert run.stdout == "File too large True\n"
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


KILLER = """
import os, random, signal, sys, time
from microgpt.checkpoint import Checkpoint

path, rng = sys.argv[1], random.Random(0)
checkpoint = Checkpoint.load(path)
for _ in range(100):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        for step in range(10**9):
            checkpoint.training["step"] = step
            checkpoint.save(path)
            os.write(write, b".")
    for _ in range(rng.randrange(1, 10)):  # it has saved that often, and is at the next
        os.read(read, 1)
    time.sleep(rng.random() / 500)  # the moment: random, and nothing waits for it
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(read)
    os.close(write)
    print(Checkpoint.load(path).training["step"])
"""


def test_a_killed_process_leaves_a_file_that_loads(tmp_path: Path, checkpoint: Checkpoint) -> None:
    path = tmp_path / "m"
    checkpoint.save(path)
    done = subprocess.run(
        [sys.executable, "-c", KILLER, path], capture_output=True, text=True, check=True
    )
    steps = done.stdout.split()
    assert len(steps) == 100
    assert len(set(steps)) > 5, "it was killed after different steps"
    assert [name for name in os.listdir(tmp_path) if not name.endswith(".tmp")] == ["m"]


def test_a_checkpoint_carries_its_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    pairs = SubwordTokenizer.learn(["emma", "ava emma"], 260)
    config = GPTConfig(pairs.vocab_size, n_embd=4, n_head=1)
    saved = Checkpoint(config, pairs, initial_state(config, random.Random(1)))
    saved.save(tmp_path / "m")
    loaded = Checkpoint.load(tmp_path / "m")
    assert isinstance(loaded.vocabulary, SubwordTokenizer)
    assert (loaded.vocabulary, loaded.vocabulary.name) == (pairs, "bpe:260")
    with pytest.raises(ValueError, match="the model's tokens are those of bpe:260") as error:
        _ = loaded.characters
    assert "without --tokenizer" in str(error.value)
    metadata = checkpoints.metadata(config, pairs, {})
    for vocabulary, says in (
        ({"name": "bpe:260", "settings": {}}, "not a tokenizer.json that can be read"),
        ({"name": "bpe:260"}, "'settings'"),
        (
            {"name": "bpe:260", "settings": json.loads(SubwordTokenizer.learn([], 257).settings)},
            "a vocabulary of 256 tokens and BOS does not make the config's vocab_size 260",
        ),
    ):
        held = json.dumps({"type": "tokenizer.json"} | vocabulary)
        save_file(dict(saved.state), tmp_path / "m", metadata | {"vocabulary": held})
        assert says in refused(tmp_path / "m")
    saved.save(tmp_path / "m")
    code = "import sys; sys.modules['tokenizers'] = None; from microgpt import cli; cli.main()"
    words = [sys.executable, "-c", code, "info", str(tmp_path / "m")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert "bpe:260 takes the library tokenizers; pip install 'microgpt-lab[llm]'\n" in done.stderr
    assert len(done.stderr.splitlines()) == 1
