"""The console: each routine against Python, every token against the integer model, three bugs.

Needs cc65 and an emulator core; the lists of names also run on Snes9x where stable-retro has one.
"""

import json
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from bench.snes import table
from microgpt import engines
from microgpt.arrays import State
from microgpt.config import GPTConfig
from microgpt.engines.base import initial_state
from microgpt.engines.fixed import FixedEngine
from microgpt.engines.snes import SnesEngine
from microgpt.integers.base import IntegerModel, Random, exp_scale, generate, sample, softmax
from microgpt.integers.classic import Classic
from microgpt.snes import rom, tables
from microgpt.snes.console import HALT, Console
from microgpt.snes.emulator import find_core
from tests.test_integers import matrix, order_is_full

ROOT = Path(__file__).parent.parent
SIZES = GPTConfig(block_size=8)
EDGES = [0, 1, 2, 127, 128, 255, 256, 257, 0x7FFF, 0x8000, 0x8001, 0xFF00, 0xFFFE, 0xFFFF]
SPARE = 0x1800  # WRAM that the cartridge leaves alone
VECTORS = {
    "zeros": [0] * 16,
    "ones": [256] * 16,
    "small": [1, -1, 0, 2, -3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    "largest": [32767] * 16,
    "smallest": [-32768] * 16,
    "mixed": [32767, -32768, 0, 1, -1, 255, 256, -255, -256, -257, 127, 128, -128, 20000, -9, 7],
}


def missing() -> str | None:
    """Return what is not there to build and run a cartridge."""
    return engines.missing("snes")


pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def weights(seed: int, config: GPTConfig = SIZES) -> State:
    """Return parameters as large as trained ones, some of them larger than 1."""
    state = {n: 4 * a for n, a in initial_state(config, random.Random(seed)).items()}
    state["lm_head"][3, 5], state["layer0.mlp_fc1"][7, 2] = 1.5, -2.75
    return state


@dataclass
class Bench:
    """A cartridge in an emulator, with everything in it within reach by name."""

    console: Console
    labels: dict[str, int]
    model: IntegerModel
    data: bytes

    def call(self, routine: str, a: int = 0, x: int = 0, y: int = 0, **given: object) -> int:
        """Set variables (numbers or lists), call a routine, and return its A."""
        for name, value in given.items():
            self.console.write(self.labels[name], *(value if isinstance(value, list) else [value]))
        return self.console.call(self.labels[routine], a, x, y).a

    def read(self, name: str, count: int = 1) -> list[int]:
        """Return signed words of a variable."""
        words: list[int] = self.console.words(self.labels[name], count).tolist()
        return words

    def long(self, name: str) -> int:
        """Return a variable of 32 bits without sign."""
        low, high = self.read(name, 2)
        return low & 0xFFFF | (high & 0xFFFF) << 16


def plug(made: tuple[rom.Rom, IntegerModel]) -> Bench:
    return Bench(Console(made[0].data, watched=True), made[0].labels, made[1], made[0].data)


def still(made: tuple[rom.Rom, IntegerModel]) -> Bench:
    """Return a cartridge that makes no names, so that nothing overwrites what a test reads."""
    bench = plug(made)
    bench.console.ask(HALT)
    return bench


@pytest.fixture(scope="module")
def made() -> tuple[rom.Rom, IntegerModel]:
    return rom.build("classic", SIZES, weights(1))


@pytest.fixture(scope="module", params=rom.CARTRIDGES)
def each(request: pytest.FixtureRequest) -> tuple[rom.Rom, IntegerModel]:
    """Return each of the cartridges, one after another."""
    return make(request.param)


def make(name: str) -> tuple[rom.Rom, IntegerModel]:
    config = GPTConfig(block_size=rom.CARTRIDGES[name].block_size)
    return rom.build(name, config, weights(1, config))


@pytest.fixture(scope="module")
def bench(made: tuple[rom.Rom, IntegerModel]) -> Iterator[Bench]:
    bench = still(made)
    yield bench
    bench.console.close()


# ---- math.asm ------------------------------------------------------------------------------------


def test_products(bench: Bench) -> None:
    for a in EDGES:
        for b in EDGES:
            bench.call("mul16u", mul_a=a, mul_b=b)
            assert bench.long("product") == a * b
            bench.call("mul16s", mul_a=a, mul_b=b)
            assert bench.long("product") == signed(a) * signed(b) & 0xFFFFFFFF


def test_quotients(bench: Bench) -> None:
    for dividend in (0, 1, 9, 10, 65535, 65536, 2**31, 2**32 - 1, 601 * 148):
        for divisor in (1, 2, 10, 255, 256, 1000, 0x7FFF, 0x8000, 0xFFFF):
            halves = [dividend & 0xFFFF, dividend >> 16]
            bench.console.write(bench.labels["dividend"], *halves, divisor)
            left = bench.console.call(bench.labels["divide"])
            if dividend // divisor > 65535:
                assert left.a == 65535
            else:
                assert (left.a, left.x) == divmod(dividend, divisor)


@pytest.mark.parametrize(
    "numbers",
    [
        [0],
        [5, 5],
        [-32768, 32767],
        [32767, 32766, -1, 0],
        [0] * 27,
        list(range(-1300, 1400, 100)),
        [0, -1, -255, -256, -257, -2047, -2048, -2049],
    ],
    ids=lambda numbers: f"{len(numbers)} from {numbers[0]}",
)
def test_softmax(bench: Bench, numbers: list[int]) -> None:
    at, count = bench.labels, len(numbers)
    for scale in (exp_scale(0.1), exp_scale(0.5), exp_scale(1.5), 185):
        exps, probs = softmax(np.array(numbers), scale)
        bench.console.write(SPARE, *numbers)
        bench.call(
            "softmax",
            softmax_in=SPARE,
            softmax_out=at["probs"],
            softmax_count=count,
            softmax_scale=scale,
        )
        assert [e & 0xFFFF for e in bench.read("exps", count)] == exps.tolist()
        assert bench.long("exp_sum") == exps.sum()
        assert bench.read("probs", count) == probs.tolist()


def test_sampling(bench: Bench) -> None:
    for numbers in ([0], [1] * 27, [0, 300, -500], list(range(27))):
        exps = softmax(np.array(numbers) * 100, 739)[0]
        total = int(exps.sum())
        for r in (0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 12345):
            halves = [total & 0xFFFF, total >> 16]
            found = bench.call("sample", r, exps=exps.tolist(), exp_sum=halves)
            assert found == sample(exps, r)


def test_random_numbers_follow_the_model(bench: Bench) -> None:
    for seed in (0, 1, 0x1990, 0xFFFF):
        bench.call("seed_random", seed)
        model = Random(seed)
        for _ in range(20):
            assert bench.call("random") == model.draw()


def test_clocks_are_those_of_the_routine(bench: Bench) -> None:
    """A routine that only returns takes 6 cycles; what refreshing memory adds comes in 40s."""
    bench.console.write(SPARE, 0x60)  # rts
    assert -8 <= bench.console.call(SPARE).clocks <= 100


# ---- vector.asm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_dot_products(bench: Bench, vector: list[int]) -> None:
    """Rows of every kind of weight: |w| below 1, above it, the smallest; clamped sums count."""
    rows = [[0] * 16, [1] * 16, [-1] * 16, [255, -256] * 8, [256, -257] * 8, [3, -2000] * 8]
    rows += [[-4000] * 16, [32767] + [0] * 15, [-32768] + [0] * 15, [*range(-8, 8)]]
    model = Classic(SIZES, weights(1))
    model.weights["rows"] = np.array(rows)
    expected = model._linear(np.array(vector), "rows").tolist()
    biases = [128 - 32768 * sum(row) & 0xFFFFFFFF for row in rows]
    at = {name: SPARE + 0x40 * i for i, name in enumerate(("vector", "out", "bias", "rows"))}
    bench.console.write(at["vector"], *vector)
    bench.console.write(at["rows"], *(w for row in rows for w in row))
    bench.console.write(at["bias"], *(half for b in biases for half in (b & 0xFFFF, b >> 16)))
    bench.call(
        "linear",
        x=at["vector"],
        destination=at["out"],
        matrix=at["rows"],
        bias=at["bias"],
        rows=len(rows),
        columns=30,
        saturations=0,
    )
    assert bench.console.words(at["out"], len(rows)).tolist() == expected
    assert bench.read("saturations") == [model.saturations]


@pytest.mark.parametrize("a", VECTORS.values(), ids=VECTORS)
def test_sums_of_vectors(bench: Bench, a: list[int]) -> None:
    for b in VECTORS.values():
        model = Classic(SIZES, weights(1))
        expected = model._clamp(np.array(a) + np.array(b)).tolist()
        bench.console.write(SPARE, *a, *b)
        bench.call("add_vectors", x=SPARE, y=SPARE + 32, destination=SPARE + 64, saturations=0)
        assert bench.console.words(SPARE + 64, 16).tolist() == expected
        assert bench.read("saturations") == [model.saturations]


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_rmsnorm(bench: Bench, vector: list[int]) -> None:
    model = Classic(SIZES, weights(1))
    for shift in range(12):
        numbers = [x >> shift for x in vector]
        expected = model._rmsnorm(np.array([numbers]))[0].tolist()
        bench.console.write(SPARE, *numbers)
        bench.call("rmsnorm", x=SPARE, destination=SPARE + 64)
        assert bench.console.words(SPARE + 64, 16).tolist() == expected


def test_relu(bench: Bench) -> None:
    bench.console.write(SPARE, *EDGES)
    bench.call("relu", x=SPARE, y=2 * len(EDGES))
    assert bench.console.words(SPARE, len(EDGES)).tolist() == [max(0, signed(x)) for x in EDGES]


# ---- the multiplier's eight cycles ---------------------------------------------------------------

WRMPYB, RDMPY, READY, LONG_AGO = 0x4203, 0x4216, 8, 1000

# As many instructions as there are around multiplications: bytes; cycles; what 16 bits add to the
# cycles; of which register.
OPCODES = {
    **dict.fromkeys((0x18, 0x38, 0x0A, 0x4A, 0x5B, 0x88, 0xC8, 0xCA, 0xE8, 0xEA), (1, 2, 0, "")),
    **dict.fromkeys((0x10, 0x30, 0x90, 0xB0, 0xD0, 0xF0), (2, 2, 0, "")),  # branches
    **dict.fromkeys((0xC2, 0xE2), (2, 3, 0, "")),  # rep, sep
    **dict.fromkeys((0x64, 0x65, 0x85, 0xA5), (2, 3, 1, "m")),  # direct page
    **dict.fromkeys((0x84, 0x86, 0xA4, 0xA6), (2, 3, 1, "x")),
    0xB4: (2, 4, 1, "x"),
    0xE6: (2, 5, 2, "m"),
    **dict.fromkeys((0x71, 0x72), (2, 5, 1, "m")),
    **dict.fromkeys((0x6D, 0x8D, 0x9C, 0xAD, 0xFD), (3, 4, 1, "m")),  # absolute
    **dict.fromkeys((0x8C, 0x8E, 0xAC, 0xBC), (3, 4, 1, "x")),
    **dict.fromkeys((0xCE, 0xEE), (3, 6, 2, "m")),
    **dict.fromkeys((0x69, 0xA9), (2, 2, 1, "m")),  # immediate: a byte more, too
    **dict.fromkeys((0xA0, 0xC0), (2, 2, 1, "x")),
    0x80: (2, 3, 0, ""),  # bra
    0x4C: (3, 3, 0, ""),  # jmp
    0x60: (1, 6, 0, ""),  # rts
}


def waits(data: bytes, start: int) -> list[int]:
    """Return the cycles between each multiplication of a routine and each read of it.

    On every way through the program, at least; widths are followed along it.
    """
    found: list[int] = []
    seen: dict[tuple[int, bool, bool], int] = {}
    ahead = [(start, True, True, LONG_AGO)]  # address, 16 bits in A, in X, cycles since WRMPYB
    while ahead:
        at, m, x, elapsed = ahead.pop()
        if seen.get((at, m, x), 10**6) <= elapsed:
            continue
        seen[at, m, x] = elapsed
        opcode, operand = data[at - 0x8000], data[at - 0x7FFF]
        size, cycles, wider, register = OPCODES[opcode]
        wide = {"m": m, "x": x, "": False}[register]
        word = operand | data[at - 0x7FFE] << 8
        if size == 3 and word == RDMPY and elapsed < LONG_AGO:
            found.append(elapsed + 3)  # the opcode and the address are read before
        next_at = at + size + (wide and opcode in (0x69, 0xA0, 0xA9, 0xC0))
        elapsed = min(elapsed + cycles + wider * wide, LONG_AGO)
        if size == 3 and word == WRMPYB:
            elapsed = 0
        if opcode in (0xC2, 0xE2):
            m, x = ((opcode == 0xC2) if operand & bit else w for bit, w in ((32, m), (16, x)))
        if opcode == 0x60:
            continue
        if opcode == 0x4C:
            next_at = word
        elif opcode & 0x1F == 0x10 or opcode == 0x80:
            target = next_at + operand - 256 * (operand > 127)
            ahead.append((target, m, x, elapsed + (opcode != 0x80)))
            if opcode == 0x80:
                continue
        ahead.append((next_at, m, x, elapsed))
    return found


def test_no_product_is_read_before_it_is_ready(each: tuple[rom.Rom, IntegerModel]) -> None:
    """Most emulators have it at once; a console takes eight cycles. So they are counted."""
    made = each[0]
    routines = [made.labels[name] for name in ("mul16u", "dot") if name in made.labels]
    found = [cycles for start in routines for cycles in waits(made.data, start)]
    assert len(found) >= 4 * len(routines)
    assert min(found) >= READY


# ---- the whole: every token, every logit, every probability --------------------------------------

Asked = tuple[int, int, tuple[int, ...]]
LISTS: list[Asked] = [  # seed, temperature, prefix: 200 names
    (0x1990, 4, ()),
    (0x0000, 4, ()),
    (0xFFFF, 0, ()),
    (0x0001, 9, ()),
    (0xBEEF, 14, ()),
    (0x1234, 2, (10,)),
    (0x4321, 4, (12, 0, 17)),
    (0x0BAD, 7, (25, 25, 25, 25, 25, 25, 25)),
    (0xC0DE, 6, (4, 11)),
    (0x7777, 11, ()),
]
SOME_OR_ALL = pytest.mark.parametrize(
    "lists",
    [
        pytest.param([LISTS[4], LISTS[6]], id="40 names"),
        pytest.param(LISTS, id="200 names", marks=pytest.mark.slow),
    ],
)


def equal(console: Console, model: IntegerModel, lists: list[Asked]) -> int:
    """Check every token of some lists of names against the integer model; return how many."""
    count = 0
    for seed, temperature, prefix in lists:
        console.set(seed, temperature, prefix)
        expected = generate(model, seed, temperature, prefix)
        for found, record in zip(console.list(), expected, strict=True):
            assert str(found) == str(record)  # token, position, chosen, drawn
            assert (found.logits == record.logits).all()
            assert (found.probs == record.probs).all()
            count += 1
    return count


@SOME_OR_ALL
def test_every_token_is_exact(each: tuple[rom.Rom, IntegerModel], lists: list[Asked]) -> None:
    bench, model = still(each), each[1]
    bench.console.write(bench.labels["saturations"], 0)
    before = model.saturations
    assert equal(bench.console, model, lists) > 100 * len(lists)
    assert bench.read("saturations") == [model.saturations - before]
    bench.console.close()


@SOME_OR_ALL
def test_every_token_is_exact_on_snes9x(
    each: tuple[rom.Rom, IntegerModel], lists: list[Asked]
) -> None:
    found = find_spec("stable_retro")
    if not found or not found.origin:
        pytest.skip("stable-retro, which contains a Snes9x core, is not installed")
    core = Path(found.origin).parent / "cores" / "snes9x_libretro.so"
    with Console(each[0].data, core, watched=True) as console:
        assert equal(console, each[1], lists) > 100 * len(lists)


def test_20_names_are_exact_on_bsnes_accuracy(each: tuple[rom.Rom, IntegerModel]) -> None:
    try:
        core = find_core("bsnes_mercury_accuracy")
    except OSError as error:
        pytest.skip(str(error))
    with Console(each[0].data, core, watched=True) as console:
        assert equal(console, each[1], LISTS[:1]) > 20
        sky = console.screenshot()[::8, 2]  # this core powers on with noise in memory and registers
        assert sky[:, 1].max() < 16, "no green in it"
        assert (np.diff(sky[:, 2].astype(int)) <= 0).all(), "a blue that fades"


def test_pal_consoles_make_the_same_names(each: tuple[rom.Rom, IntegerModel]) -> None:
    with Console(each[0].data, pal=True, watched=True) as console:
        assert equal(console, each[1], LISTS[:1]) > 20


def test_the_console_is_an_engine(each: tuple[rom.Rom, IntegerModel]) -> None:
    """The contract's inference half: inspection and steps, equal to the integers' to the bit."""
    size, seed = each[1].config.block_size, random.Random(2)
    tokens = [26, *(seed.randrange(27) for _ in range(size - 1))]
    console, integers = SnesEngine.of(each[0].data, each[1]), FixedEngine.of(each[1])
    found, expected = console.inspect(tokens), integers.inspect(tokens)
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    for _ in range(2):
        assert [console.step(t).tolist() for t in tokens] == expected["logits"].tolist()
        with pytest.raises(ValueError, match=f"block_size {size}"):
            console.step(0)
        console.reset()
    with pytest.raises(ValueError, match=f"{size + 1} tokens do not fit"):
        console.inspect([0] * (size + 1))
    with pytest.raises(ValueError, match="token 27"):
        console.step(27)


# ---- the cartridge -------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("core", ["bsnes_mercury_performance", "bsnes_mercury_accuracy"])
def test_a_console_switched_off_gives_its_memory_back(bench: Bench, core: str) -> None:
    """Each console has a core of its own, of 88 MB; four of them fit in less than two."""

    def megabytes() -> float:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    try:
        path = find_core(core)
    except OSError as error:
        pytest.skip(str(error))
    before = megabytes()
    for _ in range(4):
        with Console(bench.data, path):
            on = megabytes()
    assert on - before > 50, "a core takes less than this test believes"
    assert megabytes() - before < 100


def test_the_memory_of_a_console_switched_off_cannot_be_read(bench: Bench) -> None:
    """It is unmapped: to read it would end the process."""
    with Console(bench.data) as console:
        assert console.word(0) == int.from_bytes(console.read(0, 2), "little")
    for use in (lambda: console.word(0), lambda: console.words(0, 2), lambda: console.read(0, 2)):
        with pytest.raises(ValueError, match="released memoryview"):
            use()
    with pytest.raises(ValueError, match="released memoryview"):
        console.write(0, 1)


def test_the_header_is_right(bench: Bench) -> None:
    data = bench.data
    assert len(data) == 32768
    assert data[0x7FC0:0x7FD5] == b"MICROGPT CLASSIC     "
    assert data[0x7FD5:0x7FD8] == bytes([0x30, 0x00, 0x05])  # LoROM at 3.58 MHz; 32 KB
    complement, checksum = (int.from_bytes(data[i : i + 2], "little") for i in (0x7FDC, 0x7FDE))
    assert checksum == sum(data) & 0xFFFF
    assert checksum ^ complement == 0xFFFF


def test_building_twice_gives_the_same_cartridge(bench: Bench) -> None:
    assert rom.build("classic", SIZES, weights(1))[0].data == bench.data


def test_a_larger_block_size_is_cut(bench: Bench) -> None:
    long = GPTConfig(block_size=16)
    state = {**weights(1), "wpe": np.concatenate([weights(1)["wpe"], np.ones((8, 16))])}
    assert rom.build("classic", long, state)[0].data == bench.data


def test_an_engine_takes_the_cartridge_of_its_size() -> None:
    assert [rom.of_size(size) for size in (8, 16)] == ["classic", "turbo"]
    with pytest.raises(ValueError, match=r"block_size is 9; cartridges read 8 \(classic\) and 16"):
        SnesEngine(GPTConfig(block_size=9), weights(1))


def test_what_is_no_cartridge_is_refused() -> None:
    with pytest.raises(ValueError, match="not a MicroGPT cartridge"):
        Console(b"\0" * 32768)
    with pytest.raises(ValueError, match="not a MicroGPT cartridge"):
        Console(b"MICROGPT")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_embd": 32}, "n_embd is 32; a cartridge holds models of n_layer 1, n_embd 16"),
        ({"n_layer": 2}, "n_layer is 2"),
        ({"vocab_size": 30}, "vocab_size is 30"),
        ({"block_size": 4}, "block_size is 4; the classic cartridge reads 8"),
    ],
)
def test_models_that_do_not_fit_are_refused(sizes: dict[str, int], message: str) -> None:
    config = GPTConfig(**{"block_size": 8, **sizes})
    with pytest.raises(ValueError, match=message):
        rom.build("classic", config, initial_state(config, random.Random(1)))


