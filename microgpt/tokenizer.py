"""Text to token ids and back, and BOS around each document.

One token a character; or byte pairs and whatever else the library tokenizers reads.
"""

import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Union

SHOWN = 40  # characters of a vocabulary that fit a message
LEAST = 257  # tokens of byte pairs: the bytes, and BOS
MOST = 1_000_000  # for these the library takes memory beforehand
PAIRS = "bpe:"  # how their number is asked for
Vocabulary = Union[str, "SubwordTokenizer"]  # what a model keeps: its characters, or a tokenizer


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

    vocabulary: Vocabulary
    name = "characters"
    unit = "character"

    def __init__(self, vocabulary: str) -> None:
        self.vocabulary = self._characters = vocabulary
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
    def characters(self) -> str:
        """Its characters, in the order of their ids; raises ValueError if it has other tokens."""
        return characters(self.vocabulary)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, BOS included."""
        return self.bos + 1

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
        return "".join(self._characters[token] for token in tokens)

    def cut(self, text: str, size: int) -> str:
        """Return the text of the first tokens of a text, so many at most."""
        return text[:size]

    def _unknown(self, character: str, text: str) -> str:
        """Return one line: what the model does not know, what it does, and what may help."""
        known = self._characters
        line = f"{describe(character)} in {shorten(text)} is not in the model's vocabulary; "
        line += f"it knows {known!r}" if len(known) <= SHOWN else f"it knows {len(known)} others"
        for form in ("NFC", "NFD"):  # the same letters, in other code points
            if all(c in self._ids for c in unicodedata.normalize(form, text)):
                return f"{line}; it can read the text in the form {form}"
        return line


class SubwordTokenizer(Tokenizer):
    """The tokens of a tokenizer.json, read by the library tokenizers; BOS is the token after.

    Args:
        settings: what the file holds, as text.
        name: bpe:N if the tokens were learned here, else where the file was.

    Raises:
        ValueError: it is broken, or the library is missing.
    """

    unit = "token"

    def __init__(self, settings: str, name: str) -> None:
        library = _library(name)
        try:
            _check_merges(json.loads(settings)["model"])
            self._tokenizer = library.Tokenizer.from_str(settings)
            tokens = self._tokenizer.get_vocab()
            self.bos = 1 + max(tokens.values())
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of the library: its own kinds, and panics of its Rust
            reason = " ".join(str(error).split())
            raise ValueError(f"{name} is not a tokenizer.json that can be read: {reason}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.name, self.vocabulary = name, self

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SubwordTokenizer":
        """Read a tokenizer.json; raises OSError, and ValueError where it is broken."""
        try:
            return cls(Path(path).read_text("utf-8"), os.fspath(path))
        except UnicodeDecodeError:
            raise ValueError(f"{path} is not a tokenizer.json: it is not UTF-8 text") from None

    @classmethod
    def learn(cls, texts: Iterable[str], vocab_size: int) -> "SubwordTokenizer":
        """Learn byte pairs, as GPT-2 did, until there are so many tokens, BOS included.

        There are fewer where the texts hold no more pairs.

        Raises:
            ValueError: there are too few or too many tokens, or the library is missing.
        """
        name = f"{PAIRS}{vocab_size}"
        if vocab_size < LEAST:
            raise ValueError(f"{name} has too few tokens: the bytes and BOS are {LEAST} already")
        if vocab_size > MOST:
            raise ValueError(f"{name} has too many tokens; the limit is {MOST:,}")
        library = _library(name)
        learned = library.Tokenizer(library.models.BPE())
        learned.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        learned.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            show_progress=False,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        )
        learned.train_from_iterator(map(_without_surrogates, texts), trainer)
        return cls(learned.to_str(), name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SubwordTokenizer) and self.settings == other.settings

    def __hash__(self) -> int:
        return hash(self.settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return SubwordTokenizer, (self.settings, self.name)

    @cached_property
    def settings(self) -> str:
        """What its tokenizer.json holds."""
        return str(self._tokenizer.to_str())

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, without BOS.

        Raises:
            TypeError: it is not a string.
            ValueError: it holds what the tokenizer has no token for.
        """
        if not isinstance(text, str):
            raise TypeError(f"the text is {text!r}; it must be a string")
        text = _without_surrogates(text)
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        except Exception as error:  # of the library, its own kind
            raise ValueError(f"{shorten(text)} cannot be tokenized: {error}") from None
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids, none of them BOS; a part of a character is U+FFFD."""
        return str(self._tokenizer.decode([*map(int, tokens)], skip_special_tokens=False))

    def cut(self, text: str, size: int) -> str:
        """Return the text of the first tokens of a text, so many at most."""
        return self.decode(self.ids(text)[:size])


def create(vocabulary: Vocabulary | int | None, texts: Iterable[str]) -> Tokenizer:
    """Return the tokenizer of a vocabulary; of none, that of all characters of texts.

    A number asks for so many tokens of byte pairs, learned from the texts.
    """
    if isinstance(vocabulary, int):
        return SubwordTokenizer.learn(texts, vocabulary)
    if isinstance(vocabulary, SubwordTokenizer):
        return vocabulary
    return Tokenizer(vocabulary) if vocabulary else Tokenizer.of(texts)


def named(name: str) -> Vocabulary | int | None:
    """Return what create makes a tokenizer of: "characters", "bpe:N", or a tokenizer.json.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is broken, or N is not a number.
    """
    if name == Tokenizer.name:
        return None
    if name.startswith(PAIRS):
        number = name.removeprefix(PAIRS)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise ValueError(f"the tokenizer {name} must be {PAIRS}N, N the number of tokens")
        return int(number)
    return SubwordTokenizer.load(name)


def characters(vocabulary: Vocabulary) -> str:
    """Return the characters of a vocabulary, for what works letter by letter.

    Raises:
        ValueError: its tokens are not characters.
    """
    if isinstance(vocabulary, str):
        return vocabulary
    raise ValueError(
        f"the model's tokens are those of {vocabulary.name}, and this works with single "
        "characters; give a model that was trained without --tokenizer"
    )


def _library(name: str) -> Any:
    try:
        import tokenizers  # here: only such models take it, and a browser has none
    except ImportError:
        raise ValueError(
            f"{name} takes the library tokenizers; pip install 'microgpt-lab[llm]'"
        ) from None
    return tokenizers


def _check_merges(model: dict[str, Any]) -> None:
    """Raise ValueError for a merge of which the library would panic, which it also prints."""
    prefix = model.get("continuing_subword_prefix") or ""
    for merge in model.get("merges") or ():
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        if first + second.removeprefix(prefix) not in model["vocab"]:
            raise ValueError(f"the merge of {first!r} and {second!r} is not in its vocabulary")


def _without_surrogates(text: str) -> str:
    """Return a text as UTF-8 can hold it: halves of characters, which JSON may name, become ?."""
    return text.encode("utf-8", "replace").decode()


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
