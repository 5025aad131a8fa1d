"""The systems lab: three bugs that assemble, run, and show where their key says that they show."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from microgpt import cartridge, engines
from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.engines.fixed import FixedEngine
from microgpt.engines.snes import SnesEngine
from microgpt.school import cartridges
from microgpt.snes import rom
from tests.cli.conftest import Command, complaint

SHEET = Path(__file__).parents[2] / "docs" / "labs" / "systems.md"
MODEL = Checkpoint.load(SHIPPED)
RANDOM, WIDTH, LOST = cartridges.BUGS

missing = engines.missing("snes")
pytestmark = pytest.mark.skipif(missing is not None, reason=str(missing))


def test_without_a_bug_it_is_the_cartridge() -> None:
    right = rom.build("classic", MODEL.config, MODEL.state)[0].data
    assert cartridges.make(cartridges.Bug("math.asm", (), ""), MODEL) == right


@pytest.mark.parametrize("bug", cartridges.BUGS, ids=["random", "width", "lost"])
def test_each_shows_where_its_key_says(bug: cartridges.Bug) -> None:
    """What comes before the bug is right to the bit, what comes after is not."""
    integers = rom.integers("classic", MODEL.config, MODEL.state)
    engine = SnesEngine.of(cartridges.make(bug, MODEL), integers)
    tokens = [26, 4, 12]
    found, right = engine.inspect(tokens), FixedEngine.of(integers).inspect(tokens)
    first, clamped = found["residual"][0], engine.console.word(engine.console.at["saturations"])
    made = engine.console.list()
    drawn = [next(made).drawn for _ in range(48)]
    engine.console.close()
    if bug is RANDOM:
        assert all((found[part] == right[part]).all() for part in right)
        assert drawn[:16] == drawn[16:32] == drawn[32:]
        assert len(set(drawn)) == 16
        return
    assert len(set(drawn)) == 48
    assert (found["logits"] != right["logits"]).any()
    if bug is WIDTH:
        assert (first == right["residual"][0]).all()
        assert clamped > 500
        assert (np.isin(found["logits"], [-128, 32767 / 256])).mean() > 0.9
    else:
        should = right["residual"][0, 0]
        large = abs(should) > 0.5
        factors = first[0, large] / should[large]
        assert factors.min() > 2
        assert factors.max() - factors.min() < 0.1
        assert (first != right["residual"][0]).any(axis=1).all()


@pytest.mark.parametrize(
    ("bug", "differs"), [(RANDOM, "drawn is"), (WIDTH, "logits[0] is"), (LOST, "logits[0] is")]
)
def test_each_is_found_by_play_check(bug: cartridges.Bug, differs: str) -> None:
    verdict = cartridge.verify(cartridges.make(bug, MODEL), MODEL)
    assert verdict.difference is not None
    assert verdict.difference.startswith(f"name 1, token 1: {differs}")


def test_a_bug_that_no_longer_fits_is_an_error(tmp_path: Path) -> None:
    old = cartridges.Bug("math.asm", (("no such line", ""),), "")
    with pytest.raises(ValueError, match="holds 'no such line' 0 times, not once"):
        cartridges.sources(old, tmp_path)


@pytest.mark.slow  # each cartridge is looked at above; this types what the lab says
def test_the_lab_as_a_student_walks_it(cli: Command, tmp_path: Path) -> None:
    made = cli("school", "bugs").stdout
    for number in (1, 2, 3):
        assert f"bugs/{number}.sfc: microgpt play bugs/{number}.sfc --check" in made
    (code,) = re.findall(r"^```text\n(.*?)^```", SHEET.read_text("utf-8"), re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"^logits +\(3, 27\) off by 0.0$", done.stdout, re.M)
    assert re.search(r"^clamped 0$", done.stdout, re.M)
    drawn = eval(done.stdout.split("drawn ")[1])
    assert drawn[:16] == drawn[16:32]
    key = cli("school", "bugs", "--key").stdout
    assert [line[:6] for line in key.splitlines() if ".sfc" in line] == [
        "1.sfc:",
        "2.sfc:",
        "3.sfc:",
    ]
    assert max(map(len, key.splitlines())) <= 80
    (tmp_path / "file").write_text("")
    assert "file" in complaint(cli("school", "bugs", "-o", "file/bugs", check=False))
