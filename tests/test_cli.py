"""The command as a person meets it: what it prints, and one line for every mistake."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from safetensors.numpy import save_file

import microgpt
from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.cli import COMMANDS, commands, main
from tests.conftest import LETTERS

Finished = subprocess.CompletedProcess[str]
SMALL = ["--data", "world", "--engine", "scalar", "--n-embd", "4", "--n-head", "2"]


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Finished]:
    """Return a function that runs the command in an empty folder."""

    def call(*words: str, stdin: str = "", check: bool = True, **environ: str) -> Finished:
        return subprocess.run(
            [sys.executable, "-m", "microgpt", *words],
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
def model(tmp_path: Path, checkpoint: Checkpoint) -> str:
    """Save a model of the published sizes; return its path."""
    checkpoint.save(tmp_path / "model.safetensors")
    return "model.safetensors"


def test_training_from_a_terminal(cli: Callable[..., Finished], tmp_path: Path) -> None:
    words = ["train", *SMALL, "--steps", "30", "--val", "0.1", "--batch", "2", "--seed", "3"]
    done = cli(*words, "--out", "m.safetensors", "--log", "m.jsonl", "--keep-best")
    lines = done.stdout.splitlines()
    assert lines[0] == "world: 18,994 documents, 26 characters; 472 parameters; engine scalar"
    repeat = lines[1].removeprefix("repeat with: microgpt ").split()
    assert lines[-1].endswith("are in the training data")
    assert "3.2958  knowing nothing" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("step 30/30 | loss ")
    log = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 31))
    assert len([line for line in log if "val_loss" in line]) == 10
    assert cli(*repeat).stdout == done.stdout, "the printed command repeats the run"
    names = set(dataset.load("world").documents)
    known = sum(name in names for name in lines[-21:-1])
    assert lines[-1] == f"{20 - known} of these 20 names are new; {known} are in the training data"
    best = microgpt.load(tmp_path / "m.best.safetensors")
    assert best.training["best_val_loss"] == min(line.get("val_loss", 9) for line in log)
    assert sorted(os.listdir(tmp_path)) == ["m.best.safetensors", "m.jsonl", "m.safetensors"]


def test_settings_from_a_file(cli: Callable[..., Finished], tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'data = "world"\nengine = "scalar"\nsteps = 2\nn-embd = 8\nblock_size = 4\n'
    )
    done = cli("train", "--config", "run.toml", "--steps", "3")
    assert "--steps 3 " in done.stdout
    assert "--n-embd 8 --n-head 4 --block-size 4" in done.stdout
    for text, says in (
        ("steps = ", "not a TOML file"),
        ("colour = 1", "sets 'colour'"),
        ('steps = "many"', "not a valid integer"),
        ("[steps]", "sets 'steps'"),
    ):
        (tmp_path / "run.toml").write_text(text)
        assert says in complaint(cli("train", "--config", "run.toml", check=False))


def complaint(done: Finished) -> str:
    """Return the one line that a refused command says."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("microgpt: ")
    return line


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("bogus", "No such command 'bogus'"),
        ("sample", "Missing argument 'MODEL'"),
        ("train --steps many", "'many' is not a valid integer"),
        ("train --data world --steps -1", "steps is -1"),
        ("train --data world --batch 0", "batch is 0"),
        ("train --data world --lr nan", "lr is nan"),
        ("train --data world --val 0.6", "val is 0.6"),
        ("train --data world --n-embd 10", "make n_embd a multiple of n_head"),
        ("train --data world --n-layer -1", "n_layer is -1"),
        ("train --data world --n-embd 100000000", "the limit is 100,000,000"),
        ("train --data world --engine steam", "there is no engine 'steam'"),
        ("train --data world --keep-best", "--keep-best needs --out"),
        ("train --data world --out missing/x", "--out missing/x"),
        ("train --data world --log missing/x", "missing/x: No such file"),
        ("train --data missing", "missing: No such file"),
        ("train --data .", ".: Is a directory"),
        ("train --data empty", "empty holds no documents"),
        ("train --data bytes", "bytes is not UTF-8 text (byte 0)"),
        ("train --resume model.safetensors", "nothing to resume"),
        ("train --resume model.safetensors --steps 5", "--steps cannot be changed"),
        ("train --resume bytes", "is not a model"),
        ("sample missing", "missing: No such file"),
        ("sample .", ".: Is a directory"),
        ("sample bytes", "bytes is not a model that microgpt can use"),
        ("sample /dev/null", "/dev/null is not a model that microgpt can use"),
        ("sample foreign", "its format is None"),
        ("sample model.safetensors --temperature -1", "temperature is -1.0"),
        ("sample model.safetensors --temperature nan", "temperature is nan"),
        ("sample model.safetensors --temperature inf", "temperature is inf"),
        ("sample model.safetensors --top-k 0", "top-k is 0"),
        ("sample model.safetensors --top-p 1.5", "top-p is 1.5"),
        ("sample model.safetensors -n -1", "count is -1"),
        ("sample model.safetensors --seed -1", "seed is -1"),
        ("sample model.safetensors --prefix Zoë", "'Z' in 'Zoë'"),
        ("sample model.safetensors --prefix abcdefghijklmnopq", "17 tokens"),
        ("score model.safetensors 37", "'3' in '37'"),
        ("chat model.safetensors --temperature -1", "temperature is -1.0"),
        ("info missing", "missing: No such file"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    model: str,
    words: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff" * 20)
    save_file({"weight": np.zeros(3)}, tmp_path / "foreign")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SystemExit) as end:
        main(words.split())
    assert says in complaint(Finished(words, end.value.code, *capfd.readouterr()))  # type: ignore[arg-type]
    assert sorted(os.listdir(tmp_path)) == before, "nothing is left behind"


