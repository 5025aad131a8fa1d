"""The loop is the heart's loop; it can stop anywhere and go on as if it had not."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import microgpt
from microgpt import dataset, gpt
from microgpt.checkpoint import Checkpoint
from microgpt.training import VALIDATIONS, Run, Settings
from tests.conftest import EMMA

TINY = {"n_layer": 1, "n_embd": 4, "n_head": 2, "block_size": 4}


def finish(run: Run) -> Run:
    for _ in run.advance():
        pass
    return run


def test_a_run_is_the_hearts(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(dataset.WORLD)
    assert gpt.main([path], steps=20) is None
    lines = capsys.readouterr().out.splitlines()
    run = microgpt.train(path, steps=20, engine="scalar")
    assert [f"{loss:.4f}" for loss in run.losses] == [line[-6:] for line in lines[1:21]]
    assert run.model.sample(20) == lines[21:], "the names follow from the same random state"


def test_a_loaded_model_goes_on_like_the_run(tmp_path: Path) -> None:
    run = microgpt.train("world", steps=2, engine="scalar")
    run.model.save(tmp_path / "m.safetensors")
    model = microgpt.load(tmp_path / "m.safetensors", engine="scalar")
    assert model.sample(3) == run.model.sample(3)
    assert model.sample(3, seed=1) == model.sample(3, seed=1) != model.sample(3, seed=2)
    assert model.training["data"]["name"] == "world"
    assert "adam.t" not in model.checkpoint.state


@pytest.mark.parametrize("stop", [1, 7, 12])
@pytest.mark.parametrize(("batch", "val"), [(1, 0.0), (3, 0.1)])
def test_a_resumed_run_is_one_never_interrupted(
    tmp_path: Path, stop: int, batch: int, val: float
) -> None:
    data = dataset.load("world")
    settings = Settings(steps=13, batch=batch, seed=5, val=val)
    whole = finish(Run(data, settings, TINY, "scalar"))
    run = Run(data, settings, TINY, "scalar")
    for _ in run.advance():
        if run.step >= stop:
            break
    run.checkpoint().save(tmp_path / "run")
    resumed = finish(Run.resume(Checkpoint.load(tmp_path / "run"), data))
    assert run.losses + resumed.losses == whole.losses
    assert resumed.model.sample(3) == whole.model.sample(3)
    assert json.dumps(resumed.checkpoint().training) == json.dumps(whole.checkpoint().training)


def test_validation_happens_ten_times_and_at_the_end() -> None:
    run = Run(dataset.load("world"), Settings(steps=25, val=0.1), TINY, "scalar")
    looks = [(p.step, p.val_loss, p.is_best) for p in run.advance() if p.val_loss is not None]
    assert [step for step, _, _ in looks] == [3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert len(looks) <= VALIDATIONS
    lowest = math.inf
    for _, loss, is_best in looks:
        assert is_best == (loss < lowest)
        lowest = min(lowest, loss)
    assert run.best_val_loss == lowest
    assert not {*map(tuple, run.val)} & {*map(tuple, run.train)}
    assert not {*map(tuple, run.test)} & {*map(tuple, run.train + run.val)}


def test_what_a_loss_means() -> None:
    run = Run(dataset.load("world"), Settings(steps=1, val=0.1), TINY, "scalar")
    uniform, bigram = run.standard()
    assert uniform == math.log(27)
    assert 2 < bigram < 3
    assert run.test_loss() == pytest.approx(uniform, abs=0.1)


def corrupt(training: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if len(path) > 1:
        value = corrupt(training[path[0]], path[1:], value)
    return {**training, path[0]: value}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("data", "sha256"), "0"),
        (("data",), None),
        (("settings",), {}),
        (("settings", "steps"), -1),
        (("settings", "steps"), "1000"),
        (("settings", "colour"), 1),
        (("settings", "optimizer"), {"beta1": 2}),
        (("engine",), "steam"),
        (("options",), {"pressure": 3}),
        (("random",), [3, [1, 2], None]),
        (("random",), 5),
        (("step",), 10**6),
        (("step",), None),
    ],
)
def test_a_record_that_makes_no_sense_is_refused(path: tuple[str, ...], value: Any) -> None:
    data = dataset.load("world")
    run = Run(data, Settings(steps=3), TINY, "scalar")
    sound = run.checkpoint()
    bad = replace(sound, training=corrupt(sound.training, path, value))
    with pytest.raises(ValueError) as error:  # noqa: PT011 (each says something else)
        Run.resume(bad, data)
    assert "\n" not in str(error.value)
    assert Run.resume(sound, data).step == 0
    with pytest.raises(ValueError, match="nothing to resume"):
        Run.resume(sound.model(), data)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"batch": -1},
        {"seed": -1},
        {"lr": 0},
        {"lr": math.nan},
        {"lr": 2},
        {"val": 0.5},
        {"val": -0.1},
        {"val": math.nan},
    ],
)
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(ValueError, match=f"{name} is"):
        Settings(**settings)


def test_one_document_is_enough(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    run = microgpt.train(str(tmp_path / "one"), steps=3, batch=2, engine="scalar")
    assert run.config.vocab_size == 2
    assert run.losses[0] > run.losses[-1]
    assert set("".join(run.model.sample(5))) <= {"x"}


def test_scores_are_those_of_the_heart() -> None:
    run = microgpt.train("world", steps=1, engine="scalar")
    params = gpt.init(run.config, random.Random(0))
    for name, array in run.model.checkpoint.state.items():
        params[name] = [[gpt.Value(x) for x in row] for row in array.tolist()]
    score = run.model.score("emma")
    assert score.loss == pytest.approx(gpt.loss(params, run.config, EMMA).data, rel=1e-12)
    assert score.tokens == ["e", "m", "m", "a", ""]
    assert score.probability == pytest.approx(math.exp(-5 * score.loss))
    assert score.bigram == run.bigram.losses(EMMA)
    assert len(run.model.score("m" * 40).tokens) == 16, "as far as block_size lets it read"
    with pytest.raises(ValueError, match="vocabulary"):
        run.model.score("Émile")
