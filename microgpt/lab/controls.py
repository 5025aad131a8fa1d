"""What the page's buttons say to a run: lines on standard input, heard by a thread of its own."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

Emit = Callable[[dict[str, Any]], None]
MOST_STEPS = 1000  # that one command may ask for


class Controls:
    """What every run can be told: to pause, to go on, and to take a step although paused."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.paused = False
        self.steps = 0  # to take although paused

    def listen(self, emit: Emit) -> None:
        """Take commands until the input ends, then end the process.

        A command that cannot be followed is answered by an event, and changes nothing.
        """
        for line in sys.stdin:
            try:
                with self._changed:
                    self.hear(json.loads(line))
                    self._changed.notify_all()
            except (ValueError, TypeError) as error:
                emit({"error": " ".join(str(error).split())})
        os._exit(0)

    def hear(self, command: dict[str, Any]) -> None:
        """Follow a command.

        Raises:
            ValueError: a part of it is not what it must be; then nothing of it is followed.
        """
        paused, steps = command.get("paused", self.paused), command.get("step", 0)
        if type(paused) is not bool:
            raise ValueError(f"paused is {paused!r}; it must be true or false")
        if type(steps) is not int or not 0 <= steps <= MOST_STEPS:
            raise ValueError(f"step is {steps!r}; it must be a whole number, 0 to {MOST_STEPS}")
        self.paused = paused
        self.steps += steps

    def wait(self, next_at: float) -> bool:
        """Wait until a step may be taken: not paused, or told to step, and not before a time.

        Returns:
            whether it was paused meanwhile.
        """
        with self._changed:
            rested = self.paused
            while self.paused and not self.steps:
                self._changed.wait()
            if self.paused:
                self.steps -= 1
                return True
            while not self.paused and (left := next_at - time.monotonic()) > 0:
                self._changed.wait(left)
            return rested
