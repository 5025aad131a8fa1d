"""Play both cartridges and keep three pictures of the screen: names, a prefix, the view inside.

python scripts/cartridge_pictures.py classic.sfc turbo.sfc docs
"""

import sys
from pathlib import Path

from microgpt.cartridge import Press, play

FIRST, APART = 320, 30  # frames: some names are there; a button is seen between two tokens
PREFIX = ["a", *["up"] * 13, "right", "right", *["down"] * 9]  # mar: a letter begins as an a
INSIDE = [*PREFIX, "start", "select", *["y"] * 7]  # a token a press


def picture(cartridge: Path, buttons: list[str], path: Path) -> None:
    """Press the buttons one after another, or wait for twenty names; keep the screen."""
    presses = [Press(button, FIRST + APART * i) for i, button in enumerate(buttons)]
    frames = FIRST + APART * (len(buttons) + 1) if buttons else None
    for _ in play(cartridge.read_bytes(), None, frames, presses, path):
        pass


classic, turbo, folder = map(Path, sys.argv[1:])
picture(turbo, [], folder / "cartridge-names.png")
picture(classic, PREFIX, folder / "cartridge-prefix.png")
picture(classic, INSIDE, folder / "cartridge-inside.png")
