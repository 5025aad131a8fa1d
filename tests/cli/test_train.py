"""microgpt train: settings, files, what it prints, and how it stops and goes on."""

import json
import os
import re
import signal
import stat
import subprocess
from pathlib import Path

import pytest

import microgpt
from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.cli import main, progress
from tests.cli.conftest import MICROGPT, SMALL, Command, Finished, complaint
from tests.conftest import LETTERS


def test_training_from_a_terminal(cli: Command, tmp_path: Path) -> None:
    words = ["train", *SMALL, "--steps", "30", "--val", "0.02", "--batch", "2", "--seed", "3"]
    done = cli(*words, "--out", "m.safetensors", "--log", "m.jsonl", "--keep-best")
    lines = done.stdout.splitlines()
    assert lines[0] == "world: 18,994 documents, 26 characters; 472 parameters; engine scalar"
    repeat = lines[1].removeprefix("repeat with: microgpt ").split()
    assert lines[-1].endswith("are in the data")
    assert "3.2958  knowing nothing" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("step 30/30 | loss ")
    log = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == list(range(1, 31))
    assert len([line for line in log if "val_loss" in line]) == 10
    assert cli(*repeat).stdout == done.stdout, "the printed command repeats the run"
    names = set(dataset.load("world").documents)
    known = sum(name in names for name in lines[-21:-1])
    assert lines[-1] == f"{20 - known} of these 20 names are new; {known} are in the data"
    best = microgpt.load(tmp_path / "m.best.safetensors")
    assert best.training["best_val_loss"] == min(line.get("val_loss", 9) for line in log)
    assert sorted(os.listdir(tmp_path)) == ["m.best.safetensors", "m.jsonl", "m.safetensors"]


def test_settings_from_a_file(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'data = "world"\nengine = "scalar"\nsteps = 2\nn-embd = 8\nblock_size = 4\n'
    )
    done = cli("train", "--config", "run.toml", "--steps", "3")
    assert "--steps 3 " in done.stdout
    assert "--n-embd 8 --n-head 4 --block-size 4" in done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps = ", "not a TOML file"),
        ("colour = 1", "sets 'colour'"),
        ('steps = "many"', "sets steps to 'many'; it must be a whole number"),
        ("steps = 20.7", "sets steps to 20.7; it must be a whole number"),
        ("steps = true", "sets steps to True; it must be a whole number"),
        ("lr = true", "sets lr to True; it must be a number"),
        ("data = 3", "sets data to 3; it must be a text"),
        ("keep_best = 1", "sets keep_best to 1; it must be true or false"),
        ("[steps]", "sets steps to {}; it must be a whole number"),
    ],
)
def test_a_settings_file_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    text: str,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["train", "--config", "run.toml"])
    done = Finished(text, end.value.code, *capfd.readouterr())  # type: ignore[arg-type]
    assert says in complaint(done)


