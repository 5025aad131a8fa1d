"""A cartridge being played by a program: its mailbox, its ring buffer, its settings, by name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microgpt.integers.base import Choice
from microgpt.snes.emulator import Emulator
from microgpt.snes.rom import read_directory

HALT, RESET, STEP, LIST, CALL = range(1, 6)  # what the mailbox takes: see inference.asm
RECORD, N_RECORDS = 128, 64
STARTUP = 30  # frames until the cartridge has set itself up and looks into its mailbox
CLOCKS_PER_LINE = 1364
CALL_CLOCKS = 940  # what a call takes besides the routine; 40 more where memory is refreshed
NOTHING = 0x1E00  # the stack's last byte, never reached: a routine that does nothing


@dataclass(frozen=True)
class Registers:
    """The processor's registers after a routine, and the clocks it took (21.477 MHz)."""

    a: int
    x: int
    y: int
    p: int
    clocks: int


class Console(Emulator):
    """An emulator with one of our cartridges in it.

    Where a program watches, the cartridge also computes what only the view inside would show:
    probabilities, attention, residual, hidden units. It is then slower than a console is.

    Raises:
        OSError: there is no core, or libretro.py is not installed.
        ValueError: it is not one of our cartridges.
    """

    def __enter__(self) -> "Console":
        return self

    def __init__(
        self,
        rom: bytes,
        core: str | os.PathLike[str] | None = None,
        pal: bool = False,
        watched: bool = False,
    ) -> None:
        self._watched = watched
        self.cartridge, self.at = read_directory(rom)
        super().__init__(rom, core, pal)
        self._lines = 312 if pal else 262
        self._start()

    def reset(self) -> None:
        """Press the console's reset button."""
        super().reset()
        self._start()

    def _start(self) -> None:
        self.run(STARTUP)
        self.write(self.at["watched"], int(self._watched))
        self._read = 0  # records read

    def ask(self, command: int, argument: int = 0, limit: int = 600) -> int:
        """Give the cartridge a command and wait until it is done; return the frames it took."""
        self.write(self.at["argument"], argument)
        self.write(self.at["command"], command)
        return self.wait(self.at["command"], limit=limit)

    def step(self, token: int) -> NDArray[np.int64]:
        """Let the model read a token; return the logits (27,) of the next, in the model's units."""
        self.ask(STEP, token)
        return self.words(self.at["logits"], 27)

    def logits(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """Let the model read T tokens from position 0; return the logits (T, 27) after each."""
        self.ask(RESET)
        return np.array([self.step(token) for token in tokens])

    def call(self, address: int, a: int = 0, x: int = 0, y: int = 0, limit: int = 600) -> Registers:
        """Call a routine of the cartridge; return what it left in the registers, and its clocks."""
        self.write(self.at["registers"], a, x, y, 0)
        self.ask(CALL, address, limit)
        left = self.at["registers"]
        before, after = self.words(self.at["beam"], 6).reshape(2, 3).tolist()
        a, x, y, p = (self.word(left + 2 * i) for i in range(4))
        return Registers(a, x, y, p, self._clocks(after) - self._clocks(before) - CALL_CLOCKS)

    def _clocks(self, beam: list[int]) -> int:
        frames, line, dot = beam  # frames are counted from the blank on: line 225
        return (
            (frames & 0xFFFF) * self._lines + (line - 225) % self._lines
        ) * CLOCKS_PER_LINE + 4 * dot

    def set(self, seed: int, temperature: int = 4, prefix: tuple[int, ...] = ()) -> None:
        """Choose what names the next list is to have."""
        self.write(self.at["seed"], seed)
        self.write(self.at["temperature"], temperature)
        self.write(self.at["prefix_length"], len(prefix))
        self.write(self.at["prefix"], *prefix)

    def list(self, limit: int = 6000) -> Iterator[Choice]:
        """Make twenty names as they were set; yield every token, once it is there."""
        self.ask(HALT)
        self._read = self.word(self.at["tokens_done"])
        self.ask(LIST)
        waited = 0
        while self.word(self.at["name_number"]) < 20 or self.unread:
            if not self.unread:
                self.run()
                waited += 1
                if waited > limit:
                    raise RuntimeError(f"the list is not done after {limit} frames")
            else:
                yield self.choice()

    @property
    def unread(self) -> int:
        """How many records lie in the ring buffer unread.

        Raises:
            RuntimeError: more than it holds were written since the last was read.
        """
        count = (self.word(self.at["tokens_done"]) - self._read) & 0xFFFF
        if count > N_RECORDS:
            raise RuntimeError(
                f"{count} records since the last one read; the ring holds {N_RECORDS}"
            )
        return count

    def choice(self) -> Choice:
        """Return the next token of the list: a record of the ring buffer."""
        start = self.at["ring"] + self._read % N_RECORDS * RECORD
        self._read = (self._read + 1) & 0xFFFF
        token, position, chosen, drawn = self.words(start, 4).tolist()
        logits, probs = self.words(start + 12, 54).reshape(2, 27)
        return Choice(token, position, chosen, drawn & 0xFFFF, logits, probs)
