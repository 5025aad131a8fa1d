"""Text to token ids and back: one token a character, and BOS around each document."""

import unicodedata
from collections.abc import Iterable, Sequence

SHOWN = 40  # characters of a vocabulary that fit a message


class Tokenizer:
    """A vocabulary of single characters, numbered in its order; BOS is the token after the last.

    >>> tokenizer = Tokenizer("abcdefghijklmnopqrstuvwxyz")
    >>> tokenizer.encode("emma")
    [26, 4, 12, 12, 0, 26]
    >>> tokenizer.decode([4, 12, 12, 0])
    'emma'

    Raises:
        ValueError: the vocabulary is empty, or holds a character twice.
    """

    def __init__(self, vocabulary: str) -> None:
        self.vocabulary = vocabulary
        self._ids = {character: i for i, character in enumerate(vocabulary)}
        if not vocabulary or len(self._ids) < len(vocabulary):
            raise ValueError(
                f"the vocabulary {shorten(vocabulary)} must hold characters, each of them once"
            )
        self.bos = len(vocabulary)

    @classmethod
    def of(cls, documents: Iterable[str]) -> "Tokenizer":
        """Return the tokenizer of every character that the documents hold, sorted."""
        return cls("".join(sorted(set().union(*documents))))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, BOS included."""
        return len(self.vocabulary) + 1

    def encode(self, document: str) -> list[int]:
        """Return BOS, the document's token ids, BOS.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        return [self.bos, *self.ids(document), self.bos]

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, without BOS.

        Raises:
            TypeError: it is not a string.
            ValueError: a character is not in the vocabulary.
        """
        if not isinstance(text, str):
            raise TypeError(f"the text is {text!r}; it must be a string")
        for character in text:
            if character not in self._ids:
                raise ValueError(self._unknown(character, text))
        return [self._ids[character] for character in text]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the characters of token ids, none of them BOS."""
        return "".join(self.vocabulary[token] for token in tokens)

    def _unknown(self, character: str, text: str) -> str:
        """Return one line: what the model does not know, what it does, and what may help."""
        known = self.vocabulary
        line = f"{describe(character)} in {shorten(text)} is not in the model's vocabulary; "
        line += f"it knows {known!r}" if len(known) <= SHOWN else f"it knows {len(known)} others"
        for form in ("NFC", "NFD"):  # the same letters, in other code points
            if all(c in self._ids for c in unicodedata.normalize(form, text)):
                return f"{line}; it can read the text in the form {form}"
        return line


def describe(character: str) -> str:
    """Return a character as a message shows it, with its code point: look-alikes differ in that.

    >>> describe("\\x1b"), describe("é"), describe("a")
    ("'\\\\x1b' (U+001B)", "'é' (U+00E9)", "'a'")
    """
    plain = character.isascii() and character.isprintable()
    return repr(character) + ("" if plain else f" (U+{ord(character):04X})")


def shorten(text: str) -> str:
    """Return a text as a message shows it: quoted, on one line, not too long."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
