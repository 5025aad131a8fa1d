"""The types of bpe.py, which is laid out like gpt.py and has no room for them."""

from collections.abc import Iterable, Mapping

Pair = tuple[int, int]
Merges = Mapping[Pair, tuple[int, int]]  # of two tokens: their rank, the token they become

def bpe_train(words: Iterable[list[int]], vocab_size: int) -> dict[Pair, tuple[int, int]]: ...
def merge(word: list[int], pair: Pair, token: int) -> list[int]: ...
def bpe_encode(word: list[int], merges: Merges) -> list[int]: ...
