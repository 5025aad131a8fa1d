"""What a cartridge holds besides its program: tables, weights, tiles, colours."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from microgpt.integers.base import EXP, TEMPERATURES, exp_scale
from microgpt.integers.classic import RSQRT, Classic

ASM = Path(__file__).with_name("asm")
FRAME, BAR, BIG = 96, 104, 113  # the first tiles of each kind; those before are letters, by ASCII
BIG_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

PALETTES = [  # shadow, lower half, upper half of a letter; red, green, blue of 31
    [(3, 3, 8), (23, 25, 29), (31, 31, 31)],  # white
    [(8, 3, 4), (31, 17, 4), (31, 27, 10)],  # gold
    [(2, 5, 8), (8, 22, 24), (16, 29, 28)],  # teal
    [(5, 3, 10), (31, 26, 12), (31, 31, 20)],  # bright
    [(2, 5, 6), (8, 21, 10), (17, 29, 14)],  # green
    [(8, 2, 4), (28, 9, 9), (31, 18, 12)],  # red
    [(4, 3, 10), (13, 10, 24), (20, 17, 31)],  # violet
    [(2, 2, 6), (13, 14, 20), (17, 18, 24)],  # grey
]


def words(numbers: Iterable[int]) -> bytes:
    """Return 16-bit numbers, signed or not, the low byte first."""
    return b"".join((int(x) & 0xFFFF).to_bytes(2, "little") for x in numbers)


def files() -> dict[str, bytes]:
    """Return every file that the sources include, by name; the weights excepted."""
    return {
        "exp.bin": words(EXP),
        "rsqrt.bin": words(RSQRT),
        "temperatures.bin": words(exp_scale(t) for t in TEMPERATURES),
        "tiles.bin": tiles(),
        "palette.bin": palette(),
        "sky_blue.bin": sky(0x80, 13, 4),
        "sky_red.bin": sky(0x20, 5, 0),
    }


def classic(model: Classic) -> dict[str, bytes]:
    """Return the weights as the classic cartridge reads them, by file name.

    A row's bias takes off what linear in vector.asm adds to its sum, and adds the half that
    rounds.
    """
    matrices = {name: model.weights[name] for name, _ in model.config.shapes()}
    rows = [w.sum(axis=1) for name, w in matrices.items() if name not in ("wte", "wpe")]
    biases = 128 - (np.concatenate(rows) << 15)
    return {
        "weights.bin": b"".join(words(w.ravel()) for w in matrices.values()),
        "biases.bin": biases.astype("<u4").tobytes(),
    }


def font() -> dict[str, np.ndarray]:
    """Return the letters of font.txt: 8 x 8 points each, 1 where there is ink."""
    letters: dict[str, np.ndarray] = {}
    lines = [x for x in (ASM / "font.txt").read_text().split("\n") if x and not x.startswith("# ")]
    for start in range(0, len(lines), 9):
        for i, letter in enumerate(lines[start].removeprefix("= ")):
            rows = [line.split()[i] for line in lines[start + 1 : start + 9]]
            letters[letter] = np.array([[c == "#" for c in row + ".."] for row in rows], dtype=int)
    return letters


def tiles() -> bytes:
    """Return all tiles, 16 bytes each: letters, frame, bars, letters of double size."""
    letters, drawn = font(), []
    for code in range(32, 128):
        drawn.append(_shade(letters.get(chr(code), np.zeros((8, 8), int))))
    drawn += _frame()
    for level in range(9):
        bar = np.zeros((8, 8), int)
        bar[8 - level :, :6] = 2
        bar[8 - level :, 1:3] = 3
        bar[8 - level :, 6] = 1
        drawn.append(bar)
    for letter in BIG_LETTERS:
        large = _shade(letters[letter].repeat(2, axis=0).repeat(2, axis=1))
        drawn += [large[y : y + 8, x : x + 8] for y in (0, 8) for x in (0, 8)]
    return b"".join(_planes(tile) for tile in drawn)


def palette() -> bytes:
    """Return eight palettes of four colours; the first colour is the backdrop's."""
    return words(
        red | green << 5 | blue << 10
        for colours in PALETTES
        for red, green, blue in [(0, 0, 1), *colours]
    )


def sky(component: int, top: int, bottom: int) -> bytes:
    """Return an HDMA table for COLDATA: a component of the colour, changing every 8 lines."""
    values = np.rint(np.linspace(top, bottom, 28)).astype(int)
    return b"".join(bytes([8, component | int(v)]) for v in values) + b"\0"


def _shade(ink: np.ndarray) -> np.ndarray:
    """Return colours: light above, darker below, a shadow to the lower right."""
    size = len(ink)
    shadow = np.zeros_like(ink)
    shadow[1:, 1:] = ink[:-1, :-1]
    light = np.where(np.arange(size)[:, None] < size * 4 // 8, 3, 2)
    return np.where(ink, light, shadow)


def _frame() -> list[np.ndarray]:
    """Return eight tiles: corners and sides of a frame, a bright line and a dark one inside."""
    whole = np.zeros((24, 24), int)
    whole[2:22, 2:22] = 3
    whole[3:21, 3:21] = 2
    whole[4:20, 4:20] = 1
    whole[5:19, 5:19] = 0
    for y, x in ((2, 2), (2, 21), (21, 2), (21, 21)):
        whole[y, x] = 0
    places = [(0, 0), (0, 8), (0, 16), (8, 0), (8, 16), (16, 0), (16, 8), (16, 16)]
    return [whole[y : y + 8, x : x + 8] for y, x in places]


def _planes(tile: np.ndarray) -> bytes:
    """Return a tile of 8 x 8 colours (0 to 3) as the PPU stores it: a byte of each plane a row."""
    bits = [np.packbits((tile >> plane & 1).astype(np.uint8), axis=1)[:, 0] for plane in (0, 1)]
    return np.stack(bits, axis=1).astype(np.uint8).tobytes()
