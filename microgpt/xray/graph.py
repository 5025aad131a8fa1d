"""The Values of a run: how each came from others, and how gradients flowed back through them."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(slots=True)
class Step:
    """One Value's turn in backward(): what it passed on to its children."""

    node: int | None  # whose turn; None where backward() starts the gradient itself
    grad: float | None  # its gradient by then
    flows: list[tuple[int, float]]  # child, and the child's gradient after what it got


@dataclass
class Graph:
    """Every Value by its node, and the steps of backward() in the order it took them."""

    ops: list[str]  # the operation that made each: parameter + * ** dot add exp log relu ...
    made: list[int]  # the event that made each; -1 for those there before
    children: list[list[int]]
    local_grads: list[list[float]]
    steps: list[Step] = field(default_factory=list)

    @cached_property
    def parents(self) -> list[list[int]]:
        """By node: the nodes computed from it, each once."""
        parents: list[list[int]] = [[] for _ in self.ops]
        for node, children in enumerate(self.children):
            for child in dict.fromkeys(children):
                parents[child].append(node)
        return parents

    @cached_property
    def turns(self) -> dict[int, int]:
        """By node: the step at which its turn came; a Value without children has none."""
        return {step.node: k for k, step in enumerate(self.steps) if step.node is not None}

    @cached_property
    def received(self) -> dict[int, list[tuple[int, float]]]:
        """By node: the steps that changed its gradient, and what it was after each."""
        received: dict[int, list[tuple[int, float]]] = {}
        for k, step in enumerate(self.steps):
            for child, grad in step.flows:
                received.setdefault(child, []).append((k, grad))
        return received

    @cached_property
    def born(self) -> dict[int, list[int]]:
        """By event: the nodes that it made."""
        born: dict[int, list[int]] = {}
        for node, event in enumerate(self.made):
            born.setdefault(event, []).append(node)
        return born

    def grad(self, node: int, step: int | None = None) -> float:
        """Return a node's gradient after a step, counted from 0; at the end without one."""
        flows = self.received.get(node, [])
        if step is not None:
            flows = flows[: bisect_right(flows, step, key=lambda flow: flow[0])]
        return flows[-1][1] if flows else 0.0

    def to_dict(self, first: int) -> dict[str, Any]:
        """Return the graph as JSON data, from the first node that is not a parameter."""
        return {
            "op": self.ops[first:],
            "made": self.made[first:],
            "children": [runs(children) for children in self.children[first:]],
            "local_grads": self.local_grads[first:],
            "steps": [[step.node, step.grad, step.flows] for step in self.steps],
        }

    @classmethod
    def from_dict(cls, saved: dict[str, Any], first: int) -> "Graph":
        """Return the graph that to_dict described."""
        return cls(
            ["parameter"] * first + saved["op"],
            [-1] * first + saved["made"],
            [[]] * first + [list(unrun(children)) for children in saved["children"]],
            [[]] * first + saved["local_grads"],
            [Step(node, grad, [(c, g) for c, g in flows]) for node, grad, flows in saved["steps"]],
        )


def runs(nodes: Iterable[int | None]) -> list[Any]:
    """Write node ids as runs [first, count], or [first, count, stride]; None stays null.

    >>> runs([7, 8, 9, 20, 22, 24, None, 3])
    [[7, 3], [20, 3, 2], None, [3, 1]]
    """
    found: list[Any] = []
    items = list(nodes)
    i = 0
    while i < len(items):
        first, count, stride = items[i], 1, 1
        if first is None:
            found.append(None)
        else:
            second, third = (*items[i + 1 : i + 3], None, None)[:2]
            if second is not None and third is not None and third - second == second - first:
                stride = second - first
            while i + count < len(items) and items[i + count] == first + count * stride:
                count += 1
            found.append([first, count] if stride == 1 else [first, count, stride])
        i += count
    return found


def unrun(found: Iterable[Any]) -> Iterator[int]:
    """Yield the node ids of runs, without the nulls."""
    for run in found:
        if run is not None:
            first, count, stride = (*run, 1)[:3]
            yield from (first + k * stride for k in range(count))
