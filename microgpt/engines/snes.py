"""The console as an engine: a cartridge in an emulator, driven through its mailbox."""

import os
from typing import Any

import numpy as np

from microgpt.arrays import Array, State
from microgpt.config import GPTConfig
from microgpt.documents import Document, check_context, check_tokens
from microgpt.integers.base import TEMPERATURES, IntegerModel, logits
from microgpt.snes import rom
from microgpt.snes.console import RESET, Console
from microgpt.snes.emulator import check_libretro, find_core


def missing() -> str | None:
    """Return what a console takes that is not here, and how to get it; None where all is here."""
    try:
        rom.check_tools()
        check_libretro()
        find_core()
    except OSError as error:
        return str(error)
    return None


class SnesEngine:
    """Runs a model on a Super Nintendo; what it computes, the integer model does to the bit.

    Raises:
        OSError: there is no assembler, no emulator core, or libretro.py is not installed.
        ValueError: the cartridge cannot hold the model.
    """

    def __init__(
        self,
        config: GPTConfig,
        state: State,
        optimizer: object = None,
        cartridge: str | None = None,  # by default the one of the model's block_size
        core: str | os.PathLike[str] | None = None,
    ) -> None:
        built, model = rom.build(cartridge or rom.of_size(config.block_size), config, state)
        self._init(built.data, model, core)

    @classmethod
    def of(
        cls, data: bytes, model: IntegerModel, core: str | os.PathLike[str] | None = None
    ) -> "SnesEngine":
        """Return the engine of a cartridge that is there already, and of its integer model."""
        engine = cls.__new__(cls)
        engine._init(data, model, core)
        return engine

    def _init(self, data: bytes, model: IntegerModel, core: str | os.PathLike[str] | None) -> None:
        self.config, self._units, self._parts = model.config, model.units, (data, model, core)
        self.console = Console(data, core, watched=True)
        self.console.write(self.console.at["temperature"], TEMPERATURES.index(1.0))
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        return SnesEngine.of, self._parts

    def reset(self) -> None:
        self._pos = 0
        self.console.ask(RESET)

    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        self._pos += 1
        return self.console.step(token_id) * self._units["logits"]

    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        c, count = self.config, len(tokens)
        check_context(c, count)
        logits, probs, residual, hidden = [], [], [], []
        attention = np.zeros((1, c.n_head, count, count))
        self.reset()
        for t, token in enumerate(tokens):
            logits.append(self.step(token))
            probs.append(self._read("probs", c.vocab_size) / 32768)
            seen = self._read("attention", c.n_head * c.block_size).reshape(c.n_head, -1)
            attention[0, :, t, : t + 1] = seen[:, : t + 1] / 32768
            residual.append(self._read("residual", 2 * c.n_embd).reshape(2, -1))
            hidden.append(self._read("hidden", 4 * c.n_embd).reshape(1, -1))
        self.reset()
        return {
            "logits": np.array(logits),
            "probs": np.array(probs),
            "attention": attention,
            "residual": (np.array(residual) * self._units["residual"]).swapaxes(0, 1),
            "hidden": (np.array(hidden) * self._units["hidden"]).swapaxes(0, 1),
        }

    def expected(self, tokens: Document) -> Array:
        """Return the logits (T, vocab_size) of the cartridge's integers, computed in Python."""
        _, model, _ = self._parts
        return logits(model, tokens) * self._units["logits"]

    def _read(self, name: str, count: int) -> Array:
        return self.console.words(self.console.at[name], count).astype(float)
