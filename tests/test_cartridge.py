"""The pipeline: what it makes of a model, what it says, what it refuses, and playing the result."""

import random
import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from microgpt import cartridge, cli, dataset
from microgpt.cartridge import Press
from microgpt.checkpoint import Checkpoint
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.feed import Pretraining
from microgpt.integers.base import generate
from microgpt.integers.turbo import calibrate
from microgpt.snes import rom, tables
from microgpt.snes.emulator import Emulator, png
from microgpt.training import Progress, Run
from tests.conftest import LETTERS
from tests.test_snes import missing

ROOT = Path(__file__).parent.parent
SIZES = GPTConfig(block_size=8)
built = pytest.mark.skipif(missing() is not None, reason=str(missing()))


@pytest.fixture
def model() -> Checkpoint:
    """Return a model of the classic cartridge's sizes, held-out names of the built-in list."""
    state = {n: 4 * a for n, a in initial_state(SIZES, random.Random(3)).items()}
    feed = Pretraining(dataset.load("world"), val=0.3)
    return Checkpoint(SIZES, LETTERS, state, {"feed": feed.record()})


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@built
def test_a_model_becomes_a_cartridge(model: Checkpoint) -> None:
    built = cartridge.build("classic", model)
    assert built.rom.data == rom.build("classic", SIZES, model.state)[0].data
    documents, held_out = cartridge.documents(model)
    assert held_out
    assert len(documents) > 100
    report = cartridge.measure(built, documents, held_out)
    assert report.integer_loss == pytest.approx(report.float_loss, abs=0.03)
    assert report.console_loss == report.expected_loss, "the console reads them as the integers do"
    assert report.distance < 0.05
    assert report.agreement > 0.95
    assert f"loss on {len(documents):,} held-out documents" in report.lines()[0]
    assert report.lines()[-1].endswith("the same")
    assert all(len(line) < 100 for line in built.lines() + report.lines())