def test_without_the_assembler_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(OSError, match="apt-get install cc65.*macOS.*Windows"):
        rom.build("classic", SIZES, weights(1))


def test_without_a_core_it_says_how_to_get_one() -> None:
    with pytest.raises(OSError, match="there is no core nope; .*apt-get install"):
        find_core("nope")


def test_the_clocks_in_the_docs_are_those_measured() -> None:
    measured = json.loads((ROOT / "bench" / "snes.json").read_text("utf-8"))
    assert "\n".join(table(measured)) in (ROOT / "docs" / "cartridge.md").read_text("utf-8")


# ---- three bugs of the port that came before, and what catches each ------------------------------

WIDTHS = """
        .include "snes.inc"
        .export forgets_i16
        .segment "CODE"
        .a8
        .i8
forgets_i16:
        rep #$30                ; A, X and Y have 16 bits ...
        .a16                    ; ... and the assembler knows it of A only
        ldx #5                  ; two bytes; the processor reads three
        inx
        rts
"""
RANDOM = """
        .include "snes.inc"
        .segment "CODE"
routine swaps, 16, 16
        lda prng_x
        xba                     ; taken for a shift to the left by 8
        eor prng_x
        sta prng_x
        xba
        lsr
        and #$007F
        eor prng_x              ; x ^= x >> 9
        sta prng_x
        xba
        and #$FF00
        eor prng_x              ; x ^= x << 8
        sta prng_x
        rts
.endproc
"""
CLOBBER = """
        .include "snes.inc"
        .export numbers
        .segment "BSS"
numbers: .res 8
        .segment "CODE"
; Add up the squares of four numbers.
;   OUT       A
;   CLOBBERS  A X Y mul_a mul_b place
routine squares, 16, 16
        stz product             ; a sum where multiplication keeps its result
        ldx #6
@next:  stx dividend
        lda numbers,x
        sta mul_a
        sta mul_b
        lda product
        pha
        call mul16u
        pla
        clc
        adc product
        ldx dividend
        dex
        dex
        bpl @next
        lda product
        rts
.endproc
"""


