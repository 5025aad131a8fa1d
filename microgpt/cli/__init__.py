"""The `microgpt` command: it parses, calls, shows progress and prints. Nothing is computed here.

The table of all commands is in commands.py; each other room holds the commands of a subject, and is
imported when one of them is used.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 if it worked, 2 and one line if it could not, 130 on Ctrl-C."""
    try:
        with leaving_at_once():
            from microgpt.cli import commands
        status = commands.run(argv)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


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
