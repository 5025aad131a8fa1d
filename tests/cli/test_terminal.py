"""The command in its terminal: any character, any line end, readers that leave, Ctrl-C."""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import microgpt
from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.cli import main
from tests.cli.conftest import MICROGPT, SMALL, Command, complaint

ESCAPES = ["\x1b[31mred", "\x9b5n", "bell\x07", "a\x7fb", "\u202egnihsif", "tab\there"]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")  # what no output may hold


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """Save a model that has learned control characters; return its path."""
    (tmp_path / "data.txt").write_text("\n".join(ESCAPES))
    data = dataset.load(str(tmp_path / "data.txt"))
    run = microgpt.Run(microgpt.Pretraining(data), microgpt.Settings(steps=3), "scalar")
    for _ in run.advance():
        pass
    run.model().save(tmp_path / "hostile")
    return "hostile"


@pytest.mark.parametrize(
    "words",
    [
        "sample hostile -n 40 --temperature 2",
        "sample hostile -n 40 --temperature 2 --json",
        "score hostile",
        "score hostile --json",
        "score hostile ESC",
        "chat hostile",
        "info hostile",
        "xray ESC hostile",
        "xray \u202egn hostile -o trace.json",
        "train --data data.txt --steps 3 --engine scalar",
        "train --data ESC",
        "train --engine ESC",
        "train --ESC",
        "sample ESC",
        "ESC",
    ],
)
def test_a_terminal_obeys_no_data(cli: Command, hostile: str, words: str) -> None:
    done = cli(
        *(word.replace("ESC", "\x1b[31mred") for word in words.split()),
        stdin="\n".join([*ESCAPES, "\x1b]0;title\x07"]),
        check=False,
    )
    assert done.stdout + done.stderr
    assert not OBEYED.search(done.stdout + done.stderr), done
    if "--json" in words:
        shown = json.loads(done.stdout)["documents"]
        texts = [each if isinstance(each, str) else each["text"] for each in shown]
        assert any("\x1b" in text for text in texts), "JSON has escapes of its own"


def test_only_terminal_py_writes() -> None:
    for module in Path(main.__code__.co_filename).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "click.echo"):
                assert module.stem == "terminal", ast.unparse(node)