def with_source(text: str) -> tuple[rom.Rom, IntegerModel]:
    """Return the classic cartridge with one source more."""
    model = Classic(SIZES, weights(1))
    return rom.assemble(
        rom.spec("classic"), {**tables.classic(model), "bug.asm": text.encode()}
    ), model


def test_bug_a_width_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """`.a16` without `.i16`: `ldx #5, inx` runs as `ldx #$E805`. The check of sources."""
    with pytest.raises(ValueError, match=r"bug.asm:5: `.a8` changes a width"):
        with_source(WIDTHS)
    with monkeypatch.context() as unchecked:
        unchecked.setattr(rom, "check_widths", lambda source: None)
        bench = still(with_source(WIDTHS))
    assert bench.console.call(bench.labels["forgets_i16"]).x == 0xE805
    bench.console.close()


@pytest.mark.parametrize("line", ["a8\n        call random", "i8\n        call random"])
def test_a_call_in_other_widths_is_refused(line: str) -> None:
    source = f'.include "snes.inc"\n.segment "CODE"\nroutine caller, 16, 16\n {line}\n.endproc\n'
    with pytest.raises(ValueError, match="call in other widths than it expects: random"):
        with_source(source)


def test_bug_a_swap_for_a_shift(bench: Bench) -> None:
    """`xba` loses half of the bits: soon the number stays the same. The test of the period."""
    broken = still(with_source(RANDOM))
    broken.call("swaps", prng_x=0x1990)
    broken.call("swaps")
    stuck = broken.read("prng_x")
    broken.call("swaps")
    assert broken.read("prng_x") == stuck

    def draw16(state: int) -> int:
        broken.call("swaps", prng_x=state)
        return broken.read("prng_x")[0] & 0xFFFF

    assert not order_is_full(matrix(draw16, 16), 16)
    broken.console.close()

    def draw32(state: int) -> int:
        bench.call("random", prng_x=state & 0xFFFF, prng_y=state >> 16)
        return bench.read("prng_x")[0] & 0xFFFF | (bench.read("prng_y")[0] & 0xFFFF) << 16

    columns = matrix(draw32)
    assert order_is_full(columns, 32), "the console's own code: period 2^32 - 1"
    rng = random.Random(1)
    for _ in range(20):  # and it is linear, as the argument needs
        state, expected = rng.getrandbits(32), 0
        for bit in range(32):
            expected ^= columns[bit] * (state >> bit & 1)
        assert draw32(state) == expected


