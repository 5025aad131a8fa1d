"""microgpt tune, prefer and eval: what they say, refuse, write, and how they go on."""

import io
import json
import os
import re
import signal
import subprocess
from itertools import islice
from pathlib import Path
from threading import Timer

import pytest

import microgpt
from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.cli import main
from microgpt.cli.tune import _pairs
from tests.cli.conftest import MICROGPT, Command, Finished, complaint


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of a few names, and what to tune it by."""
    folder = tmp_path_factory.mktemp("trained")
    names = dataset.load("world").documents[::40]
    (folder / "names.txt").write_text("\n".join(names))
    (folder / "right").write_text("".join(f"{a}>\t{i}\n" for i, a in enumerate("abcdefgh")))
    (folder / "pairs").write_text("".join(f"{a}\t{a}{a}\n" for a in "abcdefgh"))
    (folder / "nine").write_text("abcdefghi\n" * 3)
    (folder / "bad.py").write_text(
        "def f(documents):\n    return [float('nan')] * len(documents)\n"
    )
    (folder / "rules.toml").write_text("[[rule]]\nname = 'short'\nmust = '^.{1,4}$'\n")
    run = microgpt.train(str(folder / "names.txt"), steps=300, batch=8, val=0.1, n_embd=8, lr=0.02)
    run.feed.dataset.__dict__["name"] = "names.txt"
    run.model().save(folder / "base")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of one's own with the same files, and be in it."""
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tuning_by_a_reward(cli: Command, folder: Path) -> None:
    words = ["tune", "base", "--reward", "vowel", "--steps", "40", "--batch", "64", "-o", "tuned"]
    done = cli(*words, "--log", "log")
    assert done.stdout.startswith(
        "base learns from what it writes itself, rewarded by vowel, beta 0.05\n"
        "40 steps of 64, lr 0.003, seed 42; "
    )
    before, after = map(
        float, re.findall(r"reward vowel +([\d.]+) \[.*?\] +([\d.]+) ", done.stdout)[0]
    )
    assert after > before + 0.2
    assert re.search(r"KL \(nats/document\) +- +\d\.\d\d \+- 0\.\d\d\n", done.stdout)
    assert "loss on names.txt, held out" in done.stdout
    written = done.stdout.splitlines()[-8:]
    models = [microgpt.load("base"), microgpt.load("tuned")]
    for i, line in enumerate(written):
        was, now = (model.sample(1, 1.0, seed=i)[0] for model in models)
        assert line == f"  {was:18}{now}", "with the same draws"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.search(r"step 40/40 \| reward \d\.\d{4} kl \d\.\d{4} distinct ", done.stderr)
    log = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 41))
    assert log[-1]["reward"] > log[0]["reward"]
    tuned = Checkpoint.load("tuned")
    assert "adam.t" not in tuned.state
    assert tuned.training["settings"]["optimizer"]["beta1"] == 0.9
    measured = cli("eval", "tuned", "-n", "100", "--json")
    models = json.loads(measured.stdout)["models"]
    assert list(models) == ["base", "tuned"]
    assert models["tuned"]["kl"] > 0
    shown = cli("eval", "tuned", "--against", "base", "-n", "100").stdout
    assert "reward vowel" in shown
    assert cli("eval", "base", "-n", "100").stdout.splitlines()[0].split() == ["base"]
    quiet = cli("tune", "base", "--reward", "vowel", "--steps", "1", "-q")
    assert len(quiet.stdout.splitlines()) == 8
    assert quiet.stderr == ""
    new = cli("sample", "tuned", "--new", "-n", "5").stdout.splitlines()
    assert not {*new} & {*Path("names.txt").read_text().split()}, "it knows what its base learned"


def test_tuning_on_examples_with_new_characters(cli: Command, folder: Path) -> None:
    words = ["tune", "base", "--data", "right", "--replay", "0.25", "--lr", "0.02", "-o", "t"]
    done = cli(*words)
    assert done.stderr.startswith(
        "the model does not know '0', '1', '2', '3', '4', '5', '6', '7', '>': "
        "wte and lm_head get 9 new rows each; the others are as they were\n"
    )
    assert "\nmeasured by 8 prompts that it also learns from\n" in done.stdout
    assert re.search(r"of the likeliest answers +0.0% +100.0%", done.stdout)
    grown = Checkpoint.load("t")
    assert grown.characters.endswith("01234567>")
    assert grown.training["feed"]["old_val"] == 0.1, "what the base held out is not replayed"
    assert cli("eval", "t").stdout.splitlines()[0].split() == ["base", "t"]
    held = cli("tune", "base", "--data", "right", "--val", "0.2", "--steps", "1").stdout
    assert "\nmeasured by 1 prompt that it does not learn from\n" in held


