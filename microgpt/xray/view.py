"""A trace to look at: as text of 80 columns, and as HTML for a notebook."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from microgpt.xray.graph import unrun
from microgpt.xray.trace import Seen, Trace

BARS = "▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
WIDTH = 80


def text(trace: Trace) -> str:
    """Return what a trace shows, in 80 columns."""
    parts = [_head(trace)]
    if trace.error:
        e = trace.error
        parts.append(_fit(f"it stopped in line {e['line']}, {e['fn']}(): {e['message']}"))
    positions = trace.positions()
    if any("probs" in p for p in positions):
        parts.append(_guesses(trace, positions))
    if positions:
        parts += [_lines(trace, positions[-1]), _attention(trace, positions[-1])]
    else:
        parts.append(_listing(trace, range(len(trace.events))))
    if trace.graph and trace.graph.steps and trace.params:
        parts.append(_gradients(trace))
    return "\n\n".join(part for part in parts if part)


def _head(trace: Trace) -> str:
    loss = f"loss {trace.loss:.4f} nats/token" if trace.loss is not None else "no loss"
    values = len(trace.data) - trace.first
    head = f"{trace.document} | {loss} | {len(trace.events)} statements | {values:,} Values"
    return _fit(head.removeprefix(" | ") if trace.tokens else head[3:])


def _token(trace: Trace, token: int | None) -> str:
    if token is None:
        return "?"
    return trace.vocabulary[token] if token < len(trace.vocabulary) else "BOS"


def _guess(trace: Trace, position: dict[str, Any], count: int) -> list[tuple[str, float]]:
    """Return the likeliest next tokens, and how likely they are."""
    probs = [trace.data[node] for node in unrun(position.get("probs") or [])]
    best = sorted(range(len(probs)), key=lambda i: -probs[i])[:count]
    return [(_token(trace, i), probs[i]) for i in best]


def _next(trace: Trace, position: dict[str, Any]) -> tuple[str, float | None]:
    """Return the token that came next, and how likely it was held."""
    probs, pos = [*unrun(position.get("probs") or [])], position["pos"]
    if not isinstance(pos, int) or pos + 1 >= len(trace.tokens):
        return "", None
    target = trace.tokens[pos + 1]
    return _token(trace, target), trace.data[probs[target]] if target < len(probs) else None


def _guesses(trace: Trace, positions: Sequence[dict[str, Any]]) -> str:
    rows = ["pos  reads  next  p(next)  surprise  would rather guess"]
    for position in positions:
        token, p = _next(trace, position)
        surprise = "" if not p else f"{-math.log(p):.4f}"
        best = "  ".join(f"{t} {q:.0%}" for t, q in _guess(trace, position, 4))
        shown = "" if p is None else f"{p:.1%}"
        reads = _token(trace, position["token"])
        rows.append(f"{position['pos']:>3}  {reads:5}  {token:4}  {shown:>7}  {surprise:>8}  {best}")
    return "\n".join(map(_fit, rows))


def _lines(trace: Trace, position: dict[str, Any]) -> str:
    call = position["call"]
    first, end = trace.calls[call].events
    mine = [i for i in range(first, end) if trace.events[i].call == call]
    title = f"position {position['pos']}, line by line ({_span(trace, mine)}):"
    return f"{title}\n{_listing(trace, mine)}"


def _span(trace: Trace, events: Sequence[int]) -> str:
    return f"events {events[0]} to {events[-1]}" if events else "no events"


def _listing(trace: Trace, events: Sequence[int]) -> str:
    rows = []
    for index in events[:60]:
        event = trace.events[index]
        shown = "  ".join(f"{n} {_brief(trace, s)}" for n, s in event.set.items())
        code = trace.code(event.line)
        code = code if len(code) <= 38 else code[:37] + "…"
        rows.append(_fit(f"{event.line:4} {code:38}  {shown}"))
    if len(events) > 60:
        rows.append(f"     ... and {len(events) - 60} more")
    return "\n".join(rows)


def _brief(trace: Trace, seen: Seen) -> str:
    if "param" in seen or "type" in seen:
        return str(seen.get("param") or seen["type"])
    if seen.get("shape") == [] and "value" in seen:
        value = seen["value"]
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    numbers = trace.numbers(seen)
    if seen.get("shape") == []:
        grad = f" grad {seen['grad']:.4g}" if "grad" in seen else ""
        return f"{numbers[0]:.4g}{grad}"
    shape = "×".join(map(str, seen.get("shape", [])))
    return f"({shape}) {_bars(numbers[:27])}" if numbers else f"({shape})"


def _bars(numbers: Sequence[float]) -> str:
    """Draw numbers as bars, the lowest to the highest."""
    finite = [x for x in numbers if math.isfinite(x)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        BARS[round((x - low) * scale)] if math.isfinite(x) else "?" for x in numbers
    )


def _attention(trace: Trace, position: dict[str, Any]) -> str:
    letters = [_token(trace, token)[:1] for token in trace.tokens[: (position["pos"] or 0) + 1]]
    letters = ["·" if trace.tokens[i] >= len(trace.vocabulary) else x for i, x in enumerate(letters)]
    rows = []
    for layer, heads in enumerate(position["attention"]):
        for head, found in enumerate(heads):
            weights = [trace.data[node] for node in unrun(found or [])]
            cells = "  ".join(f"{x}{w:5.0%}" for x, w in zip(letters, weights, strict=False))
            rows.append(_fit(f"  layer {layer} head {head}   {cells}"))
    return "\n".join(["where the last position looks:", *rows]) if rows else ""


def _gradients(trace: Trace) -> str:
    assert trace.graph is not None
    rows = ["gradients (root mean square):"]
    for name, (height, width), start in trace.params:
        size = height * width
        grads = [trace.graph.grad(node) for node in range(start, start + size)]
        zero = sum(g == 0 for g in grads)
        rms = math.sqrt(sum(g * g for g in grads) / size)
        rows.append(f"  {name:18} {height:>3} x {width:<4} {rms:9.2e}   {zero / size:4.0%} are zero")
    return "\n".join(rows)


def _fit(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
