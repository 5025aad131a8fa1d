"""What a recording holds: statements, calls, numbers, and how to find one by the other."""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from microgpt.xray.graph import Graph, unrun

Seen = dict[str, Any]  # what a name held: nodes, plain numbers, a parameter; see docs/xray.md


@dataclass(slots=True)
class Event:
    """One executed statement: where it is, and what it changed."""

    call: int  # index into calls: whose statement it was
    line: int  # the statement's first line, from 1
    set: dict[str, Seen] = field(default_factory=dict)  # each name that changed
    skipped: int = 0  # rounds of this loop that ran unseen
    index: int = -1  # its place among the events


@dataclass(slots=True)
class Call:
    """One run of a watched function."""

    fn: str
    parent: int | None  # the call it was made from
    line: int | None  # the parent's statement that made it
    args: dict[str, Seen]
    events: list[int]  # index of its first event (its callees' count), and behind its last


@dataclass
class Recording:
    """A document's way through gpt.py: every statement, every Value, forward and backward."""

    document: str
    tokens: list[int]
    vocabulary: str
    config: dict[str, int]
    file: str  # the name of the file that ran
    source: str
    functions: dict[str, list[int]]  # name: [first line, last line]
    params: list[tuple[str, list[int], int]]  # name, shape, the node of its first number
    calls: list[Call]
    events: list[Event]
    data: list[float]  # the number of every node, parameters first
    loss: float | None
    error: dict[str, Any] | None = None  # what stopped the run, if anything did
    graph: Graph | None = None
    adam: dict[str, Any] | None = None  # lr, step; m, v and data of every parameter afterwards

    @property
    def first(self) -> int:
        """The first node that is not a parameter."""
        return sum(math.prod(shape) for _, shape, _ in self.params)

    def code(self, line: int) -> str:
        """Return the text of a line, without its indentation and comment."""
        text = self.source.splitlines()[line - 1].strip() if self.source else f"line {line}"
        return text.split("  #")[0].strip()

    def numbers(self, seen: Seen) -> list[float]:
        """Return the numbers behind what a name held, flat; none for what holds no number."""
        if "values" in seen:
            return list(seen["values"])
        if "value" in seen:
            value = seen["value"]
            items = value if isinstance(value, list) else [value]
            return [x for x in items if isinstance(x, int | float)]
        if "data" in seen:
            return [seen["data"]]
        return [self.data[node] for node in unrun(seen.get("nodes", []))]

    def depth(self, call: int) -> int:
        """Return how many watched calls a call is below: 0 for the outermost."""
        parent = self.calls[call].parent
        return 0 if parent is None else 1 + self.depth(parent)

    def path(self, call: int) -> list[int]:
        """Return the call stack: the outermost call, ..., this one."""
        parent = self.calls[call].parent
        return [*(() if parent is None else self.path(parent)), call]

    def name(self, node: int) -> str:
        """Return what a node is called: a parameter wte[4][0], else by the first name it was
        given q[3], or by what returned it linear()[3]; #4200 if nothing named it."""
        for name, (rows, columns), start in self.params:
            if start <= node < start + rows * columns:
                return f"{name}[{(node - start) // columns}][{(node - start) % columns}]"
        return self._names.get(node, f"#{node}")

    @cached_property
    def _names(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for returned in (False, True):
            for event in self.events:
                if self.calls[event.call].fn in ("backward", "adam"):
                    continue  # there, names pass over Values that have one
                for name, seen in event.set.items():
                    if (name == "return") is returned:
                        name = f"{self.calls[event.call].fn}()" if returned else name
                        alone = seen.get("shape") == []
                        for i, node in enumerate(unrun(seen.get("nodes", []))):
                            names.setdefault(node, name if alone else f"{name}[{i}]")
        return names
