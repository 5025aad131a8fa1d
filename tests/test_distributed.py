"""Many processes that train one model: torchrun itself, on this machine, over gloo."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import microgpt
from microgpt import checkpoint, engines
from microgpt.checkpoint import Checkpoint
from microgpt.corpus import Corpus
from microgpt.dataset import load
from microgpt.feed import Pretraining
from microgpt.text import TextStream
from microgpt.training import Run, Settings
from tests.conftest import children

pytest.importorskip("torch", reason="PyTorch is not installed (make test TORCH=1)")
TRAIN = ["train", "--engine", "pytorch", "--dtype", "float64", "--data", "world", "--batch", "7"]
TOGETHER = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


@contextmanager
def started(folder: Path, *words: str, by: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """Start two processes of a run; end them."""
    command = [*TOGETHER, *by, "-m", "--", "microgpt", *TRAIN, *words]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()  # it ends its workers


def losses(log: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in log.read_text().splitlines()]


def test_two_processes_are_one(tmp_path: Path) -> None:
    """Seven documents a step, so that one share has a document of no weight."""
    words = ["--steps", "12", "--out", "m.safetensors", "--log", "log.jsonl"]
    with started(tmp_path, *words) as run:
        printed, _ = run.communicate()
    assert run.returncode == 0, printed
    alone = microgpt.train("world", engine="pytorch", dtype="float64", batch=7, steps=12)
    assert losses(tmp_path / "log.jsonl") == pytest.approx(alone.losses, rel=1e-12)
    state = Checkpoint.load(tmp_path / "m.safetensors").state
    for name, array in alone.model().checkpoint.state.items():
        assert state[name] == pytest.approx(array, rel=0, abs=1e-12), name
    assert printed.count("repeat with") == 1, "one process speaks"
    assert all(name in printed.splitlines() for name in alone.model().sample(20))
    assert not (tmp_path / "m.parts").exists()


def test_a_worker_is_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    """Shards of two processes, taken up by one."""
    words = ["--fsdp", "--steps", "1000", "--out", "m.safetensors"]
    with started(tmp_path, *words) as run:
        assert run.stdout
        before = ""
        for line in run.stdout:  # it saved itself after its first step
            before += line
            if line.startswith("step 100/1000"):
                break
        os.kill(max(children(run.pid)), signal.SIGKILL)
        printed, _ = run.communicate()
    assert run.returncode, before
    (line,) = (line for line in printed.splitlines() if line.startswith("microgpt: "))
    assert line == (
        "microgpt: another process of this run is gone, or does not answer; its last checkpoint "
        "is m.parts; to go on: torchrun --standalone --nproc-per-node=2 -m -- microgpt train "
        "--resume m.parts"
    )
    assert "(SIGKILL)" in printed, "torchrun's own report follows"
    saved = engines.gather(str(tmp_path / "m.parts"))
    steps = range(saved.training["step"])
    feed, settings = Pretraining(load("world"), 7), Settings(steps=1000)
    alone = Run(feed, settings, "pytorch", options={"dtype": "float64"}).engine
    alone.train([feed.batch(i)[0] for i in steps], [settings.learning_rate(i) for i in steps])
    for name, array in alone.state().items():
        assert saved.state[name] == pytest.approx(array, rel=0, abs=1e-12), name
    words = f"train --resume m.parts -q --steps {len(steps) + 2}".split()
    done = subprocess.run(
        [sys.executable, "-m", "microgpt", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 20
    assert Checkpoint.load(tmp_path / "m.safetensors").training["step"] == len(steps) + 2
    assert not (tmp_path / "m.parts").exists(), "a finished run needs it no more"


@pytest.mark.slow
def test_two_processes_read_a_stream_as_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{i} is {i * i}"}}\n' for i in range(99)))
    words = ["--stream", "--data", "a.jsonl", "--steps", "20", "--log", "log.jsonl"]
    with started(tmp_path, *words) as run:
        printed, _ = run.communicate()
    assert run.returncode == 0, printed
    alone = Run(
        TextStream(Corpus(str(tmp_path / "a.jsonl")), 16, 7),
        Settings(20),
        "pytorch",
        options={"dtype": "float64"},
    )
    for _ in alone.advance():
        pass
    assert losses(tmp_path / "log.jsonl") == pytest.approx(alone.losses, rel=1e-12)


@pytest.mark.slow
def test_torchrun_starts_the_workers_again_and_they_go_on(tmp_path: Path) -> None:
    words = ["--steps", "300", "--out", "m.safetensors", "--log", "log.jsonl"]
    with started(tmp_path, *words, by=("--max-restarts=1",)) as run:
        assert run.stdout
        for line in run.stdout:
            if line.startswith("step 60/300"):
                break
        os.kill(max(children(run.pid)), signal.SIGKILL)
        printed, _ = run.communicate()
    assert run.returncode == 0, printed
    alone = microgpt.train("world", engine="pytorch", dtype="float64", batch=7, steps=300)
    assert losses(tmp_path / "log.jsonl") == pytest.approx(alone.losses, rel=1e-9)


def alone(folder: Path, rank: int, port: int, *words: str) -> subprocess.Popen[str]:
    """Start one process by itself, as on a machine of its own."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-m", "microgpt", *TRAIN, *words],
        env=os.environ | place | {"RANK": str(rank), "WORLD_SIZE": "2"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_that_disagree_say_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    both = [alone(tmp_path, rank, port, "--n-layer", str(rank + 1)) for rank in (0, 1)]
    for process in both:
        _, said = process.communicate()
        assert process.returncode == 2
        (line,) = (line for line in said.splitlines() if line.startswith("microgpt: "))
        assert "process 1 has other settings than process 0" in line
        assert "start all of them with the same command" in line


@pytest.mark.slow
def test_a_process_that_never_comes(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = alone(tmp_path, 0, port, "--out", "m.safetensors")
    _, said = process.communicate()
    assert process.returncode == 1
    assert "another process of this run is gone, or does not answer; nothing was saved" in said


@pytest.mark.parametrize("words", ["tune m.safetensors --reward vowel", "scaling", "rom"])
def test_what_works_in_one_process_is_refused_in_many(tmp_path: Path, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "microgpt", *words.split()],
        env=os.environ | {"RANK": "1", "WORLD_SIZE": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"microgpt: microgpt {words.split()[0]} works in one process, and 2 were started; "
        "start it without torchrun\n"
    )


def test_many_processes_without_torch(tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from microgpt import cli; cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *TRAIN, "--log", "log.jsonl"],
        env=os.environ | {"RANK": "0", "WORLD_SIZE": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "microgpt: the engine pytorch is not here: PyTorch is not installed; "
        "pip install 'microgpt-lab[torch]', or torch by itself\n"
    )
    assert not os.listdir(tmp_path)


def test_a_save_that_fails_leaves_the_one_before_at_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.checkpoint.state_dict_saver import save as write

    from microgpt.engines.pytorch import distributed

    run = microgpt.train("world", engine="pytorch", steps=2)
    metadata = checkpoint.metadata(run.config, run.feed.tokenizer.vocabulary, run.record())
    arrays = run.engine.state()

    def save(more: float) -> None:
        tensors = {n: torch.as_tensor(a) + (more if n == "wte" else 0) for n, a in arrays.items()}
        distributed.save(tmp_path / "m.parts", tensors, metadata)

    def saved() -> Any:
        return engines.gather(str(tmp_path / "m.parts")).state["wte"] - arrays["wte"]

    def interrupted(*given: Any, **named: Any) -> None:
        write(*given, **named)
        raise KeyboardInterrupt

    meeting = f"file://{tmp_path / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    try:
        save(0)
        with monkeypatch.context() as patch:
            patch.setattr(distributed, "save_tensors", interrupted)
            with pytest.raises(KeyboardInterrupt):
                save(1)
        assert saved() == pytest.approx(0)
        save(2)
        assert saved() == pytest.approx(2)
    finally:
        dist.destroy_process_group()
    assert len(os.listdir(tmp_path / "m.parts")) == 2, "run.json, and the parts that it names"


def test_an_engine_of_one_process_is_refused(tmp_path: Path) -> None:
    process = alone(tmp_path, 1, 1, "--engine", "native", "--dtype", "float32")
    _, said = process.communicate()
    assert (process.returncode, said) == (
        2,
        "microgpt: 2 processes cannot train with the engine native; give --engine pytorch\n",
    )


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (None, "run.json: No such file or directory"),
        ("[]", "is not a run that microgpt can use"),
        ('{"format": "microgpt 1"}', "is not a run that microgpt can use: 'config'"),
    ],
)
def test_a_folder_that_is_no_run(tmp_path: Path, head: str | None, line: str) -> None:
    if head is not None:
        (tmp_path / "run.json").write_text(head)
    with pytest.raises((OSError, ValueError)) as error:
        engines.gather(str(tmp_path))
    assert line in f"run.json: {getattr(error.value, 'strerror', error.value)}"
