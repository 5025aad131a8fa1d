"""The Value graph a piece at a time: document -> position -> operation -> expression -> one Value.

No answer shows more than WINDOW Values (30); `start` asks for those that follow. All of it is JSON
data; docs/xray.md describes the fields.
"""

import math
from typing import Any

from microgpt.xray.graph import Graph, unrun
from microgpt.xray.positions import locate
from microgpt.xray.recording import Recording

WINDOW = 30


def document(trace: Recording) -> dict[str, Any]:
    """Return the loss and the positions it is the mean of: the whole run on one page.

    `statements` are the steps of backward() at which it first reaches each statement of gpt() and
    loss(): where to stop on a quick walk.
    """
    graph = _graph(trace)
    last = trace.events[trace.calls[0].events[1] - 1].set.get("return", {})
    root = next(unrun(last.get("nodes", [])), None)
    shares = []
    for found in locate(trace):
        node = next(unrun(found.get("surprise", [])), None)
        pos = found["pos"]
        shares.append(
            {
                "pos": pos,
                "token": found["token"],
                "target": trace.tokens[pos + 1] if pos + 1 < len(trace.tokens) else None,
                "call": found["call"],
                "surprise": None if node is None else value(trace, node),
            }
        )
    return {
        "loss": None if root is None else value(trace, root),
        "steps": len(graph.steps),
        "values": len(trace.data) - trace.first,
        "statements": _statements(trace, graph),
        "positions": shares,
    }


def operations(trace: Recording, call: int, start: int = 0) -> dict[str, Any]:
    """Return the statements of a call that made Values, with what came back through each.

    Each has event, line, code, names, `values` (how many it made, its inner calls included), `size`
    of the gradient of what it named (root mean square), `turns` (the first and last step of
    backward() among them), and `calls` (the inner calls, to go on into).
    """
    graph = _graph(trace)
    first, end = trace.calls[call].events
    rows, begin = [], first
    for index in range(first, end):
        event = trace.events[index]
        if event.call != call:
            continue
        made = [node for i in range(begin, index + 1) for node in graph.born.get(i, ())]
        if made:
            mine = [graph.turns[node] for node in made if node in graph.turns]
            named = [node for seen in event.set.values() for node in unrun(seen.get("nodes", []))]
            grads = [graph.grad(node) for node in named]
            rows.append(
                {
                    "event": index,
                    "line": event.line,
                    "code": trace.code(event.line),
                    "names": sorted(event.set),
                    "values": len(made),
                    "size": math.sqrt(sum(g * g for g in grads) / len(grads)) if grads else None,
                    "turns": [min(mine), max(mine)] if mine else None,
                    "calls": [
                        i
                        for i, inner in enumerate(trace.calls)
                        if inner.parent == call and begin <= inner.events[0] < index
                    ],
                }
            )
        begin = index + 1
    return {
        "call": call,
        "fn": trace.calls[call].fn,
        "path": trace.path(call),
        "operations": rows[start : start + WINDOW],
        "more": max(0, len(rows) - start - WINDOW),
    }


def expression(trace: Recording, event: int, start: int = 0) -> dict[str, Any]:
    """Return the Values that one statement named, or made where it named none."""
    statement, graph = trace.events[event], _graph(trace)
    found: dict[int, None] = {}
    for seen in statement.set.values():
        found |= dict.fromkeys(unrun(seen.get("nodes", [])))
    found = found or dict.fromkeys(graph.born.get(event, ()))
    shown = list(found)[start : start + WINDOW]
    return {
        "event": event,
        "call": statement.call,
        "line": statement.line,
        "code": trace.code(statement.line),
        "values": [value(trace, node) for node in shown],
        "more": max(0, len(found) - start - WINDOW),
    }


