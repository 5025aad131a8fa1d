"""The game: what each button does, what the screen shows, on both cartridges and two cores.

What the screen shows is read off the screen, letters and bars, and compared with the integers.
"""

import random
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from microgpt.integers.base import IntegerModel, generate
from microgpt.snes import rom, tables
from microgpt.snes.console import HALT, RESET, STEP, Console
from microgpt.snes.emulator import BUTTONS, find_core
from tests.test_snes import Bench, make, missing

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))

CORES = ("bsnes_mercury_performance", "bsnes_mercury_accuracy")
WHITE, GOLD, TEAL, BRIGHT, GREEN, RED, VIOLET, GREY = range(8)  # palettes: see tables.py
LIMIT = 100  # frames in which the cartridge answers a button: a token and a screen take 12
FAST, SLOW, PAUSED = range(3)


@pytest.fixture(scope="module", params=rom.CARTRIDGES)
def made(request: pytest.FixtureRequest) -> tuple[rom.Rom, IntegerModel]:
    """Return each of the cartridges, one after another."""
    return make(request.param)


@pytest.fixture(params=[CORES[0], pytest.param(CORES[1], marks=pytest.mark.slow)])
def core(request: pytest.FixtureRequest) -> str:
    """Return each of the cores that are there, one after another."""
    try:
        return str(find_core(request.param))
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture
def game(made: tuple[rom.Rom, IntegerModel], core: str) -> Iterator[Bench]:
    """Return each cartridge on each core, nobody but the player at it."""
    yield from play(made, core)


@pytest.fixture
def quick(made: tuple[rom.Rom, IntegerModel]) -> Iterator[Bench]:
    """Return each cartridge on the fastest core."""
    yield from play(made, None)


def play(made: tuple[rom.Rom, IntegerModel], core: str | None) -> Iterator[Bench]:
    with Console(made[0].data, core) as console:
        console.write(console.at["watched"], 0)
        yield Bench(console, made[0].labels, made[1], made[0].data)


def size(game: Bench) -> int:
    return game.console.at["block_size"]


def until(game: Bench, condition: Callable[[], bool], limit: int = LIMIT) -> None:
    """Let time pass until something is so."""
    for _ in range(limit):
        if condition():
            return
        game.console.run()
    raise AssertionError(f"not after {limit} frames")


def press(game: Bench, *buttons: str) -> None:
    """Press buttons one after another, quickly, and wait until the game has taken them all."""
    for button in buttons:
        game.console.press(button, frames=2)
    taken(game)


def taken(game: Bench) -> None:
    def none_waits() -> bool:
        waiting = game.read("pad_put") != game.read("pad_taken")
        return not waiting and not game.read("pressed")[0] and not game.read("drawing")[0]

    until(game, none_waits)


def settings(game: Bench) -> tuple[int, int, tuple[int, ...]]:
    """Return the seed, temperature and prefix that the game works with."""
    at, console = game.console.at, game.console
    prefix = console.words(at["prefix"], console.word(at["prefix_length"])).tolist()
    return console.word(at["seed"]), console.word(at["temperature"]), tuple(prefix)


def names(game: Bench) -> list[str]:
    """Return the finished names of the list at work."""
    at, step = game.console.at["names"], size(game) + 2
    data = game.console.read(at, 20 * step)
    found = [data[i : i + step].split(b"\0")[0].decode() for i in range(0, len(data), step)]
    return found[: game.read("name_number")[0]]


def first_name(game: Bench) -> str:
    """Return the first name of the list at work, once it is there."""
    until(game, lambda: game.read("turn") == [0] and len(names(game)) > 0, 600)
    return names(game)[0]


def rest(game: Bench) -> None:
    """Let time pass until nothing changes any more, and the screen shows it."""
    before, same = None, 0
    at = game.labels["picture"]

    def now() -> tuple[bytes, int]:
        picture = game.console.read(at, 2 * 32 * 28)
        return picture, game.read("list_tokens")[0]

    for _ in range(600):
        game.console.run()
        same = same + 1 if now() == before else 0
        before = now()
        if same == 20:  # more than a token takes
            return
    raise AssertionError("it does not come to rest")