def test_without_a_network_one_line_of_notice(cli: Callable[..., Finished], tmp_path: Path) -> None:
    offline = {"MICROGPT_NAMES": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    offline |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = cli("train", *SMALL[2:], "--steps", "1", **offline)
    assert done.stderr.startswith("the published names cannot be fetched; using the built-in")
    assert done.stdout.startswith("world: ")
    refused = cli("train", *SMALL[2:], "--data", "names", "--steps", "1", check=False, **offline)
    assert "use --data world" in complaint(refused)


def test_sampling_from_a_terminal(cli: Callable[..., Finished], model: str) -> None:
    first = cli("sample", model, "-n", "3", "--prefix", "em")
    seed = first.stderr.removeprefix("--seed ").strip()
    assert len(first.stdout.splitlines()) == 3
    assert all(name.startswith("em") for name in first.stdout.splitlines())
    again = cli("sample", model, "-n", "3", "--prefix", "em", "--seed", seed)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    answer = json.loads(cli("sample", model, "-n", "3", "--prefix", "em", "--json").stdout)
    assert len(answer["documents"]) == 3
    assert cli("sample", model, "-n", "3", "--seed", str(answer["seed"]), "--prefix", "em").stdout
    greedy = cli("sample", model, "-n", "2", "--temperature", "0").stdout.split("\n")
    assert greedy[0] == greedy[1]


def test_chat_and_score_and_info(cli: Callable[..., Finished], model: str) -> None:
    done = cli("chat", model, stdin="em\nÉ\nan\n")
    assert [line[:2] for line in done.stdout.splitlines()] == ["em", "an"]
    assert "not in the model's vocabulary" in done.stderr
    scored = cli("score", model, "emma", "ann").stdout
    assert cli("score", model, stdin="emma\n\nann\n").stdout == scored
    assert "BOS" in scored
    assert scored.count("the whole document: probability") == 2
    shown = cli("info", model).stdout
    assert "4,192" in shown
    assert LETTERS in shown
    assert "layer0.mlp_fc2" in shown
    assert cli("engines").stdout.startswith("scalar") or "scalar" in cli("engines").stdout


def test_help_is_quick_and_knows_the_commands(cli: Callable[..., Finished]) -> None:
    for words in ("", "--help", "--version"):
        said = cli(*words.split(), PYTHONPROFILEIMPORTTIME="1").stderr
        imported = {line.split("|")[-1].strip().split(".")[0] for line in said.splitlines()}
        assert {"click", "microgpt"} <= imported
        assert not imported & {"numpy", "safetensors", "rich", "starlette", "uvicorn"}
    shown = cli("--help").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for subject, group in COMMANDS.items():
        assert f"\n{subject}:\n" in shown
        for name, (_, line) in group.items():
            assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.M), name
            command = commands.get_command(click.Context(commands), name)
            assert command
            assert (command.help or "").split("\n")[0] == line


def test_the_package_gives_what_it_promises() -> None:
    """Its parts are imported when they are asked for."""
    code = "import sys, microgpt; assert 'numpy' not in sys.modules; from microgpt import *; "
    code += "print(Model, Run, Settings, Adam, GPTConfig, load, show, train)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        microgpt.Modell  # type: ignore[attr-defined]  # noqa: B018


def test_output_that_nobody_reads_is_no_error(cli: Callable[..., Finished], tmp_path: Path) -> None:
    program = f"{sys.executable} -m microgpt train --help | head -1"
    done = subprocess.run(program, shell=True, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_ctrl_c_saves_and_says_how_to_go_on(cli: Callable[..., Finished], tmp_path: Path) -> None:
    words = ["train", *SMALL, "--steps", "400", "--seed", "3", "--log", "a.jsonl"]
    whole = cli(*words)
    process = subprocess.Popen(
        [sys.executable, "-m", "microgpt", *words[:-1], "b.jsonl", "--out", "b.safetensors"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert process.stdout
    process.stderr.readline()  # the line of the first tenth
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    *_, notice, command = said.splitlines()
    assert notice.startswith("stopped after step ")
    assert command == "microgpt train --resume b.safetensors --log b.jsonl"
    with open(tmp_path / "b.jsonl", "a") as log:  # as if more had been logged than was saved
        log.write('{"step": 399}\n')
    resumed = cli(*command.split()[1:])
    assert resumed.stdout.splitlines()[2:] == whole.stdout.splitlines()[2:]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert "adam.t" not in Checkpoint.load(tmp_path / "b.safetensors").state


def test_ctrl_c_without_out_saves_all_the_same(
    cli: Callable[..., Finished], tmp_path: Path
) -> None:
    (tmp_path / "interrupted.safetensors").write_text("somebody's")
    process = subprocess.Popen(
        [sys.executable, "-m", "microgpt", "train", *SMALL, "--steps", "5000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    process.stderr.readline()
    process.terminate()
    _, said = process.communicate()
    assert said.splitlines()[-1] == "microgpt train --resume interrupted-2.safetensors"
    assert (tmp_path / "interrupted.safetensors").read_text() == "somebody's"
    assert Checkpoint.load(tmp_path / "interrupted-2.safetensors").state["adam.t"] >= 500
