"""The ladder: its ends are stock models, its engine is gpt.py's, its table is what runs say."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from microgpt import cli, dataset, engines, ladder
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import initial_params, initial_state
from microgpt.engines.scalar import ScalarEngine
from microgpt.feed import Pretraining
from microgpt.ladder import RUNGS, Outcome, Point
from microgpt.llm import bricks, export
from microgpt.llm.architecture import Architecture
from tests.architectures import ARCHITECTURES, draw

ROOT = Path(__file__).parent.parent
DOCUMENTS = [[10, 3, 3, 7, 0, 10, 2], [10, 5, 10], [10, 1, 2, 4, 10]]
needs_torch = pytest.mark.skipif(
    bool(engines.missing("pytorch")), reason=str(engines.missing("pytorch"))
)


def test_it_leads_from_the_heart_to_a_stock_llama_and_gpt2() -> None:
    foot = ladder.architecture(ladder.FOOT, 27)
    assert foot == Architecture.of(GPTConfig())
    assert export.family(ladder.architecture(ladder.LLAMA, 27)) == "llama"
    assert export.family(ladder.architecture(ladder.GPT2, 27)) == "gpt2"


@pytest.mark.parametrize("name", [*RUNGS][1:])
def test_a_rung_is_the_one_below_and_a_brick(name: str) -> None:
    rung = RUNGS[name]
    assert rung.below
    assert callable(getattr(bricks, rung.brick))
    mine, below = ladder.architecture(name, 27), ladder.architecture(rung.below, 27)
    changed = {
        field.name
        for field in fields(mine)
        if getattr(mine, field.name) != getattr(below, field.name)
    }
    assert changed == rung.changes(below).keys()
    if name == "SwiGLU":
        assert abs(mine.n_params - below.n_params) < below.n_params / 100, "the same budget"


def test_fresh_parameters_are_the_hearts() -> None:
    config = GPTConfig(vocab_size=11, n_layer=2, n_embd=8, block_size=12)
    ours = initial_params(Architecture.of(config), random.Random(5))
    for name, array in initial_state(config, random.Random(5)).items():
        assert np.array_equal(ours[name], array), name
    fresh = initial_params(ARCHITECTURES["gpt2"], random.Random(5))
    assert (fresh["layer0.mlp_norm"] == 1).all()
    assert not fresh["layer0.mlp_norm.bias"].any()
    assert fresh["layer0.mlp_fc1"].std() == pytest.approx(0.08, rel=0.3)


@needs_torch
def test_without_bricks_it_learns_as_gpt_py_does() -> None:
    config = GPTConfig(vocab_size=11, n_layer=2, n_embd=8, block_size=12)
    state = initial_state(config, random.Random(1))
    heart = ScalarEngine(config, state, Adam())
    ours = engines.create_learner("pytorch", Architecture.of(config), state, device="cpu")
    rates = [0.01, 0.02, 0.005]
    assert ours.train([DOCUMENTS] * 3, rates) == pytest.approx(
        heart.train([DOCUMENTS] * 3, rates), rel=1e-12
    )
    assert ours.loss(DOCUMENTS) == pytest.approx(heart.loss(DOCUMENTS), rel=1e-12)
    for name, array in ours.state().items():
        np.testing.assert_allclose(array, heart.state()[name], rtol=0, atol=1e-10, err_msg=name)


@needs_torch
@pytest.mark.parametrize("name", ["gpt2", "qwen3", "mistral", "mixtral"])
def test_with_bricks_it_learns(name: str) -> None:
    """A batch's loss is the mean of its documents', however long; steps make it smaller."""
    config = ARCHITECTURES[name]
    params = {key: np.array(numbers) for key, numbers in draw(config).items()}
    engine = engines.create_learner("pytorch", config, params, device="cpu")
    apart = [engine.loss([document]) for document in DOCUMENTS]
    (first, *_) = engine.train([DOCUMENTS] * 8, [0.01] * 8)
    assert first == pytest.approx(sum(apart) / len(apart), rel=1e-12)
    assert engine.loss(DOCUMENTS) < first
    trained = engine.state()
    assert all((trained[key] != params[key]).any() for key in params if "wte" not in key)
    with pytest.raises(ValueError, match="no next token to learn"):
        engine.train([[[3]]], [0.01])


def test_the_bricks_in_python_numbers_cannot_learn() -> None:
    params = {key: np.array(numbers) for key, numbers in draw(ARCHITECTURES["llama"]).items()}
    with pytest.raises(ValueError, match="the engine scalar runs such a model but cannot train it"):
        engines.create_learner("scalar", ARCHITECTURES["llama"], params)


@needs_torch
def test_a_run_is_its_seed() -> None:
    data = dataset.load("world")
    made = ladder.train(data, Point("RoPE", 0.01, 3, 1))
    assert made == ladder.train(data, Point("RoPE", 0.01, 3, 1))
    assert made.loss != ladder.train(data, Point("RoPE", 0.01, 3, 2)).loss
    size = Pretraining(data).tokenizer.vocab_size
    assert made.parameters == ladder.architecture("RoPE", size).n_params


def outcomes(loss: Callable[[str, int], float], seeds: int = 5) -> list[Outcome]:
    """Return what runs would come to."""
    points = ladder.points(chosen(), seeds)
    return [Outcome(p, 1000, 2.0, loss(p.rung, p.seed)) for p in points]


def chosen(best: float = 0.01) -> list[Outcome]:
    """Return what the runs that choose would come to: one rate is the best by validation alone."""
    return [
        Outcome(p, 1000, 2 + (p.lr - best) ** 2, 2 - (p.lr - best) ** 2) for p in ladder.choosing(7)
    ]


def test_validation_chooses_the_rate_of_each_rung() -> None:
    made = chosen(0.02)
    made[[*RUNGS].index("gains")] = replace(made[[*RUNGS].index("gains")], val=1.0)
    points = ladder.points(made, 2)
    assert len(points) == 2 * len(RUNGS)
    rates = {point.rung: point.lr for point in points}
    assert rates.pop("gains") == 0.005
    assert {*rates.values()} == {0.02}
    assert {(p.steps, p.seed) for p in points} == {(7, 0), (7, 1)}, "no seed that chose"


def test_a_change_is_what_students_t_says() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    rng = random.Random(3)
    drawn = {rung: [2.3 + rng.gauss(0, 0.01) for _ in range(5)] for rung in RUNGS}
    rows = ladder.table(outcomes(lambda rung, seed: drawn[rung][seed]), dict.fromkeys(RUNGS, 1.0))
    for row in rows[1:]:
        assert row.below
        theirs = stats.ttest_rel(drawn[row.rung], drawn[row.below])
        low, high = theirs.confidence_interval()
        assert (row.change, row.margin) == pytest.approx(((low + high) / 2, (high - low) / 2))
        assert row.differs == (theirs.pvalue < 0.05)
        assert row.losses == drawn[row.rung]
    assert rows[0].change is None
    assert not rows[0].differs


def test_a_small_change_in_every_seed_is_seen() -> None:
    """The seeds differ by more than the bricks; seed by seed, one brick is better."""
    pytest.importorskip("scipy", reason="scipy is not installed")
    made = outcomes(lambda rung, seed: 2 + seed / 10 - (0.01 + seed / 1e4) * (rung == "gains"))
    rows = {row.rung: row for row in ladder.table(made, dict.fromkeys(RUNGS, 1.0))}
    assert rows["gains"].differs
    assert rows["gains"].change == pytest.approx(-0.0102)
    assert rows["SwiGLU"].change == pytest.approx(0.0102), "without it again"
    assert not rows["LayerNorm"].differs


@needs_torch
@pytest.mark.slow
def test_the_command_makes_the_table_draws_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    words = ["ladder", "--data", "world", "--steps", "2", "--seeds", "2", "-o", "runs.json"]

    def run(*more: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main([*words, *more])
        assert not end.value.code
        return capsys.readouterr().out

    shown = run("--plot", "ladder.svg")
    assert max(map(len, shown.splitlines())) <= 80
    assert all(f"+ {name}" in shown for name in [*RUNGS][1:])
    assert (tmp_path / "ladder.svg").read_text().count("<path") > 10
    kept = json.loads((tmp_path / "runs.json").read_text())
    assert len(kept["runs"]) == (3 + 2) * len(RUNGS)
    before = (tmp_path / "runs.json").read_bytes()
    rungs = json.loads(run("--json"))["rungs"]
    assert (tmp_path / "runs.json").read_bytes() == before, "nothing is made again"
    assert [row["rung"] for row in rungs] == [*RUNGS]
    assert all(f"{row['loss']:.4f}" in shown for row in rungs)


@needs_torch
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "1"], "1 is not in the range 2<=x<=20"),
        (["--plot", "ladder.txt"], "--plot is ladder.txt; it must end in .png or .svg"),
        (["-o", "notes.txt"], "notes.txt does not hold runs of ladder; name another with -o"),
        (["-o", "a.svg", "--plot", "a.svg"], "a.svg is already used by this command"),
        (["--data", "few.txt"], "1 different documents are too few to hold out 0.1"),
    ],
)
def test_what_it_refuses(
    words: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("hello")
    Path("few.txt").write_text("ann\n")
    with pytest.raises(SystemExit) as end:
        cli.main(["ladder", "--data", "world", *words])
    captured = capsys.readouterr()
    assert (end.value.code, captured.out) == (2, "")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_the_docs_show_what_was_measured() -> None:
    script, measured = ROOT / "scripts" / "ladder_table.py", ROOT / "docs" / "ladder.json"
    words: list[str | Path] = [sys.executable, script, measured]
    made = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=True)
    assert made.stdout in (ROOT / "docs" / "ladder.md").read_text("utf-8")
    assert all(f"+ {name}]" in made.stdout for name in [*RUNGS][1:])