def test_bug_a_shared_variable() -> None:
    """A sum kept where multiplication keeps its product is lost. The test of what is clobbered."""
    broken = still(with_source(CLOBBER))
    assert broken.call("squares", numbers=[1, 2, 3, 4]) != 1 + 4 + 9 + 16
    changed = clobbered(broken, "squares")
    assert "product" in changed - documented(CLOBBER)["squares"]
    broken.console.close()


ROUTINES: dict[str, dict[str, object]] = {  # what each needs to run on
    "mul16u": {},
    "mul16s": {},
    "divide": {"divisor": 77},
    "exponentials": {"softmax_in": SPARE, "softmax_count": 5},
    "softmax": {"softmax_in": SPARE, "softmax_out": SPARE + 64, "softmax_count": 5},
    "random": {},
    "seed_random": {},
    "sample": {"exps": [65535], "exp_sum": [65535, 0]},
    "linear": {"destination": SPARE, "matrix": SPARE, "bias": SPARE, "rows": 3, "columns": 30},
    "dot": {"matrix": SPARE, "bias": SPARE, "columns": 30},
    "add_vectors": {"destination": SPARE},
    "rmsnorm": {"destination": SPARE},
    "relu": {},
    "attend": {"position": 3},
}


TIMED: dict[str, dict[str, object]] = {  # of the game, what takes the same with every model
    "gpt_reset": {},
    "gpt_step": {"token": 3},
    "choose": {},
    "record": {},
    "take_press": {},
    "draw_inside": {},
    "draw_status": {},
    "draw_frame": {},
    "draw_rate": {"rate": 801},
    "draw_letter": {"chosen": 3, "position": 5},
}


