"""Written rules: what a document must be and must not be, each with a name and a weight.

    [[rule]]
    name = "four to eight letters"
    must = "^.{4,8}$"         # a regular expression that is found in the document

    [[rule]]
    name = "no three consonants in a row"
    must_not = "[^aeiou]{3}"
    weight = 2                # what breaking it costs; 1 if not given

    [[rule]]
    name = "nobody's name"
    novel = true              # not among the documents that the model learned from

A document earns 1, less the weight of each rule that it breaks (Bai et al. 2022 call such rules a
constitution; there a language model judges, here they judge by themselves).
"""

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microgpt.config import number
from microgpt.tokenizer import shorten

KINDS = ("must", "must_not", "novel")


@dataclass(frozen=True)
class Rule:
    """One rule: its name, what breaking it costs, and whether a document keeps it."""

    name: str
    weight: float
    keeps: Callable[[str], bool]


class Rules:
    """A reward made of written rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules

    @classmethod
    def load(cls, path: str, known: Iterable[str] = ()) -> "Rules":
        """Read a TOML file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is not TOML, or a rule in it makes no sense.
        """
        try:
            written = tomllib.loads(Path(path).read_text("utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is not a TOML file: {error}") from None
        tables = written.get("rule")
        if set(written) != {"rule"} or not isinstance(tables, list):
            raise ValueError(f"{path} must hold rules and nothing else, each under [[rule]]")
        kept = set(known)
        try:
            return cls([_rule(table, kept) for table in tables])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def __call__(self, documents: Sequence[str]) -> list[float]:
        """Return what documents earn: 1 less the weights of the rules that each breaks."""
        return [1.0 - sum(rule.weight for rule in self.broken(d)) for d in documents]

    def broken(self, document: str) -> list[Rule]:
        """Return the rules that a document breaks."""
        return [rule for rule in self.rules if not rule.keeps(document)]

    def violations(self, documents: Sequence[str]) -> dict[str, float]:
        """Return the share of documents that breaks each rule, by its name."""
        counts = Counter(rule.name for document in documents for rule in self.broken(document))
        return {rule.name: counts[rule.name] / max(1, len(documents)) for rule in self.rules}


def _rule(table: Any, known: set[str]) -> Rule:
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise ValueError(f"the rule {shorten(repr(table))} has no name; give it one in quotes")
    name = table["name"]
    kinds = [kind for kind in KINDS if kind in table]
    if unknown := sorted(table.keys() - {"name", "weight", *KINDS}):
        raise ValueError(
            f"the rule {shorten(name)} has {unknown[0]!r}; it may have "
            f"name, weight and one of {', '.join(KINDS)}"
        )
    if len(kinds) != 1:
        raise ValueError(f"the rule {shorten(name)} must have one of {', '.join(KINDS)}")
    weight = number(f"the weight of the rule {shorten(name)}", table.get("weight", 1.0))
    if not 0 < weight < 1e6:
        raise ValueError(f"the weight of the rule {shorten(name)} is {weight}; it must be positive")
    (kind,) = kinds
    if kind == "novel":
        if table[kind] is not True:
            raise ValueError(f"the rule {shorten(name)} has novel = {table[kind]!r}; leave it out")
        return Rule(name, weight, lambda document: document not in known)
    try:
        found = re.compile(table[kind]).search
    except (re.error, TypeError) as error:
        raise ValueError(f"the rule {shorten(name)} is not a regular expression: {error}") from None
    if kind == "must":
        return Rule(name, weight, lambda document: bool(found(document)))
    return Rule(name, weight, lambda document: not found(document))