def name_done(game: Bench) -> None:
    """Let time pass until one name more is complete, and drawn."""
    done = len(names(game))
    until(game, lambda: len(names(game)) > done and game.read("drawing") == [0])


def begun(game: Bench, frame: int) -> None:
    """Let time pass until a list begins that is younger than a frame."""
    until(game, lambda: (game.read("list_frame")[0] - frame) & 0xFFFF < LIMIT)


def finished(game: Bench) -> None:
    """Let time pass until the list is complete."""
    until(game, lambda: game.read("name_number") == [20], 4000)
    rest(game)


def expected_names(game: Bench, count: int = 20) -> list[str]:
    found: list[str] = []
    for record in generate(game.model, *settings(game), count=count):
        found += [""] if record.position == 0 else []
        found[-1] += chr(97 + record.chosen) if record.chosen < 26 else ""
    return found


def fresh(game: Bench) -> None:
    """Check that a new list begins, of the settings as they are."""
    until(game, lambda: game.read("turn") == [0] and game.read("name_number") == [0])
    assert first_name(game) == expected_names(game, 1)[0]


# ---- reading the screen --------------------------------------------------------------------------


def screen(game: Bench) -> list[str]:
    """Return the frame's small letters, line by line, by comparing each place with the font."""
    frame = game.console.screenshot().astype(int).sum(axis=2).reshape(28, 8, 32, 8)
    letters = {ink.tobytes(): letter for letter, ink in tables.font().items()}
    lines = []
    for line in frame.swapaxes(1, 2):
        text = ""
        for place in line:  # ink is brighter than sky and shadow by far
            text += letters.get((place > 200).astype(int).tobytes(), " ")
        lines.append(text)
    return lines


@dataclass
class Inside:
    """What the view inside shows; bars in lines."""

    read: str  # the letters of the tokens read, BOS as |
    chosen: str
    heads: list[list[int]]  # by positions
    probs: list[int]  # by tokens
    red: list[int]  # tokens whose bar is marked as chosen ...
    bright: list[int]  # ... and whose letter


def inside(game: Bench) -> Inside:
    """Read it off the screen."""
    frame, text, n = game.console.screenshot(), screen(game), size(game)
    step = 2 if n == 8 else 1
    columns = [9 + step * i for i in range(n + 1)]
    colours = [ink(frame, 4, column) for column in columns]
    heads = [[bar(frame, row, c, TEAL) for c in columns[:n]] for row in (6, 8, 10, 12)]
    bars = [max((bar(frame, 18, 2 + i, c), c) for c in (GREEN, RED)) for i in range(27)]
    return Inside(
        "".join(text[4][c] for c, k in zip(columns, colours, strict=True) if k == WHITE),
        "".join(text[4][c] for c, k in zip(columns, colours, strict=True) if k == GOLD),
        heads,
        [height for height, _ in bars],
        [i for i, (height, colour) in enumerate(bars) if height and colour == RED],
        [i for i in range(27) if ink(frame, 19, 2 + i) == BRIGHT],
    )


def shade(colour: int, part: int) -> np.ndarray:
    """Return a colour as the screen shows it: its shadow, its lower half, or its upper."""
    five = np.array(tables.PALETTES[colour][part])
    return five << 3 | five >> 2


