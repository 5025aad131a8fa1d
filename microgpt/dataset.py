"""Where documents come from: the published names, the names that ship with us, or your own file."""

import gzip
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from microgpt import files
from microgpt.gpt import PUBLISHED
from microgpt.tokenizer import describe, shorten

SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"  # of the published list
WORLD = Path(__file__).parent / "data" / "names.txt"
UNNAMED = ("-", "(a list)")  # names of datasets that cannot be loaded again
TIMEOUT = 5  # seconds without an answer, after which the published names cannot be fetched
READ = (".txt", ".jsonl")  # files of a folder that are read, in gzip too
GZIP = b"\x1f\x8b"  # how a file of gzip begins
PACKED = {  # how files begin that have to be unpacked first
    b"PK\x03\x04": "a zip archive",
    b"\xfd7zXZ": "compressed by xz",
    b"BZh": "compressed by bzip2",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PAR1": "a Parquet file",
}
BREAKS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # end a line for some programs, but not here


@dataclass(frozen=True)
class Dataset:
    """Documents, and what is needed to find and recognise them again."""

    name: str  # "names", "world", a path, "-" (standard input), or "(a list)"
    documents: tuple[str, ...]  # in file order, duplicates kept
    sha256: str  # of the file; of many, of their sha256

    def odd_break(self) -> str | None:
        """Return a line about the first character that only seems to end a line; None without."""
        for document in self.documents:
            for character in document:
                if character in BREAKS:
                    return (
                        f"{self.name}: the document {shorten(document)} contains "
                        f"{describe(character)}, which does not end a line here; "
                        "it is learned like a letter"
                    )
        return None


@dataclass(frozen=True)
class Split:
    """Documents for learning, for choosing (validation), and for reporting (test); none in two."""

    train: list[str]
    val: list[str]
    test: list[str]


def load(name: str) -> Dataset:
    """Return the documents of "names" (published), "world" (built in), "-" (stdin), or of files.

    Files are one, all that match a pattern with a *, or those of a folder.

    Raises:
        OSError: the file cannot be read, or the published list cannot be fetched.
        ValueError: the file is not text, holds no documents, or is not the published list.
    """
    if name == "-":
        return parse(name, sys.stdin.buffer.read() if sys.stdin else b"")
    found = paths(name)
    if name in ("names", "world") or found == [Path(name)]:
        return parse(name, found[0].read_bytes())
    read = [parse(str(path), path.read_bytes()) for path in found]
    documents = tuple(document for each in read for document in each.documents)
    return Dataset(name, documents, _sha256("".join(each.sha256 for each in read).encode()))


def paths(name: str) -> list[Path]:
    """Return the files of a name that load takes, in a fixed order.

    Raises:
        OSError: the published list cannot be fetched.
        ValueError: it is an address, or no file is there.
    """
    if name == "names":
        return [published()]
    if name == "world":
        return [WORLD]
    if "://" in name:
        raise ValueError(f"{name} is an address; download it first, and give the file")
    path = Path(name)
    if path.is_dir():
        found = [each for each in path.rglob("*") if kind(each.name) in READ and each.is_file()]
    elif "*" in name and not path.exists():
        found = [Path(each) for each in glob(name, recursive=True) if Path(each).is_file()]
    else:
        return [path]
    if not found:
        raise ValueError(f"{name} leads to no file; give a file, a pattern, or a folder of these: "
                         f"{', '.join(READ)}")  # fmt: skip
    return sorted(found)


def kind(name: str) -> str:
    """Return what sort of file a name says: .txt, .jsonl, ..., whether in gzip or not."""
    return Path(name.removesuffix(".gz")).suffix.lower()


def default() -> Dataset:
    """Return the published names where they can be had, else the built-in ones."""
    try:
        return load("names")
    except OSError:
        return load("world")


def parse(name: str, data: bytes) -> Dataset:
    """Return the documents in a file's bytes: one a line, or JSON Lines; either may be in gzip.

    CR, LF and CRLF end a line.

    Raises:
        ValueError: they are not text, hold no documents, or a line of JSON Lines holds no text.
    """
    lines = _text(name, data).split("\n")
    if kind(name) == ".json":
        raise ValueError(
            f'{name} is JSON; give JSON Lines (.jsonl), {{"text": "..."}} on each line'
        )
    if kind(name) == ".jsonl":
        lines = [json_line(name, i, line) for i, line in enumerate(lines, 1) if line.strip()]
    documents = tuple(line.strip() for line in lines if line.strip())
    if not documents:
        raise ValueError(f"{name} holds no documents; give one a line")
    return Dataset(name, documents, _sha256(data))