def headers() -> dict[tuple[str, str], str]:
    """Return the comment above each routine, by its source and name."""
    return {
        (source.relative_to(tables.ASM).with_suffix("").as_posix(), name): header
        for source in tables.ASM.rglob("*.asm")
        for header, name in re.findall(
            r"((?:^;.*\n)*)routine (\w+),", source.read_text("utf-8"), re.M
        )
    }


def test_every_routine_says_what_it_takes_and_gives() -> None:
    fields = ["IN", "OUT", "CLOBBERS", "CLOCKS"]
    for name, header in headers().items():
        assert re.findall(r"^;   ([A-Z]+)  ", header, re.M) == fields, name


def test_no_routine_is_slower_than_its_header_says(each: tuple[rom.Rom, IntegerModel]) -> None:
    """At the last position, nobody watching; of several numbers the largest counts."""
    bench, last = still(each), each[1].config.block_size - 1
    bench.console.write(bench.console.at["watched"], 0)
    calls = TIMED | (ROUTINES if last == 7 else {})
    sources = rom.CARTRIDGES[rom.of_size(last + 1)].sources
    for (source, name), header in headers().items():
        if source not in sources or name not in calls:
            continue
        for variable, value in {"position": last, **calls[name]}.items():
            words = value if isinstance(value, list) else [value]
            bench.console.write(bench.labels[variable], *words)
        left = bench.console.call(bench.labels[name], x=SPARE, y=SPARE if name != "relu" else 128)
        numbers = re.findall(r"[\d,]*\d", header.split("CLOCKS")[1])
        assert left.clocks <= 1.05 * max(int(n.replace(",", "")) for n in numbers) + 50, name
    bench.console.close()


