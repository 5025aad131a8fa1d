"""microgpt scaling."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from microgpt import engines
from tests.cli.conftest import MICROGPT, Command, complaint

pytest.importorskip("scipy", reason="scipy is not installed")
QUICK = ["--data", "world", "--widths", "4,8,12", "--passes", "0.005,0.01,0.02", "--seeds", "1"]


@pytest.mark.skipif(bool(engines.missing("native")), reason=str(engines.missing("native")))
def test_the_command_fits_predicts_draws_and_goes_on(cli: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    words = ["scaling", *QUICK, "-o", "runs.json", "--seconds", "0.1"]
    shown = cli(*words, "--plot", "law.svg").stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "18 runs on world, 18 of them" in shown
    assert "Predicted for n_embd 24, " in shown
    assert shown.count("the law's choice") == 1
    assert (tmp_path / "law.svg").read_text().count("<path") > 10
    kept = json.loads((tmp_path / "runs.json").read_text())
    assert len(kept["runs"]) == 19
    lost = kept["runs"].pop()
    (tmp_path / "runs.json").write_text(json.dumps(kept))
    again = cli(*words)
    assert "19/19 runs" in again.stderr
    assert lost in json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert again.stdout.split("The best")[0] == shown.split("The best")[0]


@pytest.mark.skipif(bool(engines.missing("native")), reason=str(engines.missing("native")))
def test_what_stops_it_leaves_the_runs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """The last runs would take minutes: it is the signal that ends it."""
    words = ["scaling", "--data", "world", "-o", "runs.json", "--seeds", "1"]
    words += ["--widths", "4,8,256", "--passes", "0.005,0.01,9999"]
    known: list[object] = []
    for stop in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(
            [*MICROGPT, *words], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        ) as going:
            assert going.stderr
            first = going.stderr.readline()
            assert "/19 runs" in first, first
            going.send_signal(stop)
            said = going.stderr.read().splitlines()  # it ends when the last process is gone
        if stop == signal.SIGINT:
            assert (going.returncode, said[-1]) == (130, "stopped; the same command goes on")
        assert not any("Traceback" in line for line in said)
        runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
        assert runs[: len(known)] == known, "none is made twice"
        assert int(first.split("/")[0]) >= max(2, len(known))
        assert 2 <= len(runs) < 19
        known = runs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--widths", "8,16"], "'8,16' is not a list of 3 or more numbers"),
        (["--widths", "8,16,18"], "18 is not a width for 4 heads; give multiples of 4"),
        (["--passes", "1,nan,2"], "is not a list of 3 or more numbers"),
        (["--plot", "law.txt"], "--plot is law.txt; it must end in .png or .svg"),
        (["-o", "notes.txt"], "notes.txt does not hold runs of scaling"),
        (["-o", "other.json"], "other.json holds runs on other documents"),
        (["-o", "lying.json"], "lying.json does not hold runs of scaling"),
    ],
)
def test_what_it_refuses(cli: Command, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    other = {"format": "microgpt scaling 1", "sha256": "0", "runs": []}
    (tmp_path / "other.json").write_text(json.dumps(other))
    point = {"n_embd": 8, "share": 1.0, "steps": 5, "seed": 0}
    run = {"point": point, "parameters": 1, "tokens": 1, "passes": 1, "loss": float("nan")}
    (tmp_path / "lying.json").write_text(json.dumps(other | {"runs": [run]}))
    assert said in complaint(cli("scaling", "--data", "world", *words, check=False))
