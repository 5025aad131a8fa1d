"""The command as a process of its own, in an empty folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from microgpt.checkpoint import Checkpoint

Finished = subprocess.CompletedProcess[str]
Command = Callable[..., Finished]
MICROGPT = [sys.executable, "-m", "microgpt"]
SMALL = ["--data", "world", "--engine", "scalar", "--n-embd", "4", "--n-head", "2"]


@pytest.fixture
def cli(tmp_path: Path) -> Command:
    """Return a function that runs the command."""

    def call(*words: str, stdin: str = "", check: bool = True, **environ: str) -> Finished:
        return subprocess.run(
            [*MICROGPT, *words],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            check=check,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1", **environ},
        )

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Command:
    """Return a function that runs a line of bash, in which `microgpt` is the command."""

    def call(line: str, **environ: str) -> Finished:
        code = f'set -o pipefail; microgpt() {{ "{sys.executable}" -m microgpt "$@"; }}; {line}'
        return subprocess.run(
            ["bash", "-c", code],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1", **environ},
        )

    return call


@pytest.fixture
def model(tmp_path: Path, checkpoint: Checkpoint) -> str:
    """Save a model of the published sizes; return its path."""
    checkpoint.save(tmp_path / "model.safetensors")
    return "model.safetensors"


def complaint(done: Finished) -> str:
    """Return the one line that a refused command says."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("microgpt: ")
    return line
