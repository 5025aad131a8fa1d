"""Where documents come from: the published names, the names that ship with us, or your own file."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microgpt.gpt import PUBLISHED

SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"  # of the published list
WORLD = Path(__file__).parent / "data" / "names.txt"


@dataclass(frozen=True)
class Dataset:
    """Documents, and what is needed to find and recognise them again."""

    name: str  # "names", "world", or the path of a file
    documents: tuple[str, ...]  # in file order, duplicates kept
    sha256: str  # of the file


@dataclass(frozen=True)
class Split:
    """Documents for learning, for choosing (validation), and for reporting (test); none in two."""

    train: list[str]
    val: list[str]
    test: list[str]


def load(name: str) -> Dataset:
    """Return the documents of "names" (published), "world" (built in) or a file of one a line.

    Raises:
        OSError: the file cannot be read, or the published list cannot be fetched.
        ValueError: the file is not text, holds no documents, or is not the published list.
    """
    if name == "names":
        return _read(name, published())
    return _read(name, WORLD if name == "world" else Path(name))


def default() -> Dataset:
    """Return the published names where they can be had, else the built-in ones."""
    try:
        return load("names")
    except OSError:
        return load("world")


def published() -> Path:
    """Return the file of the published names: MICROGPT_NAMES, else the cache, else fetched to it.

    Raises:
        OSError: it is not there and cannot be fetched within 5 s.
        ValueError: MICROGPT_NAMES names a file that is another, or cannot be read.
    """
    if given := os.environ.get("MICROGPT_NAMES"):
        try:
            found = hashlib.sha256(Path(given).read_bytes()).hexdigest()
        except OSError as error:
            raise ValueError(f"MICROGPT_NAMES names {given}: {error.strerror}") from None
        if found != SHA256:
            raise ValueError(
                f"MICROGPT_NAMES names {given}, which is not the published list: "
                f"its sha256 is {found}, not {SHA256}"
            )
        return Path(given)
    import pooch  # here, for it is slow to import and seldom needed

    pooch.get_logger().setLevel("ERROR")
    try:
        path = pooch.retrieve(
            PUBLISHED,
            known_hash=f"sha256:{SHA256}",
            fname="names.txt",
            path=pooch.os_cache("microgpt"),
            downloader=pooch.HTTPDownloader(timeout=5),
        )
    except (OSError, ValueError) as error:
        raise OSError(
            f"the published names cannot be fetched ({type(error).__name__}); use --data world, or "
            "set MICROGPT_NAMES to a copy of the list"
        ) from None
    return Path(path)


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


def _read(name: str, path: Path) -> Dataset:
    data = path.read_bytes()
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}); give one document a line"
        ) from None
    documents = tuple(line.strip() for line in lines if line.strip())
    if not documents:
        raise ValueError(f"{path} holds no documents; give one a line")
    return Dataset(name, documents, hashlib.sha256(data).hexdigest())