@built
def test_it_is_assembled_and_calibrated_once(
    model: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building turbo and measuring it: each source once through ca65, one calibration."""
    commands, calibrated = list[str](), list[GPTConfig]()
    run_tool = rom._run

    def tool(name: str, *arguments: object) -> None:
        commands.append(f"{name} {arguments[-1]}")
        run_tool(name, *arguments)

    def counted(config: GPTConfig, *given: Any) -> dict[str, int]:
        calibrated.append(config)
        return calibrate(config, *given)

    monkeypatch.setattr(rom, "_run", tool)
    monkeypatch.setattr("microgpt.snes.rom.calibrate", counted)
    config = GPTConfig()
    state = initial_state(config, random.Random(1))
    large = Checkpoint(config, LETTERS, state, model.training)
    built = cartridge.build("turbo", large)
    cartridge.measure(built, *cartridge.documents(large))
    assert sum(line.startswith("ld65") for line in commands) == 1
    assert len(commands) == len(set(commands)) > 3
    assert calibrated == [config]


@built
def test_a_cartridge_is_checked_against_a_model(model: Checkpoint) -> None:
    """Every token of its list: its own model's, and not those of a model one bit away."""
    data = cartridge.build("classic", model).rom.data
    verdict = cartridge.verify(data, model)
    integers = rom.integers("classic", SIZES, model.state)
    assert verdict.difference is None
    assert verdict.tokens == len(list(generate(integers, 0x1990)))
    lm_head = model.state["lm_head"].copy()
    lm_head[7] += 1 / 256
    other = replace(model, state={**model.state, "lm_head": lm_head})
    assert "name 1, token 1: logits[7] is " in str(cartridge.verify(data, other))


@built
def test_a_model_that_reads_more_is_cut_and_that_is_said(model: Checkpoint) -> None:
    config = GPTConfig(block_size=32)
    state = initial_state(config, random.Random(1))
    built = cartridge.build("turbo", Checkpoint(config, LETTERS, state))
    assert built.lines()[-1] == (
        "CUT   the model reads 32 positions, the turbo cartridge 16: names end after 16 letters"
    )
    assert not any("CUT" in line for line in cartridge.build("classic", model).lines())


@built
def test_a_title_of_ones_own_is_in_the_header(model: Checkpoint) -> None:
    titled = cartridge.build("classic", model, title='ZOE\'S "NAMES"').rom.data
    plain = cartridge.build("classic", model).rom.data
    assert titled[0x7FC0:0x7FD5] == b'ZOE\'S "NAMES"        '
    assert plain[0x7FC0:0x7FD5] == b"MICROGPT CLASSIC     "
    assert titled[:0x7FC0] == plain[:0x7FC0]
    assert titled[0x7FE0:] == plain[0x7FE0:]
    assert sum(titled) & 0xFFFF == int.from_bytes(titled[0x7FDE:0x7FE0], "little")


@pytest.mark.parametrize("title", ["", "22 characters, one mor", "Zoë", "a\tb", "a\n"])
def test_titles_that_the_header_cannot_hold_are_refused(title: str) -> None:
    with pytest.raises(ValueError, match="it must be 1 to 21 printable ASCII characters"):
        cartridge.check("classic", title)


@built
def test_the_commands_make_and_play_it(
    model: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, sfc, png = (tmp_path / name for name in ("m.safetensors", "m.sfc", "m.png"))
    model.save(saved)
    assert run("rom", saved, "--out", sfc) == 0
    assert "microgpt play" in capsys.readouterr().out
    assert run("play", sfc, "--screenshot", png) == 0
    integers = rom.integers("classic", SIZES, model.state)
    names, name = [], ""
    for record in generate(integers, 0x1990):
        name = "" if record.position == 0 else name
        name += LETTERS[record.chosen : record.chosen + 1]
        if record.chosen == 26 or record.position == 7:
            names.append(name)
    assert capsys.readouterr().out.split("\n") == [*names, ""]
    assert png.read_bytes().startswith(b"\x89PNG")


@built
def test_a_screenshot_is_of_a_console_that_nobody_watches(
    model: Checkpoint, tmp_path: Path
) -> None:
    """The same frame as of an emulator that runs the file and touches nothing."""
    data = rom.build("classic", SIZES, model.state)[0].data
    list(cartridge.play(data, frames=400, screenshot=tmp_path / "played.png"))
    with Emulator(data) as emulator:
        emulator.run(400)
        assert (tmp_path / "played.png").read_bytes() == png(emulator.screenshot())


@built
def test_a_model_that_is_trained_first_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cartridge.RECIPES, "classic", cartridge.Recipe(steps=3, batch=2, lr=0.01))
    sfc, before = tmp_path / "my.sfc", tmp_path / "my.safetensors"
    before.write_bytes(b"a model of somebody's")
    assert run("rom", "-o", sfc) == 0
    assert before.read_bytes() == b"a model of somebody's"
    kept = Checkpoint.load(tmp_path / "my-2.safetensors")
    assert f"{tmp_path / 'my-2.safetensors'}: the model that was trained" in capsys.readouterr().out
    assert sfc.read_bytes() == cartridge.build("classic", kept).rom.data
    assert {path.name for path in tmp_path.iterdir()} == {before.name, sfc.name, "my-2.safetensors"}


@built
def test_a_run_that_is_stopped_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the third progress: no cartridge, but the model so far, and what to do with it."""
    monkeypatch.setitem(cartridge.RECIPES, "classic", cartridge.Recipe(90_000, batch=1, lr=0.01))
    advance = Run.advance

    def interrupted(self: Run[Any]) -> Iterator[Progress]:
        for number, progress in enumerate(advance(self)):
            if number == 2:
                signal.raise_signal(signal.SIGINT)
            yield progress

    monkeypatch.setattr(Run, "advance", interrupted)
    sfc, kept = tmp_path / "my.sfc", tmp_path / "my.safetensors"
    assert run("rom", "-o", sfc) == 130
    assert f"microgpt rom {kept} --cartridge classic" in capsys.readouterr().err
    assert Checkpoint.load(kept).config == SIZES
    assert [*tmp_path.iterdir()] == [kept]


@built
def test_a_cartridge_is_checked_by_the_command(
    model: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other, sfc = (tmp_path / name for name in ("own.st", "other.st", "m.sfc"))
    model.save(own)
    state = {name: array[::-1].copy() for name, array in model.state.items()}
    replace(model, state=state).save(other)
    sfc.write_bytes(cartridge.build("classic", model).rom.data)
    for saved, code, line in ((own, 0, "the same: "), (other, 1, "DIFFERENT: name 1, token 1: ")):
        assert run("play", sfc, "--check", saved) == code
        said = capsys.readouterr().out
        assert said.startswith(line)
        assert said.count("\n") == 1
    assert run("play", sfc, "--check", own, "--frames", 9) == 2
    assert "--check goes with --core alone" in capsys.readouterr().err


@built
def test_what_cannot_be_written_is_refused_before_the_work(
    model: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No model is trained for it, no cartridge built or run; and no input is overwritten."""
    saved, sfc = tmp_path / "m.safetensors", tmp_path / "m.sfc"
    model.save(saved)
    sfc.write_bytes(cartridge.build("classic", model).rom.data)
    before = {path: path.read_bytes() for path in (saved, sfc)}
    for arguments, message in [
        (("rom", saved, "-o", saved), "m.safetensors is already used"),
        (("rom", "-o", tmp_path), "it is a directory"),
        (("rom", "-o", tmp_path / "none" / "m.sfc"), "its folder is missing"),
        (("rom", "-o", tmp_path / "new.safetensors"), "new.safetensors is already used"),
        (("rom", "--title", "x" * 22, "-o", tmp_path / "t.sfc"), "1 to 21 printable ASCII"),
        (("rom", "--cartridge", "nitro", "-o", tmp_path / "t.sfc"), "there is no cartridge"),
        (("play", sfc, "--screenshot", sfc), "m.sfc is already used"),
        (("play", sfc, "--screenshot", tmp_path), "it is a directory"),
    ]:
        assert run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert message in said.err
        assert said.err.count("\n") == 1
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@built
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "this classic cartridge has 32,767 bytes instead of 32,768"),
        (lambda data: data + b"\0", "this classic cartridge has 32,769 bytes instead of 32,768"),
        (lambda data: data[:12], "not a MicroGPT cartridge that this version can play"),
        (lambda data: b"microgpt" + data[8:], "not a MicroGPT cartridge"),
        (lambda data: data[:8] + b"\xe9" * 8 + data[16:], "not a MicroGPT cartridge"),
        (lambda data: data[:16] + b"\2" + data[17:], "not a MicroGPT cartridge"),
    ],
    ids=["cut", "longer", "a beginning", "other", "no name", "a later version"],
)
def test_files_that_are_not_whole_cartridges_are_refused(
    model: Checkpoint, change: Callable[[bytes], bytes], message: str
) -> None:
    data = rom.build("classic", SIZES, model.state)[0].data
    with pytest.raises(ValueError, match=message):
        list(cartridge.play(change(data)))