def test_every_routine_of_the_arithmetic_is_among_them() -> None:
    sources = "".join((tables.ASM / f"{name}.asm").read_text() for name in ("math", "vector"))
    assert set(re.findall(r"^routine (\w+),", sources, re.M)) <= ROUTINES.keys()


@pytest.mark.parametrize("routine", ROUTINES)
def test_routines_change_what_they_say_and_no_more(bench: Bench, routine: str) -> None:
    """Every variable of the direct page holds a sentinel; what changed must be in the header."""
    headers: dict[str, set[str]] = {}
    for source in ("math", "vector", "gpt"):
        headers |= documented((tables.ASM / f"{source}.asm").read_text())
    changed = clobbered(bench, routine, **ROUTINES[routine])
    assert changed <= headers[routine]


def documented(source: str) -> dict[str, set[str]]:
    """Return, for each routine of a source, the names that its header says it changes."""
    found = {}
    for header, name in re.findall(r"((?:^;.*\n)+)routine (\w+),", source, re.M):
        changes = re.findall(r"^;   (?:OUT|CLOBBERS)  (.*(?:\n;      .*)*)", header, re.M)
        found[name] = set(re.findall(r"\w+", " ".join(changes)))
    return found


def clobbered(bench: Bench, routine: str, **given: object) -> set[str]:
    """Return the variables of the direct page that a routine changes, whatever is in them."""
    variables = sorted(
        (bench.labels[name], name)
        for source in tables.ASM.glob("*.asm")
        for name in re.findall(
            r"^(\w+): +\.res", source.read_text().split('"BSS"')[0].split('"CODE"')[0], re.M
        )
        if bench.labels.get(name, 0x100) < 0x100 and source.stem not in ("main", "inference")
    )
    ends = [address for address, _ in variables[1:]] + [variables[-1][0] + 2]
    changed = set()
    for sentinel in (0x5A5A, 0x0003):
        for address, _ in variables:
            bench.console.write(address, sentinel)
        for name, value in given.items():
            bench.console.write(
                bench.labels[name], *(value if isinstance(value, list) else [value])
            )
        before = bench.console.read(0, 0x100)
        bench.console.call(bench.labels[routine], x=SPARE, y=SPARE if routine != "relu" else 32)
        after = bench.console.read(0, 0x100)
        for (start, name), end in zip(variables, ends, strict=True):
            if before[start:end] != after[start:end]:
                changed.add(name)
    return changed


def signed(word: int) -> int:
    return word - 0x10000 if word & 0x8000 else word