def around(trace: Recording, node: int, step: int | None = None, start: int = 0) -> dict[str, Any]:
    """Return one Value among its neighbours, with the gradients after a step of backward().

    Each child has local_grad, and `flow`: local_grad * grad, what it gets from here once this
    Value's turn has come (null until then). The children of a dot product are given in pairs,
    a[0] b[0] a[1] b[1] ... Parents are those its own gradient comes from.
    """
    graph = _graph(trace)
    turn = graph.turns.get(node)
    gone = turn is not None and (step is None or turn <= step)
    grad = graph.steps[turn].grad if gone and turn is not None else None
    children = []
    order = list(range(len(graph.children[node])))
    if graph.ops[node] == "dot":
        half = len(order) // 2
        order = [i for pair in zip(order[:half], order[half:], strict=True) for i in pair]
    parents = graph.parents[node]
    room = WINDOW - 1 - min(len(parents), 9)
    room -= room % 2
    for i in order[start : start + room]:
        local_grad = graph.local_grads[node][i]
        children.append(
            value(trace, graph.children[node][i], step)
            | {
                "index": i,
                "local_grad": local_grad,
                "flow": None if grad is None else local_grad * grad,
            }
        )
    return value(trace, node, step) | {
        "event": graph.made[node],
        "line": trace.events[graph.made[node]].line if graph.made[node] >= 0 else None,
        "children": children,
        "more_children": max(0, len(order) - start - room),
        "parents": [value(trace, parent, step) for parent in parents[:9]],
        "more_parents": max(0, len(parents) - 9),
    }


def turn(trace: Recording, step: int, start: int = 0) -> dict[str, Any]:
    """Return one step of backward(): the Value whose turn it was, and what it passed on.

    Each flow has the child's gradient `before`, what was `added`, and what it was `after`.
    """
    graph = _graph(trace)
    if not 0 <= step < len(graph.steps):
        raise ValueError(f"there is no step {step}; backward() took {len(graph.steps)}, from 0")
    taken = graph.steps[step]
    grads: dict[int, float] = {}
    flows = []
    for child, after in taken.flows:
        before = grads.get(child, graph.grad(child, step - 1))
        flows.append((child, {"before": before, "added": after - before, "after": after}))
        grads[child] = after
    shown = [value(trace, child, step) | f for child, f in flows[start : start + WINDOW - 1]]
    return {
        "step": step,
        "node": None if taken.node is None else value(trace, taken.node, step),
        "flows": shown,
        "more": max(0, len(flows) - start - WINDOW + 1),
    }


def value(trace: Recording, node: int, step: int | None = None) -> dict[str, Any]:
    """Return one Value: node, name, op, data, grad (after a step, or at the end), and its turn.

    One that no gradient reaches has `silent`, the reason: "relu", a ReLU cut it off; or "unused".
    """
    graph = _graph(trace)
    silent = None if node in graph.turns or node < trace.first else _silent(trace, graph, node)
    return ({} if silent is None else {"silent": silent}) | {
        "node": node,
        "name": trace.name(node),
        "op": graph.ops[node],
        "data": trace.data[node],
        "grad": graph.grad(node, step),
        "turn": graph.turns.get(node),
    }


def _silent(trace: Recording, graph: Graph, node: int) -> str | None:
    """Return why no gradient reaches a Value: nothing of the loss was computed from it.

    A ReLU of a negative number makes a Value without children, so what went in has no parents.
    """
    waiting, seen = [node], {node}
    while waiting:
        last = waiting.pop()
        if last in graph.turns:
            return None  # a leaf of the loss: a plain number, or the output of a silent ReLU
        parents = graph.parents[last]
        if not parents and trace.data[last] <= 0 and graph.ops[last] != "relu":
            return "relu"
        waiting += [parent for parent in parents if parent not in seen]
        seen.update(parents)
    return "unused"


def _statements(trace: Recording, graph: Graph) -> list[int]:
    """Return the steps of backward() that are the first on a statement of gpt() or loss()."""
    outer = {0} | {found["call"] for found in locate(trace)}
    latest: dict[int, int] = {}  # by call: the statement under way, seen from the end
    enclosing: list[int] = [0] * len(trace.events)
    for index in range(trace.calls[0].events[1] - 1, -1, -1):
        call: int | None = trace.events[index].call
        if call in outer:
            latest[call] = index
        while call is not None and call not in outer:
            call = trace.calls[call].parent
        enclosing[index] = index if call is None else latest.get(call, index)
    reached: dict[int, int] = {}
    for step, taken in enumerate(graph.steps):
        made = -1 if taken.node is None else graph.made[taken.node]
        if made >= 0:
            reached.setdefault(enclosing[made], step)
    return sorted(reached.values())


def _graph(trace: Recording) -> Graph:
    if trace.graph is None:
        raise ValueError("this trace was saved without its graph; save it with graph")
    return trace.graph
