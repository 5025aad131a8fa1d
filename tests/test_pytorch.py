"""The PyTorch engine beyond the contract, which tests/test_contract.py holds it to."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgpt
from microgpt import cli, engines
from microgpt.config import GPTConfig
from microgpt.engines.base import TrainableEngine, initial_state
from tests.conftest import EMMA
from tests.test_gpt import LOSSES, NAMES

torch = pytest.importorskip("torch", reason="PyTorch is not installed (make test TORCH=1)")
DOCUMENTS = [EMMA, [26, 0, 13, 13, 26], [26, 14, 11, 8, 21, 8, 0, 26], [26, 0, 21, 0, 26]]


def create(**options: Any) -> TrainableEngine:
    config = GPTConfig()
    state = initial_state(config, random.Random(42))
    return engines.create_trainable("pytorch", config, state, **options)


def test_it_gives_the_published_losses_and_names(published: Path) -> None:
    run = microgpt.train("names", engine="pytorch", options={"dtype": "float64"})
    assert [f"{loss:.4f}" for loss in run.losses[:13]] == LOSSES.split()
    assert run.model().sample(20, temperature=0.5) == NAMES.split()


def test_micro_batches_add_up_to_the_batch() -> None:
    whole, parts = create(dtype="float64"), create(dtype="float64", micro_batch=3)
    assert parts.train([DOCUMENTS] * 5, [0.01] * 5) == pytest.approx(
        whole.train([DOCUMENTS] * 5, [0.01] * 5), rel=1e-12
    )


def test_bfloat16_computes_roughly_the_same() -> None:
    exact, rough = create(), create(autocast=True)
    assert rough.loss(DOCUMENTS) == pytest.approx(exact.loss(DOCUMENTS), rel=1e-2)
    assert rough.loss(DOCUMENTS) != exact.loss(DOCUMENTS)
    (loss,) = rough.train([DOCUMENTS], [0.01])
    assert rough.loss(DOCUMENTS) < loss
    assert rough.state()["wte"].dtype == np.float32, "the weights are kept in full"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of its own parts
def test_compiled_it_computes_the_same() -> None:
    plain, fused = create(), create(compile=True)
    for batch in (DOCUMENTS, DOCUMENTS[:2]):
        assert fused.train([batch], [0.01]) == pytest.approx(plain.train([batch], [0.01]), rel=1e-5)


def test_the_command_line_gives_it_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--data", "world", "--steps", "2", "--batch", "4", "--engine", "pytorch"]
    words += ["--device", "cpu", "--autocast", "--micro-batch", "3"]
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert not end.value.code
    (line,) = (x for x in capsys.readouterr().out.splitlines() if x.startswith("repeat with"))
    assert line.endswith("--device cpu --autocast --micro-batch 3")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"dtype": "float16"}, "^dtype is 'float16'; it must be one of float32, float64$"),
        ({"device": "tpu9"}, "^device is 'tpu9', which is not here .*; try cpu$"),
        ({"device": "cuda:77"}, "^device is 'cuda:77', which is not here .*; try cpu$"),
        ({"micro_batch": 0}, "^micro_batch is 0; it must be a whole number, 1 or more$"),
    ],
)
def test_an_option_that_cannot_be(options: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        create(**options)