def test_tuning_to_a_taste(cli: Command, folder: Path) -> None:
    done = cli("tune", "base", "--prefer", "pairs", "--steps", "30", "-o", "tuned")
    assert "base learns from the choices in pairs, beta 0.5" in done.stdout
    assert re.search(r"step 30/30 \| won 1\.0000 chosen ", done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_choosing_between_two_names(folder: Path) -> None:
    import pty
    import termios

    (folder / "choices").write_text("emma\tada\n")
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    words = [*MICROGPT, "prefer", "base", "-o", "choices", "--seed", "1"]
    process = subprocess.Popen(words, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    watch = Timer(60, process.kill)  # a key that is not understood would be waited for for ever
    watch.start()
    assert b"left or right" in process.stderr.readline()
    assert b"some 25 choices" in process.stderr.readline()
    shown = []
    for key in (b"\x1b[D", b" ", b"x", b"\x1bOC", b"\x1bOD", b"\x1b[C", b"q"):
        if key not in (b"x",):
            shown.append(process.stdout.readline().decode().split()[1:])
            lines = (folder / "choices").read_text().splitlines()
            assert len(lines) == (1, 2, 2, 3, 4, 5)[len(shown) - 1], (
                "each choice is written at once"
            )
        os.write(ours, key)
    said = process.stderr.read().decode()
    assert process.wait() == 0
    watch.cancel()
    assert termios.tcgetattr(theirs) == before, "the terminal is as it was"
    lines = (folder / "choices").read_text().splitlines()
    liked = [shown[0], shown[2][::-1], shown[3], shown[4][::-1]]
    assert lines == ["emma\tada", *map("\t".join, liked)]
    assert "4 choices added to choices" in said
    assert "microgpt tune base --prefer choices -o mine.safetensors" in said
    os.close(ours)
    os.close(theirs)
    process.stdout.close()
    process.stderr.close()


def test_names_to_choose_between_differ() -> None:
    model = microgpt.train(["a", "b"], steps=50).model()
    pairs = [*islice(_pairs(model, 1), 30)]
    assert all(first and second and first != second for first, second in pairs)


def test_ctrl_c_keeps_a_run_and_resume_goes_on(cli: Command, folder: Path) -> None:
    words = ["tune", "base", "--reward", "rules.toml", "--steps", "300", "--batch", "16"]
    cli(*words, "-q", "-o", "whole", "--log", "whole.log")
    process = subprocess.Popen(
        [*MICROGPT, *words, "-o", "run", "--log", "run.log"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    assert process.stderr.readline().startswith("step 30/300 | reward")
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 130
    process.stderr.close()
    assert said.endswith("and saved; to go on:\nmicrogpt tune --resume run --log run.log\n")
    assert "run was tuned: microgpt tune --resume run goes on with it" in complaint(
        cli("train", "--resume", "run", check=False)
    )
    cli("tune", "--resume", "run", "--log", "run.log", "-q")
    ends = [Checkpoint.load(name).state for name in ("whole", "run")]
    assert all((ends[0][name] == ends[1][name]).all() for name in ends[0])
    assert (folder / "run.log").read_text() == (folder / "whole.log").read_text()


def test_a_reward_that_fails_keeps_the_run(cli: Command, folder: Path) -> None:
    done = cli("tune", "base", "--reward", "bad.py:f", "-o", "run", check=False)
    assert done.returncode == 2
    assert re.search(r"microgpt: bad.py:f gives nan, .* on '\w+'\n$", done.stderr)
    (folder / "bad.py").write_text("def f(documents):\n    return [len(d) for d in documents]\n")
    cli("tune", "--resume", "run", "-q", "-o", "done")
    assert Checkpoint.load("done").training["step"] == 200


REFUSED = """
                                       | name a MODEL, and one of --data FILE, --reward NAME and
base                                   | name a MODEL, and one of --data FILE, --reward NAME and
--reward vowel                         | name a MODEL, and one of
base --reward vowel --data names.txt   | and one of --data FILE, --reward NAME and --prefer PAIRS
base --reward vowels                   | there is no reward 'vowels'; there are vowel
base --reward vowel --replay 0.5       | --replay belongs to --data
base --data right --prompts right      | --prompts belongs to --reward
base --data right --beta 1             | --beta belongs to --reward and --prefer
base --prefer pairs --val 0.1          | --val belongs to --data and --reward
base --prefer names.txt                | is not a pair; give chosen<TAB>rejected
base --reward vowel --beta -1          | beta is -1.0; it must be 0 or more, and finite
base --reward vowel --beta nan         | beta is nan; it must be 0 or more
base --reward vowel --batch 1          | batch is 1; it must be a whole number, 2 or more
base --reward vowel --engine fixed     | the engine fixed runs models but cannot train
base --reward missing.toml             | missing.toml: No such file
base --reward missing.py:f             | missing.py: No such file
base --reward like:missing             | missing: No such file
base --reward answers:right            | '>' in 'a>' is not in the model's vocabulary
base --data right --replay 1           | replay is 1.0; it must be at least 0 and less than 1
base --reward vowel -o base            | base is already used by this command
base --reward bad.py:f -o bad.py       | bad.py is already used by this command
base --reward rules.toml -o rules.toml | rules.toml is already used by this command
base --prefer pairs -o pairs           | pairs is already used by this command
base --prefer pairs -o missing/x       | missing/x: its folder is missing
base --data right --log right          | right is already used by this command
missing --reward vowel                 | missing: No such file
names.txt --reward vowel               | names.txt is not a model that microgpt can use
--resume base                          | base is not a run of microgpt tune that was stopped
"""


@pytest.mark.parametrize("case", REFUSED.strip("\n").splitlines(), ids=lambda c: c.split("|")[0])
def test_what_tune_refuses(folder: Path, capfd: pytest.CaptureFixture[str], case: str) -> None:
    words, _, says = case.partition("|")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit) as end:
        main(["tune", *words.split()])
    done = Finished(words, end.value.code, *capfd.readouterr())  # type: ignore[arg-type]
    assert says.strip() in complaint(done)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("prefer base", "name the file for the choices: -o PAIRS"),
        ("prefer base -o base", "base is already used by this command"),
        ("prefer base -o names.txt", "is not a pair; give chosen<TAB>rejected"),
        ("prefer base -o new", "it needs a terminal, to read the arrows"),
        ("eval names.txt", "is not a model that microgpt can use"),
        ("eval base --engine fixed", "the engine fixed cannot train"),
        ("eval base --against missing", "missing: No such file"),
    ],
)
def test_what_prefer_and_eval_refuse(
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    says: str,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit) as end:
        main(words.split())
    done = Finished(words, end.value.code, *capfd.readouterr())  # type: ignore[arg-type]
    assert says in complaint(done)
    assert not (folder / "new").exists()