def ink(frame: np.ndarray, row: int, column: int) -> int | None:
    """Return the colour of the letter at a place."""
    place = frame[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(64, 3).astype(int)
    for colour in range(8):
        if (np.abs(place - shade(colour, 1)).max(axis=1) < 8).any():
            return colour
    return None


def bar(frame: np.ndarray, row: int, column: int, colour: int) -> int:
    """Return the height of a bar that begins at the bottom of a place."""
    lines = frame[: 8 * row + 8, 8 * column + 1][::-1].astype(int)
    filled = np.abs(lines - shade(colour, 2)).max(axis=1) < 8
    return int(np.argmin(filled))


def expected_inside(game: Bench) -> Inside:
    """Say what the view has to show, by the integers: after as many tokens as the list has."""
    count = game.read("list_tokens")[0]
    records = list(islice(generate(game.model, *settings(game)), count))
    last = records[-1]
    tokens = [record.token for record in records[-last.position - 1 :]]
    cache = game.model.begin(1)
    for position, token in enumerate(tokens):
        out = game.model.forward(np.array([token]), position, cache)
    heads = out["attention"][0, 0]
    probs = last.probs
    none = [0] * (size(game) - len(tokens))
    lines = (probs + 512 >> 10).tolist()
    return Inside(
        "".join(letter(token) for token in tokens),
        letter(last.chosen),
        [(head - (head >> 3) + 1024 >> 11).tolist() + none for head in heads],
        lines,
        [last.chosen] if lines[last.chosen] else [],
        [last.chosen],
    )


def letter(token: int) -> str:
    return "|" if token == 26 else chr(97 + token)


# ---- the pad -------------------------------------------------------------------------------------


def test_the_game_begins_by_itself(game: Bench) -> None:
    assert settings(game) == (0x1990, 4, ())
    assert first_name(game) == expected_names(game, 1)[0]


def test_start_takes_a_new_seed(game: Bench) -> None:
    press(game, "start")
    seed = settings(game)[0]
    assert seed != 0x1990
    fresh(game)
    press(game, "start")
    assert settings(game)[0] not in (seed, 0x1990)


def test_up_and_down_change_the_temperature_and_stop_at_its_ends(game: Bench) -> None:
    press(game, "up", "up")
    assert settings(game)[1] == 6
    fresh(game)
    press(game, *["down"] * 8)
    assert settings(game)[1] == 0
    press(game, *["up"] * 16)
    assert settings(game)[1] == 14


def test_a_held_direction_repeats_and_no_other_button_does(quick: Bench) -> None:
    press(quick, "r", "down", "down")
    quick.console.hold("up")
    quick.console.run(24 + 4 * 4 + 2)
    quick.console.hold()
    taken(quick)
    assert settings(quick)[1] == 2 + 1 + 5
    quick.console.hold("select")
    quick.console.run(60)
    quick.console.hold()
    taken(quick)
    assert quick.read("view") == [1]


def test_a_prefix_is_typed_and_completed(game: Bench) -> None:
    press(game, "a", "up", "up", "up", "right", "down", "start")  # the first up begins with an a
    assert settings(game)[2] == (2, 25)
    fresh(game)
    assert first_name(game).startswith("cz")
    press(game, "a", "left", "b")
    assert settings(game)[2] == (2, 25), "B takes it back"
    press(game, "a", *["right"] * (size(game) + 1), "a")
    assert len(settings(game)[2]) == size(game) - 1, "one token at least is the model's"
    press(game, "a", *["left"] * (size(game) + 1), "start")
    assert settings(game)[2] == ()


def test_only_directions_type(quick: Bench) -> None:
    press(quick, "a", "select", "l", "r", "y", "x")
    assert settings(quick) == (0x1990, 4, ())
    assert quick.read("editing") == [1]
    press(quick, "b", "x", "select", "l", "r", "y", "a")
    assert settings(quick) == (0x1990, 4, ())
    assert quick.read("editing") == [2]
    press(quick, "b")
    assert (quick.read("view"), quick.read("speed")) == ([0], [FAST])


def test_a_seed_is_entered(game: Bench) -> None:
    press(game, "x", "up", "right", "down", "right", "right", "down", "start")
    assert settings(game)[0] == 0x289F
    fresh(game)
    press(game, "x", "up", "b")
    assert settings(game)[0] == 0x289F, "B takes it back"
    press(game, "x", *["down", "right"] * 4, *["left"] * 5, "up", "up", "x")
    assert settings(game)[0] == 0x378E, "digit by digit, none carried into another"


@pytest.mark.parametrize("wait", range(3))
def test_presses_keep_their_order_and_none_is_lost(game: Bench, wait: int) -> None:
    """Whenever they come, between two tokens too: A opens the editor before UP turns a letter."""
    game.console.run(wait)
    press(game, "a", "up", "up", "b")
    assert settings(game)[1] == 4, "no UP without its A"
    game.console.hold("a", "up")  # in the same frame: one after another
    game.console.run(2)
    game.console.hold()
    taken(game)
    assert game.read("editing") + game.read("prefix_length") == [1, 1]
    press(game, "b")
    press(game, "select", "select")
    assert game.read("view") == [0], "two are two"
    press(game, "y", "y", "y", "l", "r", "l", "a", *["up"] * 24, "b", "x", *["up"] * 5, "start")
    assert settings(game)[0] == 0x6990
    assert game.read("speed") == [SLOW]


def test_typing_and_waiting_are_none_of_the_lists_time(quick: Bench) -> None:
    game = quick
    press(game, "x", "start")  # from its beginning
    first_name(game)
    until(game, lambda: game.read("drawing") == [0])
    rate = game.read("rate")[0]
    for button in ("a", "x", "y"):
        press(game, button)
        game.console.run(600)
        press(game, "r" if button == "y" else "b")
        name_done(game)
        assert game.read("rate")[0] == pytest.approx(rate, rel=0.25), "tenths of tokens a second"


def test_y_pauses_and_makes_one_token_a_press(game: Bench) -> None:
    first_name(game)
    press(game, "y")
    rest(game)
    count = game.read("list_tokens")[0]
    for presses in (1, 3):
        press(game, *["y"] * presses)
        rest(game)
        count += presses
        assert game.read("list_tokens")[0] == count
    assert "step" in screen(game)[22]
    press(game, "select", "y")
    rest(game)
    assert game.read("list_tokens")[0] == count + 1
    assert inside(game) == expected_inside(game)
    press(game, "select", "r")
    name_done(game)
    assert names(game) == expected_names(game, len(names(game)))


def test_a_new_list_forgets_what_y_asked_of_the_old(quick: Bench) -> None:
    finished(quick)
    press(quick, "y", "y", "y", "start")
    rest(quick)
    assert quick.read("list_tokens") == [1]


# ---- a block that is full ------------------------------------------------------------------------


def full(game: Bench) -> None:
    """Make a list whose last name fills the block: a letter was chosen where none may follow."""
    press(game, "r", "a", "up", *["right"] * (size(game) - 2), "start")
    finished(game)
    assert game.read("chosen")[0] < 26
    assert len(names(game)[-1]) == size(game)


def test_after_a_full_block_select_shows_its_last_position(game: Bench) -> None:
    full(game)
    for _ in range(2):
        press(game, "select")
        rest(game)
        assert inside(game) == expected_inside(game)
        assert len(inside(game).read) == size(game)
        press(game, "select")
        rest(game)
        assert "twenty new names" in screen(game)[3]
    press(game, "select", "start")
    fresh(game)


def test_after_a_full_block_each_button_does_what_it_says(quick: Bench) -> None:
    game, core = quick, quick.console._session.core
    full(game)
    saved, before = bytearray(core.serialize_size()), settings(game)
    assert core.serialize(saved)
    for button in BUTTONS:
        assert core.unserialize(bytes(saved))
        press(game, "select", button)
        if button in ("start", "up", "down"):
            fresh(game)
            assert (settings(game)[0] != 0x1990) == (button == "start")
            assert settings(game)[1:] == (4 + (button == "up") - (button == "down"), before[2])
            continue
        rest(game)
        assert settings(game) == before
        assert game.read("view") == [int(button != "select")]
        assert game.read("speed") == [{"l": SLOW, "y": PAUSED}.get(button, FAST)]
        assert game.read("editing") == [{"a": 1, "x": 2}.get(button, 0)]
        assert len(names(game)) == 20
        press(game, "start", "r")  # it takes what is edited, or a new seed
        fresh(game)
        assert (settings(game) == before) == (button in ("a", "x"))


def test_a_block_filled_by_a_program_is_shown_too(quick: Bench) -> None:
    """The mailbox steps beyond the block without effect, and SELECT repeats the last step."""
    console, n = quick.console, size(quick)
    console.ask(HALT)
    console.ask(RESET)
    tokens = [26, *range(n - 1)]
    for token in tokens:
        console.ask(STEP, token)
    done = quick.read("tokens_done")
    console.ask(STEP, 3)
    assert quick.read("tokens_done") == done
    logits = quick.read("logits", 27)
    press(quick, "select")
    rest(quick)
    assert quick.read("logits", 27) == logits
    assert inside(quick).read == "|" + "".join(letter(t) for t in tokens[1:])
    press(quick, "start")
    fresh(quick)


# ---- for long ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames", [2000, pytest.param(20_000, marks=pytest.mark.slow)], ids=lambda n: f"{n} frames"
)
def test_whatever_is_pressed_it_goes_on(quick: Bench, frames: int) -> None:
    """Random buttons: no letter is impossible, no screen dark, START always answers."""
    game, rng = quick, random.Random(frames)
    for _ in range(frames // 500):
        for _ in range(500):
            if rng.random() < 0.3:
                game.console.hold(*rng.sample(BUTTONS, rng.choice((0, 0, 1, 1, 1, 2, 4))))
            before = game.read("frames")[0]
            game.console.run()
            assert (game.read("frames")[0] - before) & 0xFFFF == 1
            possible(game)
        game.console.hold()
        game.console.run(2)
        taken(game)
        now = game.read("frames")[0]
        press(game, "start")
        begun(game, now)
        press(game, "y")
        rest(game)
        assert game.read("list_tokens")[0] > 0
        assert names(game) == expected_names(game, len(names(game)))
        if game.read("view")[0]:
            assert inside(game) == expected_inside(game)
        press(game, rng.choice("lr"))
    press(game, "r")
    finished(game)
    assert names(game) == expected_names(game)
    game.console.reset()
    game.console.write(game.console.at["watched"], 0)
    assert settings(game) == (0x1990, 4, ())
    assert first_name(game) == expected_names(game, 1)[0]


def possible(game: Bench) -> None:
    """Check that the game is in a state that it can be in, and the screen lit."""
    n = size(game)
    limits = {"token": 26, "position": n - 1, "temperature": 14, "prefix_length": n - 1}
    limits |= {"name_number": 20, "view": 1, "speed": PAUSED, "editing": 5, "turn": 1, "drawing": 3}
    for name, limit in limits.items():
        assert 0 <= game.read(name)[0] <= limit, name
    assert max(game.read("prefix", n)) < 26
    assert -1 <= game.read("chosen")[0] <= 26
    start = game.labels["names"]
    data = game.console.read(start, 20 * (n + 2))
    for codes in (list(data[i : i + n + 2]) for i in range(0, len(data), n + 2)):
        length = codes.index(0)
        assert length <= n
        assert all(97 <= code <= 122 for code in codes[:length])
        assert not any(codes[length:])
    tiles = game.console.words(game.labels["picture"], 32 * 28) & 0x3FF
    assert tiles.max() < tables.BIG + 4 * len(tables.BIG_LETTERS)
    assert game.console.screenshot().max() > 200


# ---- the screen ----------------------------------------------------------------------------------


def test_the_screen_shows_what_memory_holds(quick: Bench) -> None:
    """Letters read off the frame: the names, the settings, the tokens per second."""
    game = quick
    finished(game)
    lines, n = screen(game), size(game)
    assert "twenty new names" in lines[3]
    shown = [lines[5 + i % 10][3 + i // 10 * 14 :][:13].rstrip() for i in range(20)]
    assert shown == [name if len(name) < 14 else name[:12] + "+" for name in names(game)]
    assert names(game) == expected_names(game)
    assert lines[22] == " seed 1990  temp 0.5 speed fast "
    assert lines[23] == f" prefix {'-' * (n - 1):24}"
    assert float(lines[20].split()[-2]) == game.read("rate")[0] / 10
    press(game, "select", "l")
    rest(game)
    lines = screen(game)
    assert "what it attends to" in lines[3]
    assert "what may come next" in lines[14]
    assert lines[19][2:30] == "abcdefghijklmnopqrstuvwxyz| "
    assert lines[22] == " seed 1990  temp 0.5 speed slow "
    assert lines[25] == " START new SELECT names  Y step "


def test_the_view_inside_is_what_the_integers_say(game: Bench) -> None:
    """Letters, bars and marks, token by token: of a name's first positions and of its last."""
    press(game, "select", "y")
    for _ in range(size(game) + 3):
        press(game, "y")
        rest(game)
        assert inside(game) == expected_inside(game)


def test_a_scale_is_beside_the_bars(quick: Bench) -> None:
    """Its marks lie where bars of 100, 50 and 0 percent end, and no bar reaches the next head's."""
    press(quick, "select", "y")
    rest(quick)
    frame, lines = quick.console.screenshot().astype(int).sum(axis=2) > 200, screen(quick)
    assert lines[4][4:8] == lines[14][26:30] == "100%"
    for row in (6, 8, 10, 12):
        marks = frame[8 * row - 8 : 8 * row + 8, 8 * 8 + 3][::-1]
        assert np.flatnonzero(marks).tolist() == [0, 6, 13], "lines from the bottom"
    marks = frame[8 * 15 : 8 * 19, 8 * 29 + 2][::-1]
    assert np.flatnonzero(marks).tolist() == [0, 15, 31]


def test_long_names_end_with_a_mark_and_their_last_letters_are_shown(quick: Bench) -> None:
    """A prefix of all letters but one: the one that the model chose is to be seen."""
    press(quick, "r", "a", "up", *["right"] * (size(quick) - 2), "start")
    finished(quick)
    name = names(quick)[-1]
    assert name == expected_names(quick)[-1]
    assert big(quick) == name[-13:]
    press(quick, "select", "select")
    rest(quick)
    assert big(quick) == ""


def big(game: Bench) -> str:
    """Return the letters of double size below the list, by their tiles."""
    at = game.labels["picture"] + 17 * 64 + 3 * 2
    tiles = game.console.words(at, 26)[::2] & 0x3FF
    return "".join(chr(97 + (tile - tables.BIG) // 4) for tile in tiles if tile)


def test_no_frame_shows_half_of_a_drawing(quick: Bench) -> None:
    """Whenever the frame comes: what a routine begins with is not seen before what it ends with."""
    game, picture = quick, quick.labels["picture"]
    shown = np.frombuffer(game.console._session.core.get_memory(3), "<u2")[0x7000:0x7400].reshape(
        32, 32
    )
    junk = ord("?") - 32
    status = [(22, c) for c in (6, 7, 8, 9, 17, 18, 19, 27, 28, 29, 30)]
    status += [(23, 8 + i) for i in range(size(game) - 1)]
    press(game, "r")
    for number in range(40):
        for row, column in status:
            game.console.write(picture + 64 * row + 2 * column, junk)
        game.console.hold("start" if number % 2 else "r")
        for frame in range(30):
            if frame == 3:
                game.console.hold()
            if not game.read("drawing")[0]:
                game.console.write(game.labels["dirty"], 1)
            game.console.run()
            left = sum(shown[place] & 0x3FF == junk for place in status)
            assert left in (0, len(status))
            for row, column in ((1, 2), (3, 1), (20, 18), (25, 1), (26, 1)):
                assert shown[row, column], "of a screen that was cleared, all is there again"


def test_the_screen_is_what_libretro_py_makes_of_it(quick: Bench) -> None:
    """Point by point, in all forms that a core may choose; cores here choose the first."""
    from libretro.api.video import PixelFormat
    from libretro.drivers import ArrayVideoDriver

    screen = quick.console._screen
    for form, pitch in [("XRGB8888", 1024), ("RGB565", 512), ("RGB1555", 528)]:
        oracle = ArrayVideoDriver()
        oracle.pixel_format = screen.pixel_format = PixelFormat[form]
        oracle._frame = array("B", random.Random(1).randbytes(224 * pitch))
        screen.refresh(memoryview(oracle._frame), 256, 224, pitch)
        oracle._last_width, oracle._last_height, oracle._last_pitch = 256, 224, pitch
        shot = oracle.screenshot()
        assert shot
        points = np.frombuffer(shot.data, np.uint8).reshape(224, 256, 4)
        assert (quick.console.screenshot() == points[:, :, :3]).all()
