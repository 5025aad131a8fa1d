"""Which engines are here: what each lacks is said, and the others work on."""

import random
import sys
from collections.abc import Callable

import pytest

from microgpt import cli, engines
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.lab.answers import Answers
from microgpt.model import Model
from microgpt.snes import emulator
from tests.conftest import LETTERS
from tests.test_snes import missing

CONFIG = GPTConfig(block_size=8)
console = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def no_assembler(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("PATH", "")


def no_core(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(emulator, "FOLDERS", ())


def no_libretro(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "libretro", None)


LACKS = [
    (no_assembler, "building a cartridge takes cc65"),
    (no_core, "no SNES emulator core was found"),
    (no_libretro, "libretro.py is not installed"),
]


@console
def test_with_all_its_parts_the_console_is_here() -> None:
    assert engines.missing("snes") is None
    assert "snes" in engines.present()


@console
@pytest.mark.parametrize(("take_away", "reason"), LACKS)
def test_an_engine_that_lacks_a_part_says_how_to_get_it(
    take_away: Callable[[pytest.MonkeyPatch], None],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    model: Model,
    capsys: pytest.CaptureFixture[str],
) -> None:
    take_away(monkeypatch)
    assert "snes" not in engines.present()
    assert engines.default() in engines.present()
    with pytest.raises(ValueError, match=f"the engine snes is not here: {reason}.*install"):
        engines.create("snes", CONFIG, model.checkpoint.state)
    with pytest.raises(SystemExit) as end:
        cli.main(["engines"])
    assert not end.value.code
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(engines.ENGINES)
    assert f"missing: {reason}" in lines[-1]
    for name in engines.ENGINES:
        assert ("refused" in Answers(model).engine(name, "emma")) == (name == "snes")


@console
def test_a_console_that_cannot_start_is_refused_like_any_other_engine(model: Model) -> None:
    with pytest.raises(ValueError, match="the engine snes cannot start: there is no core nope"):
        engines.create("snes", CONFIG, model.checkpoint.state, core="nope")


@pytest.fixture
def model() -> Model:
    """Return a model that every engine can run."""
    return Model(Checkpoint(CONFIG, LETTERS, initial_state(CONFIG, random.Random(1))))
