"""The console in the page: a cartridge in an emulator, its picture as events, the pad as commands.

The page says which picture it has drawn (`seen`). When several are on their way the console goes
on, but sends none: a slow reader sees fewer pictures, never old ones, and nothing piles up.
"""

import base64
import time
from collections.abc import Collection, Iterator
from typing import Any

from microgpt import cartridge
from microgpt.checkpoint import Checkpoint
from microgpt.lab.jobs.controls import Controls, Event
from microgpt.snes.console import Console
from microgpt.snes.emulator import BUTTONS, png

CLOCKS = 21_477_272  # a second of an NTSC console
FRAME = 357_366 / CLOCKS  # seconds
BEHIND = 0.1  # seconds that a slow machine may catch up; more are given up
EVERY = 3  # frames between two looks at the screen: 20 pictures a second at most
AHEAD = 3  # pictures on their way to the page at most
BEAT = 30  # frames after which the figures are sent although the picture has not changed
COMMANDS = {"paused", "step", "hold", "reset", "seen"}


def make(shown: Checkpoint, shipped: Checkpoint, name: str) -> dict[str, Any]:
    """Return a cartridge, and whose model is in it: that which is shown, or else what ships.

    `unfit` says why it is not the one shown, `cut` what of the model it has no room for.

    Raises:
        OSError: the assembler is not there.
        ValueError: there is no such cartridge.
    """
    unfit = None
    try:
        built = cartridge.build(name, shown)
    except ValueError as error:
        built, unfit = cartridge.build(name, shipped), str(error)
    rom = base64.b64encode(built.rom.data).decode()
    return {"cartridge": name, "rom": rom, "unfit": unfit, "cut": built.cut}


class Pad(Controls):
    """The console's controls: the buttons held, reset, and the last picture that the page drew."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0  # the number of the last picture that the page has drawn
        self._held: Collection[str] = ()
        self._pressed: set[str] = set()  # since the last frame, even if let go again
        self._reset = False

    def _set(self, command: Event) -> None:
        held, seen = command.get("hold", self._held), command.get("seen", self.seen)
        reset = command.get("reset", False)
        if unknown := command.keys() - COMMANDS:
            raise ValueError(f"the console knows no {min(unknown)!r}; it knows {sorted(COMMANDS)}")
        if not isinstance(held, list | tuple) or not all(button in BUTTONS for button in held):
            raise ValueError(f"hold is {held!r}; it must be a list of {', '.join(BUTTONS)}")
        if type(seen) is not int or seen < 0:
            raise ValueError(f"seen is {seen!r}; it must be the number of a picture")
        if type(reset) is not bool:
            raise ValueError(f"reset is {reset!r}; it must be true or false")
        super()._set(command)
        self._held, self.seen = held, seen
        self._pressed.update(held)
        if reset:
            self._reset, self.steps = True, self.steps + self.paused  # and it is to be seen

    def read(self) -> tuple[set[str], bool]:
        """Return the buttons to hold for a frame, and whether to press reset before it."""
        with self._changed:
            taken = {*self._held, *self._pressed}, self._reset
            self._pressed, self._reset = set(), False
        return taken


def play(question: Event, pad: Pad) -> Iterator[Event | float]:
    """Run a cartridge in real time, never faster, until nobody looks any more."""
    data = base64.b64decode(question["rom"])
    with Console(data) as console:
        yield about(console, data) | {key: question[key] for key in ("unfit", "cut")}
        frame = number = last = 0
        screen = b""
        began = next_at = time.monotonic()
        while True:
            # the first frame is shown even where it is to begin paused
            rested = bool(frame) and pad.paused
            while frame and (seconds := pad.take(next_at)):
                rested |= pad.paused
                yield seconds
            now = time.monotonic()
            if rested:
                last, began = frame, now
            next_at = max(next_at, now - BEHIND) + FRAME
            held, reset = pad.read()
            if reset:
                console.reset()
            console.hold(*held)
            console.run()
            frame += 1
            if number - pad.seen >= AHEAD or not (pad.paused or frame % EVERY == 0):
                continue
            image = console.screenshot()
            if image.tobytes() == screen and frame - last < BEAT and not pad.paused:
                continue
            number += 1
            event = {"number": number, "frame": frame, **figures(console)}
            if not pad.paused:
                event["pace"] = (frame - last) / max(now - began, 1e-9)
            if image.tobytes() != screen:
                event["picture"] = base64.b64encode(png(image, zoom=1)).decode()
            yield event
            screen, last, began = image.tobytes(), frame, now


def about(console: Console, data: bytes) -> Event:
    """Return what is being played, and by what."""
    core = console.core.stem.removesuffix("_libretro").replace("_", " ")
    return {"cartridge": console.cartridge, "bytes": len(data), "core": core}


def figures(console: Console) -> Event:
    """Return the names that the list on the screen has, and tokens/s as the cartridge counts."""
    size, start = console.at["block_size"] + 2, console.at["names"]
    count = min(console.word(console.at["name_number"]), 20)
    letters = (console.read(start + i * size, size) for i in range(count))
    names = [name.split(b"\0")[0].decode("ascii") for name in letters]
    return {"names": names, "rate": console.word(console.at["rate"]) / 10}
