"""What the commands write and read: lines, safe for every terminal, from every sender."""

import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

OUTPUT = "standard output"
# Control characters, which a terminal obeys, and those that turn the direction of a line.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def prepare() -> None:
    """Make the standard streams safe: open, able to write any character, with any line end."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller; its descriptor is taken, too
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        with suppress(io.UnsupportedOperation):  # it was read before, so it was prepared before
            sys.stdin.reconfigure(newline=None)


def say(line: str, flush: bool = False, end: str = "\n") -> None:
    """Write a line of the output, or a piece of one, its control characters escaped."""
    with naming(OUTPUT):
        print(visible(line), flush=flush, end=end)


def tell(pieces: Iterable[str]) -> str:
    """Write a text as it comes, and return it; its lines are lines."""
    said = []
    for piece in pieces:
        for i, part in enumerate(piece.split("\n")):
            if i:
                say("", flush=True)
            say(part, flush=True, end="")
        said.append(piece)
    say("", flush=True)
    return "".join(said)


def note(line: str) -> None:
    """Write a line beside the output, on standard error."""
    with naming("standard error"):
        print(visible(line), file=sys.stderr, flush=True)


def flush() -> None:
    """Write the output that is still in a buffer."""
    with naming(OUTPUT):
        sys.stdout.flush()


@contextmanager
def naming(stream: str) -> Iterator[None]:
    """Let an error of the system that names no file name this stream."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or stream
        raise


def visible(text: str) -> str:
    """Return a text with its control characters escaped, in a way that JSON has too.

    >>> visible("an ESC: " + chr(27))
    'an ESC: \\\\u001b'
    """
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def lines() -> Iterator[str]:
    """Yield the lines of standard input, without their ends.

    Raises:
        ValueError: it is not text.
    """
    try:
        for number, line in enumerate(sys.stdin):
            yield (line.removeprefix("\ufeff") if number == 0 else line).rstrip("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not {error.encoding.upper()} text") from None


def settle() -> None:
    """Flush the streams; what cannot be written is dropped, so that Python's end is silent."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
