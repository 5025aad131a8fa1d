"""The kernel on processors that this machine has not got: compiled for them, run in an emulator."""

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from microgpt import engines
from microgpt.engines.base import initial_state
from microgpt.sampling import Sampling, sample_many
from tests.test_contract import CONFIGS, documents

ROOT = Path(__file__).parent.parent
FLAGS = ["-std=gnu11", "-O2", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]
WARNINGS = ["-Wall", "-Wextra", "-Wno-psabi", "-Werror"]
SOURCES = ("microgpt/native/kernel.c", "tests/foreign.c")
# NEON; and vectors by the compiler alone, where simd.h knows no instruction.
PROCESSORS = {"aarch64": "gcc-aarch64-linux-gnu", "riscv64": "gcc-riscv64-linux-gnu"}


@pytest.fixture(scope="module", params=PROCESSORS)
def processor(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    for tool, package in (
        (f"{name}-linux-gnu-gcc", PROCESSORS[name]),
        (f"qemu-{name}", "qemu-user"),
    ):
        if not shutil.which(tool):
            pytest.skip(f"needs {tool} (Debian: {package})")
    return name


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_the_same_numbers(processor: str, tmp_path: Path, dtype: str, tolerance: float) -> None:
    program = tmp_path / "program"
    defined = [f"-DREAL_BYTES={np.dtype(dtype).itemsize}", "-DKERNEL=foreign"]
    compiler = [f"{processor}-linux-gnu-gcc", *FLAGS, *WARNINGS, *defined, "-static"]
    subprocess.run([*compiler, *SOURCES, "-o", program, "-lm"], check=True, cwd=ROOT)
    for config in CONFIGS:
        state, docs = initial_state(config, random.Random(42)), documents(config, 20)
        flat = np.concatenate([array.ravel() for array in state.values()])
        given = [*vars(config).values(), *flat.tolist(), len(docs)]
        for tokens in docs:
            given += [len(tokens), *tokens]
        done = subprocess.run(
            [f"qemu-{processor}", program],
            input=" ".join(map(repr, given)),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.splitlines()
        gradient = np.array(lines[: flat.size], float)
        losses = np.array(lines[flat.size :][: len(docs)], float)
        names = [[int(x) for x in line.split()[1:]] for line in lines[flat.size + len(docs) :]]

        native = engines.create_trainable("native", config, state, dtype=dtype)
        expected = np.concatenate([a.ravel() for a in native.gradients([docs[0]]).values()])
        error = np.linalg.norm(gradient - expected)
        assert error <= 0.1 * tolerance * np.linalg.norm(expected), config
        batches, rates = [[tokens] for tokens in docs], [0.01] * len(docs)
        np.testing.assert_allclose(losses, native.train(batches, rates), tolerance, atol=tolerance)
        assert names == sample_many(native, len(names), 7, Sampling(temperature=0.8)), config
