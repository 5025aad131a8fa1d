"""Byte-pair encoding: tokens that are learned, from bytes to syllables to words.

At first there are the 256 bytes. The two tokens that are most often side by side become one token,
again and again (Gage 1994; Sennrich et al. 2016). GPT-2 did it 50,000 times, MicroGPT not once.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

Pair = tuple[int, int]
Merges = dict[Pair, tuple[int, int]]  # of two tokens: its rank (the first learned is 0), the token


def train(words: Iterable[list[int]], vocab_size: int) -> Merges:
    """Learn merges from words, lists of bytes (any numbers below 256), up to vocab_size tokens."""
    counted = Counter(tuple(word) for word in words)
    learned: Merges = {}
    spelled = {word: list(word) for word in counted}
    for token in range(256, vocab_size):
        counts: Counter[Pair] = Counter()
        for word, count in counted.items():
            for pair in pairwise(spelled[word]):
                counts[pair] += count
        if not counts:
            break  # each word is one token
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # of equals the smaller tokens
        learned[best] = len(learned), token
        spelled = {word: merge(tokens, best, token) for word, tokens in spelled.items()}
    return learned


def merge(word: list[int], pair: Pair, token: int) -> list[int]:
    """Return a word in which each such pair, from the left, is the one token."""
    merged: list[int] = []
    for this in word:
        if merged and (merged[-1], this) == pair:
            merged[-1] = token
        else:
            merged.append(this)
    return merged


def encode(word: list[int], merges: Merges) -> list[int]:
    """Return a word's tokens: what was learned first is merged first, until nothing is left to."""
    while known := [(*merges[pair], pair) for pair in pairwise(word) if pair in merges]:
        _, token, pair = min(known)
        word = merge(word, pair, token)
    return word
