"""Where two runs part: the first line that differs, and the first number."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from microgpt.xray.graph import Graph
from microgpt.xray.recording import Event, Recording, Seen

ROUNDING = 1e-9  # relative: what a sum in another order may be off by
AHEAD = 200  # statements looked ahead for where two runs meet again

Key = tuple[str, str]  # function, text of the statement


@dataclass(frozen=True)
class Place:
    """A statement of one run."""

    event: int
    fn: str
    line: int
    code: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.fn}(): {self.code}"


@dataclass(frozen=True)
class Number:
    """A number that two runs hold under one name; None where one of them holds none."""

    name: str  # h, or an item of it: h[3]
    a: float | None
    b: float | None
    at_a: Place | None  # None: in the rounds of backward() that are not shown line by line
    at_b: Place | None

    def __str__(self) -> str:
        a, b = ("nothing" if x is None else f"{x:.6g}" for x in (self.a, self.b))
        where = f"{self.at_b or self.at_a or 'in backward()'}"
        return f"{self.name} is {a}, then {b}  ({where})"


@dataclass(frozen=True)
class Difference:
    """What diff found; false where two runs agree."""

    line_a: Place | None  # the first statements that differ; one is None where its run had ended
    line_b: Place | None
    number: Number | None

    def __bool__(self) -> bool:
        return bool(self.line_a or self.line_b or self.number)

    def __str__(self) -> str:
        if not self:
            return "the two runs agree, line by line and number by number"
        lines = ["every line is the same"]
        if self.line_a or self.line_b:
            lines = ["first line that differs:"]
            lines += [f"  - {self.line_a or 'the end'}", f"  + {self.line_b or 'the end'}"]
        if not self.number:
            return "\n".join([*lines, "no number differs"])
        return "\n".join([*lines, "first number that differs:", f"  {self.number}"])


def diff(a: Recording, b: Recording) -> Difference:
    """Find where two runs part: the first statement that differs in its text, the first number.

    Statements are matched by function and text, not by line number, and numbers by name, so an
    inserted line is found as just that. Gradients are compared as backward() wrote them.
    """
    keys_a, keys_b = _keys(a), _keys(b)
    parted = next(
        (i for i, (x, y) in enumerate(zip(keys_a, keys_b, strict=False)) if x != y),
        min(len(keys_a), len(keys_b)),
    )
    number = next(_numbers(a, b, keys_a, keys_b), None)
    return Difference(_place(a, parted), _place(b, parted), number)


def _keys(trace: Recording) -> list[Key]:
    return [(trace.calls[e.call].fn, trace.code(e.line)) for e in trace.events]


def _place(trace: Recording, index: int) -> Place | None:
    if index >= len(trace.events):
        return None
    event = trace.events[index]
    return Place(index, trace.calls[event.call].fn, event.line, trace.code(event.line))


def _numbers(a: Recording, b: Recording, keys_a: list[Key], keys_b: list[Key]) -> Iterator[Number]:
    """Yield what differs between statements in the same place.

    Of lines whose texts differ, a single one in either run is the same place, if it belongs to the
    same call of a function: its n-th.
    """
    calls_a, calls_b = _ordinals(a), _ordinals(b)
    i = j = 0
    heard = False  # gradients come after backward() and before adam() uses them
    while i < len(keys_a) and j < len(keys_b):
        if keys_a[i][0] == "adam" and not heard:
            heard = True
            yield from _gradients(a, b)
        skip_a, skip_b = (0, 0) if keys_a[i] == keys_b[j] else _meet(keys_a[i:], keys_b[j:])
        x, y = a.events[i], b.events[j]
        same = (skip_a, skip_b) == (0, 0)
        if same or ((skip_a, skip_b) == (1, 1) and calls_a[x.call] == calls_b[y.call]):
            yield from _compare(a, b, x, y)
        i, j = (i + skip_a, j + skip_b) if skip_a or skip_b else (i + 1, j + 1)
    if not heard:
        yield from _gradients(a, b)


def _ordinals(trace: Recording) -> list[tuple[str, int]]:
    """Return the function of each call, and how many calls of it there were before."""
    before: Counter[str] = Counter()
    found = []
    for call in trace.calls:
        found.append((call.fn, before[call.fn]))
        before[call.fn] += 1
    return found


def _meet(a: Sequence[Key], b: Sequence[Key]) -> tuple[int, int]:
    """Return how many statements of each run to pass over until they agree again."""
    a, b = a[: AHEAD + 3], b[: AHEAD + 3]
    for total in range(1, AHEAD):
        for skip_a in sorted(range(total + 1), key=lambda s: abs(total - 2 * s)):
            skip_b = total - skip_a
            if skip_a < len(a) and a[skip_a : skip_a + 3] == b[skip_b : skip_b + 3]:
                return skip_a, skip_b
    return len(a), len(b)


def _compare(a: Recording, b: Recording, x: Event, y: Event) -> Iterator[Number]:
    backward = x.skipped or y.skipped or a.calls[x.call].fn == b.calls[y.call].fn == "backward"
    if a.graph and b.graph and backward:
        return  # what its rounds did, in whatever order, the graph tells number by number
    for name in (n for n in x.set if n in y.set):
        items_a, items_b = a.numbers(x.set[name]), b.numbers(y.set[name])
        for i in range(max(len(items_a), len(items_b))):
            p = items_a[i] if i < len(items_a) else None
            q = items_b[i] if i < len(items_b) else None
            if not _same(p, q):
                alone = x.set[name].get("shape") == y.set[name].get("shape") == []
                item = name if alone else f"{name}[{i}]"
                yield Number(item, p, q, _place(a, x.index), _place(b, y.index))
        p, q = _grad(x.set[name]), _grad(y.set[name])
        if not _same(p, q):
            yield Number(f"{name}.grad", p, q, _place(a, x.index), _place(b, y.index))


def _grad(seen: Seen) -> float:
    grad: float = seen.get("grad", 0.0)
    return grad


def _gradients(a: Recording, b: Recording) -> Iterator[Number]:
    """Yield gradients that differ: as they were written, or of the parameters in the end."""
    if a.graph is None or b.graph is None:
        return
    flows_a, flows_b = _flows(a.graph), _flows(b.graph)
    if [node for node, _ in flows_a] != [node for node, _ in flows_b]:
        flows_a = [(node, a.graph.grad(node)) for node in range(a.first)]
        flows_b = [(node, b.graph.grad(node)) for node in range(b.first)]
    for (node, p), (_, q) in zip(flows_a, flows_b, strict=False):
        if not _same(p, q):
            yield Number(f"{b.name(node)}.grad", p, q, None, None)


def _flows(graph: Graph) -> list[tuple[int, float]]:
    return [flow for step in graph.steps for flow in step.flows]


def _same(p: Any, q: Any) -> bool:
    if isinstance(p, float) and isinstance(q, float) and math.isnan(p) and math.isnan(q):
        return True
    if isinstance(p, int | float) and isinstance(q, int | float):
        return math.isclose(p, q, rel_tol=ROUNDING, abs_tol=1e-15)
    return bool(p == q)
