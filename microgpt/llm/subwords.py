"""The tokenizers of published models: text cut into words, and words into tokens by bpe.py.

Those that are not byte-level (Llama 2's, Mistral's) or do more before they merge than is known here
are read by the library tokenizers.
"""

import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from microgpt.llm.bpe import bpe_encode, bpe_train

# GPT-2 writes bytes as characters that can be seen: a space is Ġ. Here by the byte's number.
_SEEN = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = [byte for byte in range(256) if byte not in _SEEN]
ALPHABET = [chr(256 + _HIDDEN.index(b)) if b in _HIDDEN else chr(b) for b in range(256)]
BYTES = {character: byte for byte, character in enumerate(ALPHABET)}

WORDS = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # GPT-2's
DIGIT = r"\p{N}"


class Subwords(Protocol):
    """Text to token ids and back."""

    bos: list[int]  # what a text begins with

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids; the names of special tokens in it are these tokens."""

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out; a part of a character is U+FFFD."""

    def ids(self) -> Mapping[str, int]:
        """Return the id of each token, by how it is written in the tokenizer's file."""

    def settings(self) -> dict[str, Any]:
        """Return what a tokenizer.json holds."""


class ByteLevel:
    """Byte-level BPE: GPT-2's, Llama 3's, Qwen's.

    Args:
        vocabulary: each token, in the characters of ALPHABET, and its id.
        merges: pairs of tokens, the first learned first.
        patterns: regular expressions, one after another, that cut a text into words.
        special: tokens with a meaning of their own, as they are written, and their ids.
        bos: the tokens that each text begins with.
        unknown: the token of a byte that has none.
        form: a Unicode normal form that a text is brought into first.

    Raises:
        ValueError: a merge makes a token that is not in the vocabulary.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        patterns: Sequence[str] = (WORDS,),
        special: Mapping[str, int] | None = None,
        bos: Sequence[int] = (),
        unknown: int | None = None,
        form: Any = None,
    ) -> None:
        import regex  # knows \p{L}, which re does not

        self._vocabulary, self._special, self.bos = vocabulary, dict(special or {}), list(bos)
        self._form, self._unknown = form, unknown
        try:
            self._merges = {
                (vocabulary[a], vocabulary[b]): (rank, vocabulary[a + b])
                for rank, (a, b) in enumerate(merges)
            }
        except KeyError as error:
            raise ValueError(f"a merge has the token {error}, which the vocabulary lacks") from None
        self._patterns = [regex.compile(pattern) for pattern in patterns]
        longest = sorted(self._special, key=len, reverse=True)
        self._specials = regex.compile("|".join(map(regex.escape, longest)) or r"(?!)")
        self._byte = [vocabulary.get(character, unknown) for character in ALPHABET]
        self._written = {i: token for token, i in vocabulary.items()}
        self._merged = lru_cache(100_000)(self._merge)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "ByteLevel":
        """Learn a vocabulary from texts, as bpe_train does."""
        blank = cls({character: i for i, character in enumerate(sorted(ALPHABET))}, [])
        words = (blank.spell(word) for text in texts for word in blank.words(text))
        tokens, merges = sorted(ALPHABET), []
        for a, b in bpe_train(words, vocab_size):
            merges.append((tokens[a], tokens[b]))
            tokens.append(tokens[a] + tokens[b])
        return cls({token: i for i, token in enumerate(tokens)}, merges)

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids."""
        tokens, end = [], 0
        for found in self._specials.finditer(text):
            tokens += [*self._encode(text[end : found.start()]), self._special[found[0]]]
            end = found.end()
        return tokens + self._encode(text[end:])

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        special = set(self._special.values())
        written = "".join(self._written.get(t, "") for t in tokens if t not in special)
        return bytes(BYTES[character] for character in written).decode("utf-8", "replace")

    def ids(self) -> Mapping[str, int]:
        """Return the id of each token."""
        return {**self._vocabulary, **self._special}

    def settings(self) -> dict[str, Any]:
        """Return what a tokenizer.json holds."""
        written, flags = self._written | {i: t for t, i in self._special.items()}, False
        added = [{"content": token, "id": i} for token, i in self._special.items()]
        odd = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), flags)
        cut = {"type": "Split", "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
        level["use_regex"] = False
        steps = [cut | {"pattern": {"Regex": p.pattern}} for p in self._patterns]
        begin = [written[i] for i in self.bos]
        template = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": token, "type_id": 0}} for token in begin]
            + [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": which, "type_id": 0}} for which in "AB"],
            "special_tokens": {
                token: {"id": token, "ids": [i], "tokens": [token]}
                for token, i in zip(begin, self.bos, strict=True)
            },
        }
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [token | odd | {"special": True} for token in added],
            "normalizer": {"type": self._form} if self._form else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, level]},
            "post_processor": template,
            "decoder": level,
            "model": {
                "type": "BPE",
                "unk_token": None if self._unknown is None else written[self._unknown],
                "vocab": self.ids(),
                "merges": [[written[a], written[b]] for a, b in self._merges],
            },
        }

    def words(self, text: str) -> list[str]:
        """Return a text cut into words, which no token crosses."""
        words = [text]
        for pattern in self._patterns:
            words = [part for word in words for part in _isolate(pattern, word)]
        return words

    def spell(self, word: str) -> list[int]:
        """Return the tokens of a word's bytes."""
        tokens = (self._byte[byte] for byte in word.encode("utf-8", "replace"))
        return [token for token in tokens if token is not None]

    def _encode(self, text: str) -> list[int]:
        text = unicodedata.normalize(self._form, text) if self._form else text
        return [token for word in self.words(text) for token in self._merged(word)]

    def _merge(self, word: str) -> list[int]:
        return bpe_encode(self.spell(word), self._merges)