@built
def test_buttons_are_pressed_when_they_are_to_be(model: Checkpoint) -> None:
    data = rom.build("classic", SIZES, model.state)[0].data
    untouched = list(cartridge.play(data, frames=300))
    pressed = list(cartridge.play(data, frames=300, presses=[Press("start", 60)]))
    assert untouched
    assert pressed
    assert untouched[1:3] != pressed[1:3], "START began another list"


def test_models_of_other_letters_are_refused(model: Checkpoint) -> None:
    greek = Checkpoint(SIZES, "αβγδεζηθικλμνξοπρστυφχψωςά", model.state)
    with pytest.raises(ValueError, match="vocabulary is 'αβγ.*a-z only"):
        cartridge.build("classic", greek)


def test_cartridges_that_are_not_are_refused(model: Checkpoint) -> None:
    for attempt in (lambda: cartridge.build("nitro", model), lambda: cartridge.start("nitro")):
        with pytest.raises(ValueError, match="no cartridge 'nitro'; there are classic"):
            attempt()


@pytest.mark.parametrize("text", ["start", "start@", "start@-1", "jump@3", "@3", "start@1.5"])
def test_presses_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a press; write BUTTON@FRAME"):
        Press.of(text)


def test_bad_input_is_one_line(
    model: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = GPTConfig(n_embd=32)
    saved = tmp_path / "large.safetensors"
    Checkpoint(large, LETTERS, initial_state(large, random.Random(1))).save(saved)
    not_ours = tmp_path / "other.sfc"
    not_ours.write_bytes(bytes(32768))
    for arguments, message in [
        (("rom", saved, "-o", tmp_path / "x.sfc"), "n_embd is 32"),
        (("rom", not_ours, "-o", tmp_path / "x.sfc"), "not a model that microgpt can use"),
        (("play", not_ours), "not a MicroGPT cartridge"),
        (("play", tmp_path / "nothing.sfc"), "No such file"),
        (("play", not_ours, "--press", "fly@2"), "is not a press"),
    ]:
        assert run(*arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading of docs/cartridge.md, cell by cell."""
    part = (ROOT / "docs" / "cartridge.md").read_text("utf-8").split(f"### {heading}\n")[1]
    lines = part.split("\n#")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:2] == "| "]


@pytest.fixture(scope="module")
def linked() -> dict[str, dict[str, int]]:
    """Return the address of each name, by cartridge."""
    made = {}
    for name, spec in rom.CARTRIDGES.items():
        config = GPTConfig(block_size=spec.block_size)
        made[name] = rom.build(name, config, initial_state(config, random.Random(1)))[0].labels
    return made


@built
def test_the_lines_of_gpt_py_are_done_by_the_routines_that_the_docs_name(
    linked: dict[str, dict[str, int]],
) -> None:
    source = " ".join((ROOT / "microgpt" / "gpt.py").read_text("utf-8").split())
    header, *table = rows("From gpt.py to the console")
    assert len(table) > 10
    for line, *routines in table:
        assert re.findall("`(.*?)`", line)[0] in source, f"gpt.py has no line {line}"
        for cartridge_name, cell in zip(header[1:], routines, strict=True):
            names = re.findall("`(.*?)`", cell)
            assert names or cell.startswith("left out")
            for name in names:
                assert f"widths_of_{name}" in linked[cartridge_name], f"{name} is not a routine"


@built
def test_the_map_in_the_docs_is_the_linkers(linked: dict[str, dict[str, int]]) -> None:
    registers = re.findall(
        r"^(\w+) += \$([0-9A-F]{4})", (tables.ASM / "snes.inc").read_text(), re.M
    )
    chips = {name: int(address, 16) for name, address in registers}
    _, *table = rows("Where everything is")
    assert len(table) > 10
    for place, which, what in table:
        first, last = (int(address, 16) for address in place.replace("$", "").split("-"))
        for labels in linked.values() if which == "both" else [linked[which]]:
            for name in re.findall("`(.*?)`", what):
                address = labels[name] if name in labels else chips[name]
                assert first <= address <= last, f"{name} is at ${address:04X}"


def test_every_letter_that_the_screen_shows_is_drawn() -> None:
    drawn = tables.font()
    texts = (tables.ASM / "display.asm").read_text().split('"CODE"')[0]
    shown = set("".join(line.split('"')[1] for line in texts.split("\n") if '.byte "' in line))
    assert shown - {" "} <= drawn.keys()
    assert len({ink.tobytes() for ink in drawn.values()}) == len(drawn), "no two letters alike"
