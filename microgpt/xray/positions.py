"""Where in a trace the numbers are that the page draws: this file knows gpt.py's names."""

from typing import Any

from microgpt.xray.graph import unrun
from microgpt.xray.recording import Recording


def locate(trace: Recording) -> list[dict[str, Any]]:
    """Return, for each call of gpt(), where in the trace to find what it computed.

    Each holds call, token, pos and, as nodes: logits, probs, surprise, attention (by layer, by
    head), residual (n_layer + 1 vectors), hidden (by layer). What an edited file computes under
    other names is left out.
    """
    calls = [i for i, call in enumerate(trace.calls) if call.fn == "gpt"]
    return [
        {
            "call": call,
            "token": trace.tokens[pos] if pos < len(trace.tokens) else None,
            "pos": pos,
            **_layers(trace, call),
            **_guess(trace, call),
        }
        for pos, call in enumerate(calls)
    ]


def _layers(trace: Recording, gpt: int) -> dict[str, Any]:
    """Return the attention, residual stream and hidden units of a call of gpt()."""
    found: dict[str, Any] = {"attention": [], "residual": [], "hidden": []}
    start, end = trace.calls[gpt].events
    heads: dict[int, list[Any]] = {}  # of each call of attention(), what softmax() returned to it
    for event in trace.events[start:end]:
        by = trace.calls[event.call]
        if by.fn == "softmax" and "return" in event.set and by.parent is not None:
            heads.setdefault(by.parent, []).append(event.set["return"].get("nodes"))
    for index, inner in enumerate(trace.calls[gpt + 1 :], gpt + 1):
        if inner.events[0] >= end:
            break
        if inner.fn == "attention" and inner.parent == gpt:
            found["attention"].append(heads.get(index, []))
            found["residual"].append(_last(trace, gpt, "x", inner.events[0]))
        elif inner.fn == "linear" and ".mlp_fc2" in inner.args.get("w", {}).get("param", ""):
            found["hidden"].append(inner.args.get("x", {}).get("nodes"))
    found["residual"].append(_last(trace, gpt, "x", end))
    return found


def _guess(trace: Recording, gpt: int) -> dict[str, Any]:
    """Return a call's logits and, from what comes after it, probabilities and surprise."""
    parent, (_, end) = trace.calls[gpt].parent, trace.calls[gpt].events
    found: dict[str, Any] = {"logits": trace.events[end - 1].set.get("return", {}).get("nodes")}
    for event in trace.events[end:]:
        by = trace.calls[event.call]
        if by.fn == "softmax" and by.parent == parent and "return" in event.set:
            found["probs"] = event.set["return"].get("nodes")
        elif event.call == parent and "surprises" in event.set:
            last = [*unrun(event.set["surprises"].get("nodes", []))][-1:]
            found["surprise"] = [[node, 1] for node in last]
            break
    return found


def _last(trace: Recording, call: int, name: str, before: int) -> Any:
    for event in reversed(trace.events[trace.calls[call].events[0] : before]):
        if event.call == call and name in event.set:
            return event.set[name].get("nodes")
    return None