class Library:
    """Any tokenizer that the library tokenizers can read."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer  # what is not byte-level

        self._path = path
        self._tokenizer = Tokenizer.from_file(str(path))
        self.bos = self._tokenizer.encode("").ids

    def encode(self, text: str) -> list[int]:
        """Return a text's token ids."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        text: str = self._tokenizer.decode(list(tokens))
        return text

    def ids(self) -> Mapping[str, int]:
        """Return the id of each token."""
        ids: dict[str, int] = self._tokenizer.get_vocab()
        return ids

    def settings(self) -> dict[str, Any]:
        """Return what a tokenizer.json holds."""
        settings: dict[str, Any] = json.loads(self._path.read_text("utf-8"))
        return settings


def load(path: Path) -> Subwords:
    """Read a tokenizer.json.

    Raises:
        OSError: it cannot be read.
        ValueError: it is broken, or the library that can read it is missing.
    """
    try:
        settings = json.loads(path.read_text("utf-8"))
        known = _byte_level(settings)
        return ByteLevel(**known) if known else Library(path)
    except ImportError as error:
        raise ValueError(
            f"{path} takes the library {error.name}; pip install 'microgpt-lab[llm]'"
        ) from None
    except OSError:
        raise
    except Exception as error:  # whatever the library raises: its own kind
        raise ValueError(f"{path} is not a tokenizer that microgpt can read: {error}") from None


def _byte_level(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return what ByteLevel takes, if the tokenizer does nothing else."""
    model, added = settings["model"], settings.get("added_tokens") or []
    patterns = _patterns(settings.get("pre_tokenizer"))
    bos = _bos(settings.get("post_processor"))
    normalizer = settings.get("normalizer") or {"type": None}
    odd = ("lstrip", "rstrip", "single_word")
    if (
        model.get("type", "BPE") != "BPE"
        or patterns is None
        or bos is None
        or normalizer["type"] not in (None, "NFC")
        or model.get("byte_fallback")
        or model.get("dropout")
        or model.get("continuing_subword_prefix")
        or model.get("end_of_word_suffix")
        or model.get("ignore_merges")
        or any(token.get(flag) for token in added for flag in odd)
    ):
        return None
    pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"])
    return {
        "vocabulary": model["vocab"],
        "merges": [(a, b) for a, b in pairs],
        "patterns": patterns,
        "special": {token["content"]: token["id"] for token in added},
        "bos": bos,
        "unknown": model["vocab"].get(model.get("unk_token")),
        "form": normalizer["type"],
    }


def _patterns(pre: dict[str, Any] | None) -> list[str] | None:
    """Return the patterns that cut a text into words, or None if it is done in another way."""
    steps = (pre.get("pretokenizers") or [pre]) if pre else []
    if not steps or steps[-1]["type"] != "ByteLevel" or steps[-1].get("add_prefix_space"):
        return None
    patterns = []
    for step in steps[:-1]:
        if step["type"] == "Digits":
            patterns.append(DIGIT if step["individual_digits"] else rf"{DIGIT}+")
        elif step["type"] == "Split" and "Regex" in step["pattern"] and not step["invert"]:
            if step["behavior"] != "Isolated":
                return None
            patterns.append(step["pattern"]["Regex"])
        else:
            return None
    return patterns + ([WORDS] if steps[-1].get("use_regex", True) else [])


def _bos(post: dict[str, Any] | None) -> list[int] | None:
    """Return the tokens put before a text, or None if one may come behind it."""
    steps = (post.get("processors") or [post]) if post else []
    bos: list[int] = []
    for step in steps:
        if step["type"] == "TemplateProcessing":
            *before, last = step["single"]
            if "Sequence" not in last or not all("SpecialToken" in piece for piece in before):
                return None
            for piece in before:
                bos += step["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
        elif step["type"] != "ByteLevel":
            return None
    return bos


def _isolate(pattern: Any, word: str) -> Iterator[str]:
    """Yield what a pattern finds, and what lies between, one after another."""
    end = 0
    for found in pattern.finditer(word):
        yield from filter(None, (word[end : found.start()], found[0]))
        end = found.end()
    if word[end:]:
        yield word[end:]
