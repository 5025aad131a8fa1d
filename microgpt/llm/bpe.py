"""Byte-pair encoding: tokens that are learned, from bytes to syllables to words.

At first there are the 256 bytes. The two tokens that are most often side by side become one token,
again and again (Gage 1994; Sennrich et al. 2016). GPT-2 did it 50,000 times, MicroGPT not once.
Lesson 16 has a learner write it again.
"""
from collections import Counter


def bpe_train(words, vocab_size):
    """Return merges learned from words, lists of bytes (any numbers below 256).

    merges say of two tokens their rank (the first learned is 0) and the token that they become.
    There are vocab_size tokens in the end.
    """
    counted, merges = Counter(map(tuple, words)), {}
    spelled = {word: list(word) for word in counted}
    for token in range(256, vocab_size):
        counts = Counter()
        for word, count in counted.items():
            for pair in zip(spelled[word], spelled[word][1:]):
                counts[pair] += count
        if not counts: break  # each word is one token
        best = min(counts, key=lambda pair: (-counts[pair], pair))  # of equals the smaller tokens
        merges[best] = len(merges), token
        spelled = {word: merge(tokens, best, token) for word, tokens in spelled.items()}
    return merges

def merge(word, pair, token):
    """Return a word in which each such pair, from the left, is the one token."""
    merged = []
    for this in word:
        if merged and (merged[-1], this) == pair: merged[-1] = token
        else: merged.append(this)
    return merged

def bpe_encode(word, merges):
    """Return a word's tokens: what was learned first is merged first, until nothing is left to.

    merges hold (rank, token) under each pair of tokens: {(97, 110): (0, 256)}.
    """
    while known := [(*merges[pair], pair) for pair in zip(word, word[1:]) if pair in merges]:
        _, token, pair = min(known)
        word = merge(word, pair, token)
    return word
