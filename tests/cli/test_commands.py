"""The command as a person meets it: what it prints, and one line for every mistake."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from safetensors.numpy import save_file

import microgpt
from microgpt.cli import main
from microgpt.cli.commands import COMMANDS, group
from tests.cli.conftest import Command, Finished, complaint


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
        ("train --data world --out missing/x", "missing/x: its folder is missing"),
        ("train --data world --log missing/x", "missing/x: its folder is missing"),
        ("train --data missing", "missing: No such file"),
        ("train --data .", ". leads to no file; give a file, a pattern, or a folder"),
        ("train --data empty", "empty holds no documents"),
        ("train --data bytes", "bytes is not UTF-8 text (byte 0)"),
        ("train --resume model.safetensors", "nothing to resume"),
        ("train --resume model.safetensors --steps 5", "nothing to resume"),
        (
            "train --data world --engine scalar --dtype float32",
            "the engine scalar has no option 'dtype'",
        ),
        ("train --data world --dtype float16", "float16"),
        ("train --data world --patience 3", "patience needs documents held out"),
        ("train --data world --patience 0 --val 0.1", "patience is 0"),
        ("train --data world --beta1 1", "beta1 is 1.0"),
        ("train --data world --warmup -1", "warmup is -1"),
        ("train --data world --weight-decay -1", "weight_decay is -1.0"),
        ("xray emma --with bogus", "'bogus' is not one of source, params"),
        ("xray emma --with params", "add -o FILE"),
        ("xray emma model.safetensors -o model.safetensors", "already used"),
        ("rom model.safetensors -o model.safetensors", "already used"),
        ("chat model.safetensors -n -1", "-1 is not in the range x>=0"),
        ("train --resume bytes", "is not a model"),
        ("sample missing", "missing: No such file"),
        ("sample .", "config.json: No such file"),
        ("sample bytes", "bytes is not a model that microgpt can use"),
        ("sample /dev/null", "/dev/null is not a model that microgpt can use"),
        ("sample foreign", "its format is None"),
        ("sample model.safetensors --temperature -1", "temperature is -1.0"),
        ("sample model.safetensors --temperature nan", "temperature is nan"),
        ("sample model.safetensors --temperature inf", "temperature is inf"),
        ("sample model.safetensors --top-k 0", "top-k is 0"),
        ("sample model.safetensors --top-p 1.5", "top-p is 1.5"),
        ("sample model.safetensors -n -1", "-1 is not in the range x>=0"),
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


def test_the_lab_does_not_open_on_nothing(cli: Command) -> None:
    done = cli("lab", "nofile", "--no-browser", "--port", "0", check=False)
    assert complaint(done).startswith("microgpt: nofile: No such file")


def test_a_shell_completes_commands_options_and_engines(cli: Command) -> None:
    for typed, offered in (("sa", "plain,sample"), ("train --pat", "plain,--patience")):
        words = {"COMP_WORDS": f"microgpt {typed}", "COMP_CWORD": str(len(typed.split()))}
        done = cli(_MICROGPT_COMPLETE="bash_complete", **words)
        assert (done.stdout.splitlines(), done.stderr) == ([offered], "")
    words = {"COMP_WORDS": "microgpt train --engine sca", "COMP_CWORD": "3"}
    assert cli(_MICROGPT_COMPLETE="bash_complete", **words).stdout == "plain,scalar\n"


def test_help_is_quick_and_knows_the_commands(cli: Command) -> None:
    for words in ("", "--help", "--version"):
        said = cli(*words.split(), PYTHONPROFILEIMPORTTIME="1").stderr
        imported = {line.split("|")[-1].strip().split(".")[0] for line in said.splitlines()}
        assert {"click", "microgpt"} <= imported
        assert not imported & {"numpy", "safetensors", "rich", "starlette", "uvicorn"}
    shown = cli("--help").stdout
    assert max(map(len, shown.splitlines())) <= 80
    for subject, commands in COMMANDS.items():
        assert f"\n{subject}:\n" in shown
        for name, (_, line) in commands.items():
            assert re.search(rf"^  {name} +{re.escape(line)}$", shown, re.M), name
            command = group.get_command(click.Context(group), name)
            assert command
            assert (command.help or "").split("\n")[0] == line


def test_the_package_gives_what_it_promises() -> None:
    """Its parts are imported when they are asked for."""
    code = "import sys, microgpt; assert 'numpy' not in sys.modules; from microgpt import *; "
    code += "print(Model, Run, Settings, Adam, GPTConfig, load, show, train)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        microgpt.Modell  # type: ignore[attr-defined]  # noqa: B018
