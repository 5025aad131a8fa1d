"""What a document is worth: rewards that ship with us, written rules, and functions of your own.

A reward takes documents as text, each with its prompt, and returns a number for each:

    reward = parse("vowel")             # or "length:5", "rules.toml", "mine.py:function"
    judge(reward, ["emma", "ruth"])     # [1.0, 0.0]
"""

import math
from collections.abc import Iterable, Sequence

from microgpt import dataset
from microgpt.config import number, whole
from microgpt.rewards.builtin import (
    Reward,
    answers,
    contains,
    ends_in_vowel,
    length,
    like,
    novel,
)
from microgpt.rewards.rules import Rules
from microgpt.tokenizer import shorten

__all__ = ["Reward", "Rules", "judge", "parse"]

BUILT_IN = {  # by name: what follows its colon, and what earns 1
    "vowel": ("", "ends in a, e, i, o or u"),
    "length": ("N", "has N characters"),
    "has": ("TEXT", "contains TEXT"),
    "like": ("FILE", "sounds like a list (mean log p of its pairs of characters)"),
    "novel": ("", "is not among the documents that the model learned from"),
    "answers": ("FILE", "is a line of the file: prompt<TAB>right answer"),
}
FORMS = [
    *(f"{kind}:{needs}" if needs else kind for kind, (needs, _) in BUILT_IN.items()),
    "RULES.toml",
    "FILE.py:function",
]


def parse(name: str, known: Iterable[str] = ()) -> Reward:
    """Return the reward of a name: one of BUILT_IN, RULES.toml, or FILE.py:function.

    Args:
        name: its name, and after a colon what it needs.
        known: the documents that are not novel.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no such reward, or what it needs cannot be used.
    """
    kind, _, needs = name.partition(":")
    if name.endswith(".toml"):
        return Rules.load(name, known)
    if ".py:" in name:
        from microgpt.rewards.function import Function  # a browser has no processes

        path, _, function = name.rpartition(":")
        return Function(path, function)
    if kind not in BUILT_IN or bool(needs) != bool(BUILT_IN[kind][0]):
        raise ValueError(f"there is no reward {shorten(name)}; there are {', '.join(FORMS)}")
    if kind == "vowel":
        return ends_in_vowel
    if kind == "length":
        return length(whole("length", int(needs) if needs.isdecimal() else needs, least=1))
    if kind == "has":
        return contains(needs)
    if kind == "novel":
        return novel(known)
    documents = dataset.load(needs).documents
    return like(documents) if kind == "like" else answers(documents)


def files(name: str) -> list[str]:
    """Return the files that a reward of such a name reads."""
    if name.endswith(".toml"):
        return [name]
    if ".py:" in name:
        return [name.rpartition(":")[0]]
    kind, _, needs = name.partition(":")
    return [needs] if kind in ("like", "answers") else []


def judge(reward: Reward, documents: Sequence[str]) -> list[float]:
    """Return what a reward gives for documents, checked: one finite number for each.

    Raises:
        ValueError: it raises, or gives something else; the line names a document.
    """
    if not documents:
        return []
    try:
        given = list(reward(documents))
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(
            f"the reward stops with {type(error).__name__}: {error} "
            f"(documents: {shorten(', '.join(documents))})"
        ) from None
    if len(given) != len(documents):
        raise ValueError(
            f"the reward gives {len(given)} numbers for {len(documents)} documents "
            f"(the first is {shorten(documents[0])}); it must give one for each"
        )
    return [_finite(value, document) for value, document in zip(given, documents, strict=True)]


def _finite(value: float, document: str) -> float:
    try:
        reward = number("reward", value)
    except ValueError:
        reward = math.nan
    if not math.isfinite(reward):
        raise ValueError(
            f"the reward of {shorten(document)} is {value!r}; it must be a finite number"
        )
    return reward
