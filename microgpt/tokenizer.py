"""Text to token ids and back: one token a character, and BOS around each document."""

from collections.abc import Iterable, Sequence


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
                f"the vocabulary {vocabulary!r} must hold characters, each of them once"
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
            ValueError: a character is not in the vocabulary.
        """
        for character in text:
            if character not in self._ids:
                raise ValueError(
                    f"{character!r} in {text!r} is not in the model's vocabulary; "
                    f"it knows {self.vocabulary!r}"
                )
        return [self._ids[character] for character in text]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the characters of token ids, none of them BOS."""
        return "".join(self.vocabulary[token] for token in tokens)
