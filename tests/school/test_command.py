"""microgpt school, as a learner meets it: from the first stub to names of their own."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt import dataset
from microgpt.school.course import lessons
from microgpt.school.folder import Folder
from microgpt.school.source import Text
from tests.cli.conftest import MICROGPT, Command, complaint
from tests.school.conftest import solve

WRONG = "[*map(alphabet.index, doc), len(alphabet)]"
RIGHT = f"[len(alphabet), {WRONG[1:]}"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "school")


def write(folder: Folder, answer: str) -> None:
    """Write lesson 1 with this answer of encode()."""
    source = solve("", 1)
    (body,) = re.findall(r"def encode\(.*\): (return .*)", source)
    folder.path.mkdir(exist_ok=True)
    folder.write(source.replace(body, f"return {answer}"))


def test_it_begins_with_a_question_and_says_what_to_do(cli: Command, folder: Folder) -> None:
    shown = cli("school", "start", "1").stdout
    assert lessons()[0].question in " ".join(shown.split())
    assert lessons()[0].answer not in " ".join(shown.split())
    line = Text(folder.source).nodes["encode"].lineno
    assert f"write encode: {Path('school', 'mygpt.py')}, line {line}" in shown
    assert (folder.path / "01-tokens.md").exists()
    before = folder.source
    assert "is there already" in cli("school", "start", "1").stdout
    assert folder.source == before


def test_a_lesson_from_stub_to_pass(cli: Command, folder: Folder) -> None:
    cli("school", "start", "1")
    stub = cli("school", "check", check=False)
    assert (stub.returncode, "To write: encode" in stub.stdout) == (1, True)
    later = cli("school", "check", "2", check=False)
    assert (later.returncode, "microgpt school start 2" in later.stdout) == (1, True)
    write(folder, WRONG)
    wrong = cli("school", "check", check=False)
    assert wrong.returncode == 1
    assert re.match(r"1 tokens  not yet  \d+ of \d+\n", wrong.stdout)
    assert "your answer: [2]\n    expected:    [2, 2]" in wrong.stdout
    assert "T1: " in wrong.stdout
    assert "has not passed" in complaint(cli("school", "diff", "1", check=False))
    write(folder, RIGHT)
    right = cli("school", "check").stdout
    assert re.match(r"1 tokens  passed  (\d+) of \1  \d", right)
    assert "next: microgpt school start 2" in right
    assert "passed, and unchanged since: 1" in cli("school", "check").stdout
    assert "decode is the same as in gpt.py" in cli("school", "diff", "1").stdout
    assert (folder.history / "01.py").read_text("utf-8") == folder.source


def test_what_a_check_says_is_at_most_80_columns_wide(cli: Command, folder: Folder) -> None:
    answer = "[a_name_that_is_not_defined_anywhere_and_is_rather_long_as_well]"
    write(folder, answer)
    cli("school", "start", "2")
    for words in ("check", "reset 1", "run --steps 1", "start 8"):
        done = cli("school", *words.split(), check=False)
        lines = [n for n in (done.stdout + done.stderr).splitlines() if "names.txt: " not in n]
        assert max(map(len, lines)) <= 80  # but for gpt.py's own line, which has a path in it


def test_a_lost_state_is_made_again(cli: Command, folder: Folder) -> None:
    write(folder, RIGHT)
    folder.write(solve(folder.source, 2))
    cli("school", "check")
    state = folder.state
    (folder.path / "school.json").unlink()
    shown = cli("school", "check").stdout
    assert [line[:2] for line in shown.splitlines() if "passed" in line] == ["1 ", "2 "]
    assert folder.state == state


def test_what_has_passed_and_changed_is_checked_again(cli: Command, folder: Folder) -> None:
    write(folder, RIGHT)
    cli("school", "check")
    write(folder, WRONG)
    assert "1 tokens  not yet" in cli("school", "check", check=False).stdout


def test_hints_grow(cli: Command) -> None:
    cli("school", "start", "5")
    shown = [cli("school", "hint").stdout for _ in range(4)]
    assert [text.count(" of 3: ") for text in shown] == [1, 2, 3, 3]


def test_reset_gives_the_stubs_back(cli: Command, folder: Folder) -> None:
    write(folder, RIGHT)
    shown = cli("school", "reset", "1").stdout
    assert "encode" not in Text(folder.source).written()
    assert str(Path("school", "history", "01-before-reset.py")) in shown


def test_run_fills_what_is_missing(cli: Command, folder: Folder) -> None:
    write(folder, RIGHT)
    done = cli("school", "run", "--steps", "1")
    assert done.stderr.startswith("yours: encode, decode; the rest is gpt.py's")
    assert "step    1 / 1 | loss 3." in done.stdout
    write(folder, "1 / 0")
    line = complaint_after_note(cli("school", "run", "--steps", "1", check=False))
    assert re.search(r"mygpt.py, line \d+, in encode: ZeroDivisionError: division by zero", line)


def test_names_come_with_the_second_lesson(cli: Command, folder: Folder) -> None:
    """Made of pairs of letters; no training, no model."""
    write(folder, RIGHT)
    folder.write(solve(folder.source, 2))
    names = cli("school", "run").stdout.splitlines()
    assert len(names) == 20
    assert all(name.isalpha() and len(name) <= 16 for name in names)
    letters = "".join(names)
    assert sum(letters.count(vowel) for vowel in "aeiou") > len(letters) / 4


def complaint_after_note(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_report_is_checked_again_and_not_believed(cli: Command, folder: Folder) -> None:
    write(folder, RIGHT)
    cli("school", "report", "--name", "Ada")
    report = folder.path / "report.txt"
    text = report.read_text("utf-8")
    assert "name      Ada\n" in text
    assert re.search(r"^ 1 tokens     passed +(\d+) of \1$", text, re.M)
    assert text.endswith(folder.source)
    report.write_text(text.replace(RIGHT, WRONG), "utf-8")  # its table still says passed
    again = cli("school", "report", "--check", str(report)).stdout
    assert re.search(r"^ 1 tokens     not yet", again, re.M)
    (folder.path / "other.txt").write_text("hello")
    line = complaint(cli("school", "report", "--check", "school/other.txt", check=False))
    assert "school/other.txt is not a report" in line


def test_watch_checks_at_every_save_and_at_enter(tmp_path: Path, folder: Folder) -> None:
    write(folder, WRONG)
    with subprocess.Popen(
        [*MICROGPT, "school", "watch"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    ) as watch:
        assert watch.stdin
        assert watch.stdout

        def until(text: str) -> str:
            assert watch.stdout
            return next(line for line in watch.stdout if text in line)

        try:
            assert "press Enter" in until("Watching")
            until("not yet")
            watch.stdin.write("\n")
            watch.stdin.flush()
            until("not yet")
            write(folder, "[" + RIGHT)  # a slip of the fingers
            assert "in `def encode(doc, alphabet): return [[" in until("mend this first")
            write(folder, RIGHT)
            until("1 tokens  passed")
        finally:
            watch.terminate()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "0"), "there is no lesson 0; the lessons are 1 to 16"),
        (("check",), "begin with `microgpt school start 1`"),
        (("hint",), "begin with `microgpt school start 1`"),
        (("report", "--check", "no such file"), "no such file"),
        (("report", "--check", "a", "--name", "b"), "--check reads a report"),
        (("--folder", __file__, "start", "1"), "is a file"),
        (("swap", "no such file"), "no such file: No such file"),
    ],
)
def test_bad_input_gets_one_line(cli: Command, words: tuple[str, ...], said: str) -> None:
    assert said in complaint(cli("school", *words, check=False))


def test_the_overview_shows_how_far_one_is(cli: Command, folder: Folder) -> None:
    assert cli("school").stdout.endswith("  next: microgpt school start 1\n")
    write(folder, RIGHT)
    cli("school", "check")
    cli("school", "start", "2")
    first, second, third, *_ = cli("school").stdout.splitlines()
    assert (" passed " in first, " begun " in second, " 25 min " in third) == (True, True, True)


def test_the_kit_comes_with_the_lab_where_pyodide_is(cli: Command, tmp_path: Path) -> None:
    """The real one, for a USB stick."""
    pyodide = Path(__file__).parents[1] / "node_modules" / "pyodide"
    if not pyodide.is_dir():
        pytest.skip("npm has not installed Pyodide")
    done = cli("school", "kit", "-o", "kit", "--pyodide", str(pyodide))
    assert done.stdout == f"{Path('kit', 'index.html')}\n"
    assert (tmp_path / "kit" / "site" / "index.html").exists()
    assert "is there, and not an empty folder" in complaint(
        cli("school", "kit", "-o", "kit", check=False)
    )
    assert "without the lab" in cli("school", "kit", "-o", "plain").stderr


def test_in_the_folder_itself(cli: Command, tmp_path: Path) -> None:
    """Where mygpt.py is here, here is the folder."""
    (tmp_path / "mygpt.py").write_text(solve("", 1), "utf-8")
    assert "1 tokens  passed" in cli("school", "check").stdout
    assert (tmp_path / "school.json").exists()


def test_swap_tells_the_difference_and_goes_on(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def adam(*given): pass\n")
    names = dataset.load("world").documents[:300]
    (tmp_path / "names.txt").write_text("\n".join(names), "utf-8")
    words = ("school", "swap", "mine.py", "--data", "names.txt", "--seeds", "2", "--steps", "2")
    shown = cli(*words)
    assert "mine.py gives: adam" in shown.stdout
    assert re.search(r"^  42 +\d\.\d{4} +\d\.\d{4} +\+\d\.\d{4}$", shown.stdout, re.M)
    assert "100" not in shown.stderr
    assert len(json.loads((tmp_path / "swap.json").read_text())["runs"]) == 4
    again = cli(*words)
    assert again.stdout == shown.stdout
    assert "left" not in again.stderr, "nothing is run twice"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups like these")
def test_ctrl_c_stops_a_swap_at_once(tmp_path: Path) -> None:
    """Pressed, it reaches every process; one line says what is kept."""
    (tmp_path / "mine.py").write_text("def adam(*given): pass\n")
    words = ["school", "swap", "mine.py", "--data", "world", "--seeds", "2", "--steps", "100"]
    with subprocess.Popen(
        [*MICROGPT, *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as swap:
        assert swap.stderr
        heard = next(line for line in swap.stderr if "left" in line)
        os.killpg(swap.pid, signal.SIGINT)
        rest = [line for line in swap.stderr if "left" not in line]
    assert heard
    assert (swap.returncode, rest) == (130, ["stopped; none finished\n"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminal")
def test_a_prediction_comes_before_the_answer(tmp_path: Path, folder: Folder) -> None:
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, b"four\n")
    done = subprocess.run(
        [*MICROGPT, "school", "start", "1"],
        cwd=tmp_path,
        stdin=theirs,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.index("You said: four") < done.stdout.index(lessons()[0].answer[:30])
    assert folder.state.predictions == {"1": "four"}
