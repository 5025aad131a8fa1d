"""microgpt compare."""

import json
import math
from pathlib import Path

import pytest

from microgpt.llm.presets import PRESETS
from tests.cli.conftest import Command, complaint


def test_models_side_by_side_fit_a_terminal(cli: Command, model: str) -> None:
    shown = cli("compare", "deepseek-v3", model, "qwen3-0.6b").stdout.splitlines()
    assert max(map(len, shown)) <= 80
    assert [line.split() for line in shown if line.startswith("parameters")] == [
        ["parameters", "4,192", "671,026,404,352", "4,192"],
        ["parameters", "4,192", "596,049,920"],
    ]
    assert "  changed  tied embeddings: lm_head is wte itself: one table reads and writes." in shown
    assert "  bigger   n_layer: 1 → 61" in shown


def test_without_a_name_it_shows_two_and_names_all(cli: Command) -> None:
    shown = cli("compare").stdout
    assert "GPT-2 124M" in shown
    listed = shown[shown.index("By name: ") :].removeprefix("By name: ").split()
    assert listed == list(PRESETS)


def test_json_has_every_model_and_the_same_numbers(cli: Command, model: str) -> None:
    models = json.loads(cli("compare", "--json").stdout)["models"]
    assert [entry["name"] for entry in models] == list(PRESETS)
    assert {e["name"]: e["parameters"] for e in models}["deepseek-v3"] == 671_026_404_352
    ours, theirs = json.loads(cli("compare", model, "--json", "--speed", "1e6").stdout)["models"]
    assert ours["parts"] == theirs["parts"]
    assert theirs["title"] == "model.safetensors"
    times = {row["name"]: row["value"] for row in ours["costs"]}
    assert times["time at 1e6 FLOP/s"] == pytest.approx(7170 * 22_656 / 1e6)


def test_a_folder_is_compared_by_its_config(cli: Command) -> None:
    """A tiny Llama 3 and a mixture of experts that transformers wrote; their biggest arrays."""
    folders = Path(__file__).parents[1] / "families"
    shown = cli("compare", str(folders / "llama3"), str(folders / "mixtral")).stdout
    assert "changed  stretched RoPE: Slow turns are slowed 4 times" in shown
    assert "changed  mixture of experts: A router sends each token to" in shown
    for name in ("llama3", "mixtral"):
        made = json.loads(cli("compare", str(folders / name), "--json").stdout)["models"][1]
        stored = (folders / name / "model.safetensors").read_bytes()
        header = json.loads(stored[8 : 8 + int.from_bytes(stored[:8], "little")])
        shapes = [each["shape"] for key, each in header.items() if key != "__metadata__"]
        assert made["parameters"] == sum(map(math.prod, shapes))
        assert made["title"] == name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["llama-9"], "'llama-9' is not a file or a folder, nor one of microgpt, snes-classic"),
        (["--speed", "0"], "--speed is 0.0; it must be FLOP/s, more than 0"),
        (["--speed", "nan"], "--speed is nan"),
        (["nowhere.gguf"], "nowhere.gguf: No such file"),
        (["empty"], "empty/config.json: No such file"),
        (["notes.txt"], "notes.txt is not a model that microgpt can use"),
    ],
)
def test_what_it_cannot_compare(cli: Command, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    assert said in complaint(cli("compare", *words, check=False))
