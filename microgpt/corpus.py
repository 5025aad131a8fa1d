"""Running text in files, read piece by piece, so that it need not fit the memory.

A piece is a line of a text, its end included, or the text of a line of JSON Lines. A document
begins with each file of text, and with each line of JSON Lines.
"""

import gzip
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from microgpt import dataset

SHOWN = 1 << 20  # characters between two looks at how far it is
LONGEST = 1 << 20  # characters of a piece of text: a file may be one line


class Piece(NamedTuple):
    """A part of a document, and where it is."""

    file: int  # which of the files
    line: int  # which of its pieces
    begins: bool  # a document
    text: str


@dataclass(frozen=True)
class Survey:
    """What reading all of a corpus has found."""

    characters: int
    alphabet: str  # each character once, sorted
    sha256: str  # of the text


class Corpus:
    """The text of one file or many.

    Raises:
        OSError: a file is not there.
        ValueError: it is standard input, which cannot be read twice.
    """

    def __init__(self, name: str) -> None:
        if name in dataset.UNNAMED:
            raise ValueError(f"running text is read again and again, and {name} is not: give files")
        self.name, self.paths = name, dataset.paths(name)
        self.size = sum(path.stat().st_size for path in self.paths)  # bytes

    def pieces(self, file: int = 0, line: int = 0) -> Iterator[Piece]:
        """Yield the pieces from one on.

        Raises:
            OSError: a file cannot be read.
            ValueError: it is not text, or a line of JSON Lines holds no text.
        """
        for i, path in enumerate(self.paths[file:], file):
            for n, (begins, text) in enumerate(_texts(path)):
                if i > file or n >= line:
                    yield Piece(i, n, begins, text)

    def survey(self, watch: Callable[[int], None] = lambda read: None) -> Survey:
        """Read all of it, once; raises as pieces does.

        Args:
            watch: called now and then with how many characters are read.
        """
        count, shown, alphabet, digest = 0, 0, set[str](), hashlib.sha256()
        for piece in self.pieces():
            if count - shown > SHOWN:
                watch(shown := count)
            count += len(piece.text)
            alphabet.update(piece.text)
            digest.update(f"{piece.begins:d}{piece.text}".encode("utf-8", "surrogatepass"))
        return Survey(count, "".join(sorted(alphabet)), digest.hexdigest())


def _texts(path: Path) -> Iterator[tuple[bool, str]]:
    """Yield each piece of a file, after whether a document begins with it."""
    begins = True
    try:
        with dataset.naming(path), _open(path) as file:
            if dataset.kind(path.name) == ".jsonl":
                for number, line in enumerate(file, 1):
                    if line.strip():
                        yield True, dataset.json_line(str(path), number, line.strip())
            else:
                while line := file.readline(LONGEST):
                    yield begins, line
                    begins = False
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; give text, or JSON Lines (.jsonl)") from None


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        start = file.read(6)
    dataset.check_packed(str(path), start)
    packed = start.startswith(dataset.GZIP)
    return (gzip.open if packed else open)(path, "rt", encoding="utf-8-sig")