def test_a_settings_file_as_others_write_it(cli: Command, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    (tmp_path / "few.txt").write_text("emma\nava\n")
    text = 'data = "~/few.txt"\nout = "~/m.safetensors"\nengine = "scalar"\nsteps = 2\nlr = 1\n'
    (tmp_path / "run.toml").write_text(text, "utf-8-sig")  # with a BOM, as Notepad does
    cli("train", "--config=~/run.toml", **home)
    assert Checkpoint.load(tmp_path / "m.safetensors").vocabulary == "aemv"
    twice = cli("train", "--config", "run.toml", "--config", "run.toml", check=False, **home)
    assert "--config is given twice" in complaint(twice)


FILES = """
--data small.txt --out DEVICE        | DEVICE: it is a device or a pipe
--data small.txt --out pipe          | pipe: it is a device or a pipe
--data small.txt --out .             | .: it is a directory
--data small.txt --out missing/m     | missing/m: its folder is missing
--data small.txt --log pipe          | pipe: it is a device or a pipe
--data small.txt --log .             | .: it is a directory
--data small.txt --log missing/l     | missing/l: its folder is missing
--data small.txt --out small.txt     | small.txt is already used
--data small.txt --log small.txt     | small.txt is already used
--data small.txt --out link.txt      | link.txt is already used
--data small.txt --out m --log m     | m is already used
--data small.txt --from f --out f    | f is already used
--data small.txt --from f --log f    | f is already used
--data small.txt --val 0.3 --keep-best --out m.x --log m.best.x | m.best.x is already used
--data small.txt --val 0.3 --keep-best --out small.txt --log l | small.txt is already used
--data names --out NAMES             | is already used
--resume run --log run               | run is already used
--resume run --out small.txt         | small.txt is already used
--resume run --log small.txt         | small.txt is already used
--resume run --out run2              | run2 holds a run that was stopped
--resume run --log text.txt          | text.txt is not the log of a run (line 1)
--data small.txt --out run           | run holds a run that was stopped: --resume run goes on
"""


@pytest.mark.parametrize("case", FILES.strip().splitlines(), ids=lambda case: case.split("|")[0])
def test_no_file_is_written_over(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    case: str,
    checkpoint: Checkpoint,
) -> None:
    """Every file a run would write is looked at before its first step."""
    monkeypatch.chdir(tmp_path)
    small = "".join(f"{name}\n" for name in (*LETTERS, "emma", "ava", "olivia"))
    names = ("small.txt", "text.txt", "names.txt")
    for name in names:
        (tmp_path / name).write_text(small)
    (tmp_path / "link.txt").symlink_to("small.txt")
    os.mkfifo(tmp_path / "pipe")
    checkpoint.save(tmp_path / "f")
    run = microgpt.Run(
        microgpt.Pretraining(dataset.load(str(tmp_path / "small.txt"))),
        microgpt.Settings(steps=100),
        "scalar",
    )
    next(run.advance())
    for name in ("run", "run2"):
        run.checkpoint().save(tmp_path / name)
    published = os.environ.get("MICROGPT_NAMES", "")
    if "NAMES" in case and not published:
        pytest.skip("MICROGPT_NAMES does not name a copy of the published list")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    words, says = case.replace("DEVICE", "/dev/full").replace("NAMES", published).split("|")
    with pytest.raises(SystemExit) as end:
        main(["train", *words.split()])
    done = Finished(words, end.value.code, *capfd.readouterr())  # type: ignore[arg-type]
    assert says.strip() in complaint(done)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_link_is_followed_and_a_mode_kept(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "there").touch(0o640)
    (tmp_path / "link").symlink_to("there")
    cli("train", *SMALL, "--steps", "1", "--out", "link")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o640
    assert Checkpoint.load(tmp_path / "there").config.n_embd == 4


def test_runs_that_share_a_log_tear_no_line(cli: Command, tmp_path: Path) -> None:
    words = [*MICROGPT, "train", *SMALL, "--steps", "300", "--log", "shared.jsonl", "--quiet"]
    runs = [subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [run.wait() for run in runs] == [0, 0, 0, 0]
    lines = (tmp_path / "shared.jsonl").read_text().splitlines()
    assert {*map(frozenset, map(json.loads, lines))} == {frozenset(["step", "loss", "lr"])}


def test_a_log_begins_where_a_run_is_resumed(cli: Command, tmp_path: Path) -> None:
    run = microgpt.Run(microgpt.Pretraining(dataset.load("world")), engine="scalar")
    run.settings = microgpt.Settings(steps=4)
    next(run.advance())
    run.checkpoint().save(tmp_path / "run")
    (tmp_path / "log").write_text('{"step": 1}\n{"step": 2}\n{"step": 3')  # killed as it wrote
    for log in ("log", "new"):
        cli("train", "--resume", "run", "--out", "done", "--log", log)
    logged = [(tmp_path / log).read_text().splitlines() for log in ("log", "new")]
    assert [json.loads(line)["step"] for line in logged[0]] == [1, 2, 3, 4]
    assert logged[1] == logged[0][1:]


def test_a_run_whose_data_moved(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "here.txt").write_text("emma\nava\n")
    run = microgpt.Run(microgpt.Pretraining(dataset.load(str(tmp_path / "here.txt"))))
    next(run.advance())
    run.checkpoint().save(tmp_path / "run")
    (tmp_path / "here.txt").rename(tmp_path / "there.txt")
    said = complaint(cli("train", "--resume", "run", check=False))
    assert "say where it is now: --data FILE" in said
    cli("train", "--resume", "run", "--data", "there.txt")


def test_quiet_prints_the_names_alone(cli: Command) -> None:
    words = ["train", *SMALL, "--steps", "3"]
    quiet = cli(*words, "--quiet")
    assert quiet.stderr == ""
    assert quiet.stdout.splitlines() == cli(*words).stdout.splitlines()[-21:-1]


def test_from_a_model(cli: Command, tmp_path: Path, model: str) -> None:
    words = ["train", "--from", model, "--data", "world", "--engine", "scalar", "--steps", "2"]
    done = cli(*words, "--out", "next.safetensors")
    assert "4,192 parameters" in done.stdout
    repeat = done.stdout.splitlines()[1].removeprefix("repeat with: microgpt ")
    assert repeat.startswith(f"train --from {model} --data world --engine scalar --steps 2 ")
    assert cli(*repeat.split()).stdout == done.stdout
    first, then = (Checkpoint.load(tmp_path / name) for name in (model, "next.safetensors"))
    assert (first.vocabulary, first.config) == (then.vocabulary, then.config)
    assert 0 < abs(first.state["wte"] - then.state["wte"]).max() < 0.05, "two steps away"
    assert "--n-embd is 16 there; --from cannot change it" in complaint(
        cli(*words, "--n-embd", "8", check=False)
    )
    resumed = complaint(cli("train", "--resume", model, check=False))
    assert f"nothing to resume; --from {model} trains it further" in resumed
    both = cli("train", "--from", model, "--resume", model, check=False)
    assert "give one of them" in complaint(both)


def test_a_run_can_be_lengthened(cli: Command, tmp_path: Path) -> None:
    run = microgpt.Run(
        microgpt.Pretraining(dataset.load("world")), microgpt.Settings(steps=3), "scalar"
    )
    next(run.advance())
    run.checkpoint().save(tmp_path / "run")
    refused = complaint(cli("train", "--resume", "run", "--lr", "0.5", check=False))
    assert "--lr is 0.01 there; --resume cannot change it" in refused
    cli("train", "--resume", "run", "--steps", "5", "--lr", "0.01", "--log", "log")
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 3, 4, 5]
    assert log[0]["lr"] == pytest.approx(0.01 * 4 / 5), "the rate follows the new plan"


def test_the_same_command_goes_on(cli: Command, tmp_path: Path) -> None:
    run = microgpt.Run(
        microgpt.Pretraining(dataset.load("world")), microgpt.Settings(steps=20), "scalar"
    )
    next(run.advance())
    run.checkpoint().save(tmp_path / "run")
    words = ["train", "--data", "world", "--engine", "scalar", "--steps", "20"]
    for other in (["--seed", "3"], ["--beta1", "0.9"]):
        refused = complaint(cli(*words, *other, "--out", "run", check=False))
        assert "run holds a run that was stopped" in refused
    first, second, *rest = cli(*words, "--out", "run").stdout.splitlines()
    assert first.startswith("world: 18,994 documents")
    assert second == "going on after step 1 of 20"
    assert rest[0].startswith("loss (nats/token) over the last 19 steps")
    whole = cli(*words).stdout.splitlines()
    assert rest[-21:] == whole[-21:]
    assert "adam.t" not in Checkpoint.load(tmp_path / "run").state
    assert cli(*words, "--out", "run").stdout.splitlines() == whole, "a finished run begins again"


def test_a_run_can_end_where_it_stopped(cli: Command, tmp_path: Path) -> None:
    run = microgpt.Run(
        microgpt.Pretraining(dataset.load("world")), microgpt.Settings(steps=20), "scalar"
    )
    next(run.advance())
    run.checkpoint().save(tmp_path / "run")
    done = cli("train", "--resume", "run", "--steps", "1")
    assert "going on after step 1 of 1\n" in done.stdout
    assert done.stdout.endswith("are in the data\n")
    assert "adam.t" not in Checkpoint.load(tmp_path / "run").state


def test_settings_of_the_optimizer(cli: Command, tmp_path: Path) -> None:
    words = ["--warmup", "2", "--beta1", "0.8", "--beta2", "0.9", "--weight-decay", "0.1"]
    done = cli("train", *SMALL, "--steps", "4", *words, "--dtype", "float64", "--engine", "native")
    repeat = done.stdout.splitlines()[1].removeprefix("repeat with: microgpt ").split()
    assert {*words, "float64"} <= {*repeat}
    assert cli(*repeat, "--out", "m").stdout == done.stdout
    settings = Checkpoint.load(tmp_path / "m").training["settings"]
    assert settings["warmup"] == 2
    assert settings["optimizer"] == {
        "beta1": 0.8,
        "beta2": 0.9,
        "eps": 1e-8,
        "weight_decay": 0.1,
    }


def test_patience(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("".join(f"{a}{b}\n" for a in LETTERS for b in "aeiou"))
    words = ["train", "--data", "few.txt", "--steps", "3000", "--lr", "0.02", "--patience", "1"]
    done = cli(*words, "--val", "0.2")
    assert re.search(r"stopped after step \d+00: patience; the best was \d\.\d{4}\n", done.stderr)
    assert "patience needs documents held out" in complaint(cli(*words, check=False))


def test_what_is_not_as_expected_is_said(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "dna.txt").write_text("ACGT" * 9 + "\nACGT\x0bACGT\n")
    done = cli("train", "--data", "dna.txt", "--steps", "1")
    assert (
        "1 of 2 documents are longer than 16 characters; their ends are not read: "
        "give --block-size 36\n" in done.stderr
    )
    assert "U+000B" in done.stderr
    assert "longer" not in cli("train", "--data", "dna.txt", "--steps", "1", "-q").stderr


def test_a_name_is_new_unless_the_model_read_it(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("abcdefghij" * 4 + "\n")
    words = ["--data", "long.txt", "--steps", "300", "--lr", "0.03"]
    assert cli("train", *words).stdout.endswith("0 of these 20 names are new; 20 are in the data\n")


@pytest.mark.parametrize("held_out", [False, True])
def test_the_step_is_the_last_thing_to_go(held_out: bool) -> None:
    def line(width: int, step: int, val: float | None) -> str:
        numbers = {"loss": 2.5} | ({"val": val} if held_out else {})
        speed = progress.Speed(step, 1e6 * step)
        return progress.fit(progress.line_parts(step, 1000, numbers, speed), width)

    words = ["loss", *(["val"] if held_out else []), "left", "tokens/s", "steps/s"]
    for width in range(80):
        early, late = line(width, 0, None), line(width, 999, 2.4567)
        assert len(late) <= max(width, len("step 1000/1000"))
        assert late.startswith("step  999/1000")
        places = [late.find(word) for word in words]
        assert [early.find(word) for word in words] == places, "nothing jumps"
        shown = [place > 0 for place in places]
        assert shown == sorted(shown, reverse=True), "the least important go first"
    assert ("val" in line(40, 0, None)) is held_out
    assert "loss" in line(40, 0, None)
    assert "steps/s" in line(80, 0, None)


def test_lines_now_and_then_say_how_fast_it_is(cli: Command) -> None:
    said = cli("train", *SMALL, "--steps", "10").stderr
    speeds = re.findall(r"\| ([\d,]+) steps/s \| ([\d,]+) tokens/s \| \d+ s left$", said, re.M)
    assert len(speeds) == 10
    for steps, tokens in ((int(word.replace(",", "")) for word in pair) for pair in speeds):
        assert 2 * steps <= tokens <= 17 * steps, "a name of one letter, and a full block"


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_progress_in_a_narrow_terminal(tmp_path: Path) -> None:
    import pty

    (tmp_path / "few.txt").write_text("".join(f"{a}{b}\n" for a in LETTERS for b in "aeiou"))
    ours, theirs = pty.openpty()
    words = [*MICROGPT, "train", "--data", "few.txt", "--steps", "200", "--val", "0.1"]
    environ = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    shown = [line for line in re.split(r"[\r\n]+", plain) if line.strip()]
    assert shown
    for line in shown:
        assert re.fullmatch(r"step +\d+/200  loss +[-\d.]+  val +[-\d.]+ *", line), line
        assert len(line) <= 40
    assert shown[-1].startswith("step 200/200")


def test_without_a_network_one_line_of_notice(cli: Command, tmp_path: Path) -> None:
    offline = {"MICROGPT_NAMES": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    offline |= {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = cli("train", *SMALL[2:], "--steps", "1", **offline)
    assert done.stderr.startswith("the published names cannot be fetched; using the built-in")
    assert done.stdout.startswith("world: ")
    refused = cli("train", *SMALL[2:], "--data", "names", "--steps", "1", check=False, **offline)
    assert "use --data world" in complaint(refused)


def test_ctrl_c_saves_and_says_how_to_go_on(cli: Command, tmp_path: Path) -> None:
    words = ["train", *SMALL, "--steps", "400", "--seed", "3", "--log", "a.jsonl"]
    whole = cli(*words)
    process = subprocess.Popen(
        [*MICROGPT, *words[:-1], "b.jsonl", "--out", "b.safetensors"],
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


def test_ctrl_c_without_out_saves_all_the_same(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "interrupted.safetensors").write_text("somebody's")
    process = subprocess.Popen(
        [*MICROGPT, "train", *SMALL, "--steps", "5000"],
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


def test_a_model_of_byte_pairs_does_what_others_do(cli: Command) -> None:
    pytest.importorskip("tokenizers")
    words = "train --data world --tokenizer bpe:300 --steps 300 --batch 4 --val 0.1 -o m"
    done = cli(*words.split())
    first, again, *_ = done.stdout.splitlines()
    assert first.startswith("world: 18,994 documents, 299 tokens; 12,")
    assert "--tokenizer bpe:300" in again
    assert re.search(r"^  [3-4]\.\d{4}  counting pairs of tokens$", done.stdout, re.M)
    assert re.search(r"^  2\.\d{4}  this model, for each character$", done.stdout, re.M)
    assert "vocabulary        299 tokens of bpe:300 and BOS" in cli("info", "m").stdout
    shown = cli("score", "m", "anna").stdout
    assert re.search(r"^  \|an\| +\d", shown, re.M)
    assert "BOS" in shown
    other = cli("train", "--data", "world", "--from", "m", "--tokenizer", "bpe:301", check=False)
    assert "--tokenizer is bpe:300 there; --from cannot change it" in complaint(other)


def test_running_text(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one\\ntwo three"}\n' * 60)
    (tmp_path / "bad.json").write_text('"one"\n{"body": "two"}\n')
    words = ["train", "--data", "*.jsonl", "--val", "0.1", "--steps", "40", "--n-embd", "4"]
    for way in ("--windows", "--stream"):
        done = cli(*words, way, "-o", way.strip("-"))
        first, again, *_ = done.stdout.splitlines()
        assert first.startswith("*.jsonl: 780 characters of running text, 9 characters; ")
        assert again.endswith(f"--n-embd 4 --n-head 4 --block-size 16 --val 0.1 {way}")
        assert re.search(r"^loss on \d+ held-out windows", done.stdout, re.M)
        assert "in the data" not in done.stdout
    text = cli("sample", "windows", "--seed", "1", "--temperature", "2").stdout
    assert "\\u000a" not in text, "its lines are lines"
    (tmp_path / "bad.json").rename(tmp_path / "bad.jsonl")
    for refused, says in (
        ("train --data a.jsonl --windows --stream", "give one"),
        ("train --windows --data bad.jsonl -o bad", "bad.jsonl, line 2: "),
    ):
        assert says in complaint(cli(*refused.split(), check=False))
    assert not (tmp_path / "bad").exists()
