"""The one way to write a file: whole or not at all, where its path leads, never over an input."""

import errno
import os
import stat
import threading
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]


def target(path: PathLike, inputs: Iterable[PathLike] = ()) -> Path:
    """Return the file that a path leads to, its links followed, if it can be written.

    Call it before the work begins whose result the file is to hold.

    Raises:
        OSError: it is a directory, a device or a pipe, its folder is missing, or it may not be
            written.
        ValueError: it is one of the inputs.
    """
    place = Path(os.path.realpath(path))
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        if not place.parent.is_dir():
            raise _refusal(errno.ENOENT, "its folder is missing; create it first", path) from None
        allowed = os.access(place.parent, os.W_OK)
    except OSError as error:  # a link that leads to itself, a name that is too long
        raise _refusal(error.errno or errno.EIO, error.strerror or str(error), path) from None
    else:
        if stat.S_ISDIR(mode):
            raise _refusal(errno.EISDIR, "it is a directory; name a file", path)
        if not stat.S_ISREG(mode):
            raise _refusal(errno.EINVAL, "it is a device or a pipe; name a regular file", path)
        allowed = os.access(place, os.W_OK) and os.access(place.parent, os.W_OK)
    if not allowed:
        raise _refusal(errno.EACCES, "it may not be written; name another file", path)
    for other in inputs:
        if place == Path(os.path.realpath(other)) or (
            place.exists() and os.path.exists(other) and place.samefile(other)
        ):
            raise ValueError(f"{path} is already used by this command; name another file")
    return place


def unused(path: PathLike) -> Path:
    """Return the path if nothing is there, else one like it with a number, where nothing is.

    >>> unused("no such file.txt").name
    'no such file.txt'
    """
    free, number = Path(path), 1
    while os.path.lexists(free):
        number += 1
        free = Path(path).with_stem(f"{Path(path).stem}-{number}")
    return free


def write(path: PathLike, data: bytes | str) -> None:
    """Write a file atomically: a reader finds the old content or the new, never a part.

    Links are followed, and a file that is there keeps its mode. Text is written as UTF-8.

    Raises:
        OSError: it cannot be written; the old content is untouched, nothing is left beside it.
    """
    place = target(path)
    beside = place.with_name(f".{place.name[:40]}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            beside.chmod(stat.S_IMODE(place.stat().st_mode))
        os.replace(beside, place)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk does not say whose file it could not hold
            error.filename, error.filename2 = str(path), None
        raise


def _refusal(number: int, reason: str, path: PathLike) -> OSError:
    return OSError(number, reason, os.fspath(path))