@pytest.mark.parametrize(
    "line",
    [
        "microgpt train --help | head -1",
        "microgpt sample model.safetensors -n 30000 --seed 1 | head -1",
        "microgpt sample model.safetensors -n 30000 --json | head -c 1",
        "yes emma | head -3000 | microgpt score model.safetensors | head -1",
        "yes em | head -3000 | microgpt chat model.safetensors | head -1",
        "microgpt info model.safetensors | true",
        "microgpt xray emma model.safetensors | head -1",
        "microgpt train --data world --steps 100 2>&1 >/dev/null | head -1",
        "microgpt train --data world --steps 100 | true",
    ],
)
def test_a_reader_may_leave(shell: Command, model: str, line: str) -> None:
    done = shell(line.replace("yes em", "(yes em").replace("-3000 |", "-3000 || true) |"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_whose_reader_left_is_saved(shell: Command, tmp_path: Path) -> None:
    words = "--data world --engine scalar --n-embd 4 --steps 1000 --out m"
    assert shell(f"microgpt train {words} 2>&1 >/dev/null | true").returncode == 0
    assert 100 <= Checkpoint.load(tmp_path / "m").state["adam.t"] < 1000


@pytest.mark.parametrize(
    "words",
    [
        "sample model.safetensors -n 2 --seed 1",
        "info model.safetensors",
        "score model.safetensors a",
        "sample model.safetensors -n 9000 --seed 1",
        "",
        "--help",
        "train --help",
        "--version",
    ],
)
def test_a_full_disk_is_said(shell: Command, model: str, words: str) -> None:
    said = complaint(shell(f"microgpt {words} > /dev/full"))
    assert "No space left on device" in said
    assert said.startswith("microgpt: standard output: ")


def test_a_full_disk_names_the_log(shell: Command, tmp_path: Path) -> None:
    words = "--data world --engine scalar --steps 90 --log log"
    done = shell(f"ulimit -f 1; microgpt train {words} --quiet")  # files of at most 1,024 bytes
    assert complaint(done).startswith("microgpt: log: ")


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "words",
    ["sample model.safetensors --seed 1", "chat model.safetensors", "info model.safetensors", "-h"],
)
def test_closed_streams(shell: Command, model: str, words: str, closed: str) -> None:
    done = shell(f"microgpt {words} {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed.split() and not words.startswith("chat"))


def test_a_closed_stream_takes_any_text(shell: Command) -> None:
    """The name of a file may hold bytes that are not characters."""
    done = shell("microgpt train --data $'\\xff' 2>&-")
    assert (done.returncode, done.stdout) == (2, "")


def test_letters_that_the_terminal_lacks(shell: Command, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("åsa\nåke\n", "utf-8")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    words = "--data data.txt --engine scalar --steps 20 --lr 0.1 --out m"
    done = shell(f"microgpt train {words}", **ascii_only)
    assert done.returncode == 0
    assert done.stdout.count("\\xe5") > 3
    assert "\\xe5" in shell("microgpt info m", **ascii_only).stdout


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_ends_a_line(cli: Command, model: str, end: str) -> None:
    def lines(*words: str) -> str:
        return cli(*words, stdin=f"\ufeffov{end}em{end}").stdout

    assert lines("score", model) == cli("score", model, "ov", "em").stdout
    said = cli("chat", model, stdin=f"ov{end}em{end}")
    assert said.stderr == ""
    assert [line[:2] for line in said.stdout.splitlines()] == ["ov", "em"]
    trained = cli("train", "--data", "-", *SMALL[2:], "--steps", "1", stdin=f"ov{end}em{end}")
    assert trained.stdout.startswith("-: 2 documents, 4 characters")


@pytest.mark.parametrize(
    "room", ["click", "microgpt.cli.train", "numpy", "numpy._core.multiarray", "rich.progress"]
)
def test_ctrl_c_while_rooms_are_imported(tmp_path: Path, room: str) -> None:
    """It comes where Python prints an exception and goes on, as in the middle of an import."""
    code = f"""if True:
        import os, signal, sys
        class Last:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
        class Interrupt:
            def find_spec(self, name, path=None, target=None):
                if name == "{room}":
                    Last()
        sys.meta_path.insert(0, Interrupt())
        from microgpt.cli import main
        main(["train", "--data", "world", "--steps", "3"])
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_ctrl_c_at_work_is_silent(tmp_path: Path, model: str) -> None:
    chat = subprocess.Popen(
        [*MICROGPT, "chat", model],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert chat.stdin
    assert chat.stdout
    chat.stdin.write(b"ov\n")
    chat.stdin.flush()
    assert chat.stdout.readline().startswith(b"ov")
    chat.send_signal(signal.SIGINT)
    _, said = chat.communicate()
    assert (chat.returncode, said) == (130, b"")


def test_ctrl_c_when_nobody_reads_any_more(tmp_path: Path, model: str) -> None:
    """Ctrl-C ends the reader of a pipe, too; what waits for it in a buffer is dropped."""
    code = f"""if True:
        import os, signal
        from microgpt.cli import terminal, main
        def say(line, flush=False):
            print(line)
            os.kill(os.getpid(), signal.SIGINT)
        terminal.say = say
        main(["sample", "{model}", "--seed", "1"])
    """
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (130, b"")


def test_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = []

    def run() -> None:
        try:
            main(["train", *SMALL, "--steps", "3", "--out", "m"])
        except SystemExit as end:
            ended.append(end.code)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended == [0]
    assert os.path.exists("m")
    assert capfd.readouterr().out.startswith("world: ")
