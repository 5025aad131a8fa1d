"""The commands that change a run while it goes on. They come from another thread or task."""

import math
import threading
import time
from typing import Any

Event = dict[str, Any]
MOST_STEPS = 1000  # that one command may ask for


class Controls:
    """The controls of every run: pause, go on, take a step while paused."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._news = False  # a command has come since the last look at whether to take a step
        self.paused = False
        self.steps = 0  # to take while paused

    def apply(self, command: Event) -> None:
        """Apply a command.

        Raises:
            ValueError: a part of it is not what it must be; then nothing of it is applied.
        """
        with self._changed:
            self._set(command)
            self._news = True
            self._changed.notify_all()

    def _set(self, command: Event) -> None:
        paused, steps = command.get("paused", self.paused), command.get("step", 0)
        if type(paused) is not bool:
            raise ValueError(f"paused is {paused!r}; it must be true or false")
        if type(steps) is not int or not 0 <= steps <= MOST_STEPS:
            raise ValueError(f"step is {steps!r}; it must be a whole number, 0 to {MOST_STEPS}")
        self.paused = paused
        self.steps += steps

    def take(self, due: float) -> float:
        """Take a step if one may be taken, and return 0; else return the seconds until then.

        While it is not paused, a step may be taken when the clock (monotonic) says `due`.
        """
        with self._changed:
            self._news = False
            if not self.paused:
                return max(0.0, due - time.monotonic())
            if not self.steps:
                return math.inf
            self.steps -= 1
            return 0.0

    def wait(self, seconds: float) -> None:
        """Wait so long, or until a command comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, min(seconds, threading.TIMEOUT_MAX))


class Dials(Controls):
    """Controls with dials besides: what a run is asked for, and what turns while it goes on."""

    names: tuple[str, ...]

    def __init__(self) -> None:
        super().__init__()
        self.turned: Event = {}  # the dials, once there is a word of them

    def begin(self, first: Event) -> None:
        """Take what a question asks for; a dial that was turned meanwhile stays where it is."""
        with self._changed:
            self._set(first | self.turned)

    def _set(self, command: Event) -> None:
        turned = {name: command[name] for name in self.names if name in command}
        for name, value in turned.items():
            self._check(name, value)
        super()._set(command)
        self.turned |= turned

    def _check(self, name: str, value: Any) -> None:
        """Raise ValueError where a dial cannot be turned so far."""


class TrainingDials(Dials):
    """The controls of a training run: also how fast to go and which parameter to follow."""

    names = "speed", "follow"  # steps a second, None for as fast as it goes; matrix, row, column

    def _check(self, name: str, value: Any) -> None:
        if name == "speed" and value is not None and not _is_number(value, least=1e-3, most=1e6):
            raise ValueError(f"speed is {value!r}; it must be steps a second, or null for all")
        if name == "follow" and not _is_place(value):
            raise ValueError(f"follow is {value!r}; it must be a matrix's name, a row and a column")


class TuningDials(Dials):
    """The controls of a run of post-training: also how far it may go, and how fast it learns."""

    names = "beta", "lr", "replay"

    def _check(self, name: str, value: Any) -> None:
        most = 0.9 if name == "replay" else 100
        if not _is_number(value, least=0, most=most):
            raise ValueError(f"{name} is {value!r}; it must be a number, 0 to {most}")


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _is_place(value: Any) -> bool:
    return isinstance(value, list) and [*map(type, value)] == [str, int, int]
