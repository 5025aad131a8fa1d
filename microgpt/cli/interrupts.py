"""Ctrl-C, from the first moment on: this room imports nothing that takes time."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def leaving_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process in silence: while rooms are imported there is nothing to save.

    An exception would not do: in the middle of an import Python may print it, and go on.
    """
    with handling({signal.SIGINT: lambda *_: os._exit(130)}):
        yield


@contextmanager
def handling(handlers: dict[int, Callable[[int, FrameType | None], object]]) -> Iterator[None]:
    """Handle signals so for a while; in a thread, where Python allows no handlers, as before."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {signum: signal.signal(signum, handlers[signum]) for signum in handlers}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
