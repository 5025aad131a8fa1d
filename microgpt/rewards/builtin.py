"""The rewards that ship with us. All but `like` give 1 or 0."""

from collections.abc import Callable, Iterable, Sequence

from microgpt.bigram import Bigram
from microgpt.tokenizer import Tokenizer

Reward = Callable[[Sequence[str]], Sequence[float]]


def ends_in_vowel(documents: Sequence[str]) -> list[float]:
    """Reward a document that ends in a, e, i, o or u.

    >>> ends_in_vowel(["emma", "ruth", ""])
    [1.0, 0.0, 0.0]
    """
    return [float(document.endswith(("a", "e", "i", "o", "u"))) for document in documents]


def length(characters: int) -> Reward:
    """Reward a document of exactly so many characters.

    >>> length(4)(["emma", "ava"])
    [1.0, 0.0]
    """
    return lambda documents: [float(len(document) == characters) for document in documents]


def contains(text: str) -> Reward:
    """Reward a document that contains a text.

    >>> contains("z")(["eliza", "emma"])
    [1.0, 0.0]
    """
    return lambda documents: [float(text in document) for document in documents]


def novel(known: Iterable[str]) -> Reward:
    """Reward a document that is not known.

    >>> novel(["emma"])(["emma", "emmo"])
    [0.0, 1.0]
    """
    kept = set(known)
    return lambda documents: [float(document not in kept) for document in documents]


def answers(lines: Iterable[str]) -> Reward:
    """Reward a right answer: prompt and answer together are one of the lines prompt<TAB>answer.

    >>> answers(["1+2=<TAB>3".replace("<TAB>", chr(9))])(["1+2=3", "1+2=4"])
    [1.0, 0.0]
    """
    right = {line.replace("\t", "", 1) for line in lines}
    return lambda documents: [float(document in right) for document in documents]


def like(documents: Sequence[str]) -> Reward:
    """Reward a document for sounding like a list: its mean log p by the list's table of pairs.

    It is below 0 (nats/token); a character that the list lacks counts as a pair never seen.
    """
    tokenizer = Tokenizer.of(documents)
    encoded = [tokenizer.encode(document) for document in documents]
    bigram = Bigram.of(tokenizer.vocab_size + 1, max(map(len, encoded)), encoded)

    def reward(judged: Sequence[str]) -> list[float]:
        return [-_mean(bigram.losses(_tokens(document))) for document in judged]

    def _tokens(document: str) -> list[int]:
        known, other = tokenizer.characters, tokenizer.vocab_size
        ids = [known.index(c) if c in known else other for c in document]
        return [tokenizer.bos, *ids, tokenizer.bos]

    return reward


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