def of(documents: Sequence[str]) -> Dataset:
    """Return a dataset of documents that come from no file.

    Raises:
        TypeError: one is not a string.
        ValueError: there are none, or one is empty.
    """
    for i, document in enumerate(documents):
        if not isinstance(document, str):
            raise TypeError(f"document {i} is {document!r}; a document is a string")
        if not document:
            raise ValueError(f"document {i} is empty; leave it out")
    if not documents:
        raise ValueError("there are no documents; give a list of strings")
    return Dataset("(a list)", tuple(documents), _sha256(json.dumps([*documents]).encode()))


def published() -> Path:
    """Return the file of the published names: MICROGPT_NAMES, else the cache, else fetched to it.

    Raises:
        OSError: it is not there and cannot be fetched within TIMEOUT.
        ValueError: MICROGPT_NAMES names a file that is another, or cannot be read.
    """
    if given := os.environ.get("MICROGPT_NAMES"):
        try:
            found = _sha256(Path(given).read_bytes())
        except OSError as error:
            raise ValueError(f"MICROGPT_NAMES names {given}: {error.strerror}") from None
        if found != SHA256:
            raise ValueError(
                f"MICROGPT_NAMES names {given}, which is not the published list: "
                f"its sha256 is {found}, not {SHA256}"
            )
        return Path(given)
    import platformdirs  # here: a browser's Python has none

    cached = platformdirs.user_cache_path("microgpt") / "names.txt"
    try:
        if not cached.exists() or _sha256(cached.read_bytes()) != SHA256:
            _fetch(cached)
    except (OSError, HTTPException) as error:
        raise OSError(
            f"the published names cannot be fetched ({type(error).__name__}); use --data world, or "
            "set MICROGPT_NAMES to a copy of the list"
        ) from None
    return cached


def split(documents: Sequence[str], fraction: float) -> Split:
    """Hold out about `fraction` of the unique documents for validation and as many for test.

    A document's own sha256 decides where it goes, so it goes there in every list, on every machine.

    Raises:
        ValueError: the fraction is not between 0 and 0.5, or a part would be empty.
    """
    if not 0 < fraction < 0.5:
        raise ValueError(f"val is {fraction}; the share held out is more than 0, less than 0.5")
    parts = Split([], [], [])
    for document in dict.fromkeys(documents):
        place = int.from_bytes(hashlib.sha256(document.encode()).digest()[:8]) / 2**64
        held_out = parts.val if place < fraction else parts.test
        (held_out if place < 2 * fraction else parts.train).append(document)
    if not (parts.train and parts.val and parts.test):
        raise ValueError(
            f"{len(set(documents))} different documents are too few to hold out {fraction} of them "
            "for validation and as many for test"
        )
    return parts


def parts(data: Dataset, fraction: float) -> Split:
    """Return what is learned from a list and what is held out; nothing where the fraction is 0."""
    return split(data.documents, fraction) if fraction else Split([*data.documents], [], [])


def _fetch(cached: Path) -> None:
    with urlopen(PUBLISHED, timeout=TIMEOUT) as answer:
        data = answer.read()
    if _sha256(data) != SHA256:
        raise OSError("what came is another list")
    cached.parent.mkdir(parents=True, exist_ok=True)
    files.write(cached, data)


def _text(name: str, data: bytes) -> str:
    """Return the text in a file's bytes, every line of it ended by LF."""
    if data.startswith(GZIP):
        with naming(name):
            data = gzip.decompress(data)
    check_packed(name, data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not UTF-8 text (byte {error.start}); give one document a line"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def naming(name: str | os.PathLike[str]) -> Iterator[None]:
    """Say in one line, with a file's name, that gzip cannot unpack it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be unpacked: {error}; give the whole file") from None


def check_packed(name: str, data: bytes) -> None:
    """Raise ValueError for a file that has to be unpacked first."""
    for start, what in PACKED.items():
        if data.startswith(start):
            raise ValueError(f"{name} is {what}; unpack it, and give one document a line")


def json_line(name: str, number: int, line: str) -> str:
    """Return the text of a line of JSON Lines; raises ValueError where it has none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise ValueError(
            f'{name}, line {number}: {shorten(line)} holds no text; give {{"text": "..."}}'
        )
    return text


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
