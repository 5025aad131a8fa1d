"""A trace to look at: as text of 80 columns, and as HTML for a notebook."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from microgpt.xray.graph import unrun
from microgpt.xray.positions import locate
from microgpt.xray.recording import Recording, Seen

BARS = "▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
WIDTH = 80
STYLE = """
.microgpt-xray td, .microgpt-xray th { text-align: left; padding: 0 .6em 0 0; }
.microgpt-xray code { white-space: nowrap; }
.microgpt-xray svg { margin-right: .6em; vertical-align: middle; }
"""


def text(trace: Recording) -> str:
    """Return what a trace shows, in 80 columns."""
    parts = [_head(trace)]
    if trace.error:
        parts.append(_fit(_stop(trace.error)))
    positions = locate(trace)
    if any("probs" in p for p in positions):
        parts.append(_guesses(trace, positions))
    if positions:
        parts += [_lines(trace, positions[-1]), _attention(trace, positions[-1])]
    else:
        parts.append(_listing(trace, range(len(trace.events))))
    if trace.graph and trace.graph.steps and trace.params:
        parts.append(_gradients(trace))
    return "\n\n".join(part for part in parts if part)


def _head(trace: Recording) -> str:
    loss = f"loss {trace.loss:.4f} nats/token" if trace.loss is not None else ""
    values = len(trace.data) - trace.first
    head = [trace.document, loss, f"{len(trace.events)} statements", f"{values:,} Values"]
    lines = [" | ".join(part for part in head if part)]
    size = trace.config.get("block_size")  # none where no model was read, but a few lines
    if unread := trace.document[size:] if size else "":
        lines.append(f"the model can see {size} characters and not what follows: {unread!r}")
    return "\n".join(map(_fit, lines))


def _stop(error: dict[str, Any]) -> str:
    where = f" in line {error['line']}, {error['fn']}()" if error["line"] else ""
    return f"it stopped{where}: {error['message']}"


def _token(trace: Recording, token: int | None) -> str:
    if token is None:
        return "?"
    return trace.vocabulary[token] if token < len(trace.vocabulary) else "BOS"


def _guess(trace: Recording, position: dict[str, Any], count: int) -> list[tuple[str, float]]:
    """Return the likeliest next tokens, and how likely they are."""
    probs = [trace.data[node] for node in unrun(position.get("probs") or [])]
    best = sorted(range(len(probs)), key=lambda i: -probs[i])[:count]
    return [(_token(trace, i), probs[i]) for i in best]


def _next(trace: Recording, position: dict[str, Any]) -> tuple[str, float | None]:
    """Return the token that came next, and how likely it was held."""
    probs, pos = [*unrun(position.get("probs") or [])], position["pos"]
    if pos + 1 >= len(trace.tokens):
        return "", None
    target = trace.tokens[pos + 1]
    return _token(trace, target), trace.data[probs[target]] if target < len(probs) else None


def _guesses(trace: Recording, positions: Sequence[dict[str, Any]]) -> str:
    rows = ["pos  reads  next  p(next)  surprise  would rather guess"]
    for position in positions:
        token, p = _next(trace, position)
        surprise = "" if not p else f"{-math.log(p):.4f}"
        best = "  ".join(f"{t} {q:.0%}" for t, q in _guess(trace, position, 4))
        shown = "" if p is None else f"{p:.1%}"
        reads = _token(trace, position["token"])
        rows.append(
            f"{position['pos']:>3}  {reads:5}  {token:4}  {shown:>7}  {surprise:>8}  {best}"
        )
    return "\n".join(map(_fit, rows))


def _lines(trace: Recording, position: dict[str, Any]) -> str:
    call = position["call"]
    first, end = trace.calls[call].events
    mine = [i for i in range(first, end) if trace.events[i].call == call]
    title = f"position {position['pos']}, line by line ({_span(trace, mine)}):"
    return f"{title}\n{_listing(trace, mine)}"


def _span(trace: Recording, events: Sequence[int]) -> str:
    return f"events {events[0]} to {events[-1]}" if events else "no events"


def _listing(trace: Recording, events: Sequence[int]) -> str:
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


def _brief(trace: Recording, seen: Seen) -> str:
    if "param" in seen or "type" in seen:
        return str(seen.get("param") or seen["type"])
    if seen.get("shape") == [] and "value" in seen:
        value = seen["value"]
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    numbers = trace.numbers(seen)
    if seen.get("shape") == []:
        grad = f" grad {seen['grad']:.4g}" if "grad" in seen else ""
        return f"{numbers[0]:.4g}{grad}"
    shape = " x ".join(map(str, seen.get("shape", [])))
    return f"({shape}) {_bars(numbers[:27])}" if numbers else f"({shape})"


def _bars(numbers: Sequence[float]) -> str:
    """Draw numbers as bars, the lowest to the highest."""
    finite = [x for x in numbers if math.isfinite(x)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((x - low) * scale)] if math.isfinite(x) else "?" for x in numbers)


def _attention(trace: Recording, position: dict[str, Any]) -> str:
    letters = [_token(trace, token)[:1] for token in trace.tokens[: position["pos"] + 1]]
    letters = [
        "·" if trace.tokens[i] >= len(trace.vocabulary) else x for i, x in enumerate(letters)
    ]
    rows = []
    for layer, heads in enumerate(position["attention"]):
        for head, found in enumerate(heads):
            weights = [trace.data[node] for node in unrun(found or [])]
            cells = "  ".join(f"{x}{w:5.0%}" for x, w in zip(letters, weights, strict=False))
            rows.append(_fit(f"  layer {layer} head {head}   {cells}"))
    return "\n".join(["where the last position looks:", *rows]) if rows else ""


def _gradients(trace: Recording) -> str:
    assert trace.graph is not None
    rows = ["gradients (root mean square):"]
    for name, (height, width), start in trace.params:
        size = height * width
        grads = [trace.graph.grad(node) for node in range(start, start + size)]
        zero = sum(g == 0 for g in grads)
        rms = math.sqrt(sum(g * g for g in grads) / size)
        rows.append(
            f"  {name:18} {height:>3} x {width:<4} {rms:9.2e}   {zero / size:4.0%} are zero"
        )
    return "\n".join(rows)


def _fit(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def html(trace: Recording) -> str:
    """Return what a trace shows, as HTML that needs nothing beside it."""
    positions = locate(trace)
    parts = [f"<p><b>{escape(_head(trace))}</b></p>"]
    if trace.error:
        parts.append(f"<p>{escape(_stop(trace.error))}</p>")
    if any("probs" in p for p in positions):
        parts.append(_html_guesses(trace, positions))
    shown = positions[-1]["call"] if positions else 0
    rows = [
        f"<tr><td>{event.line}</td><td><code>{escape(trace.code(event.line))}</code></td>"
        f"<td>{'<br>'.join(_html_seen(trace, n, s) for n, s in event.set.items())}</td></tr>"
        for event in trace.events
        if event.call == shown
    ]
    title = f"position {positions[-1]['pos']}, line by line" if positions else "line by line"
    parts.append(
        f"<details open><summary>{title}</summary><table>{''.join(rows)}</table></details>"
    )
    if positions:
        parts.append(_html_attention(trace, positions))
    return f'<div class="microgpt-xray"><style>{STYLE}</style>{"".join(parts)}</div>'


def _html_guesses(trace: Recording, positions: Sequence[dict[str, Any]]) -> str:
    rows = ["<tr><th>reads</th><th>next</th><th>p(next)</th><th>would rather guess</th></tr>"]
    for position in positions:
        token, p = _next(trace, position)
        best = ", ".join(f"{escape(t)} {q:.0%}" for t, q in _guess(trace, position, 4))
        reads = escape(_token(trace, position["token"]))
        chance = "" if p is None else f"{p:.1%}"
        rows.append(
            f"<tr><td>{reads}</td><td>{escape(token)}</td><td>{chance}</td><td>{best}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _html_seen(trace: Recording, name: str, seen: Seen) -> str:
    numbers = trace.numbers(seen)
    if len(numbers) < 2:
        return f"{escape(name)} {escape(_brief(trace, seen))}"
    return f"{escape(name)} {_strip(numbers, name)}"


def _strip(numbers: Sequence[float], name: str) -> str:
    """Draw a vector as a strip: blue above zero, orange below, the stronger the larger."""
    largest = max((abs(x) for x in numbers if math.isfinite(x)), default=0.0) or 1.0
    shown = numbers[:128]
    cells = "".join(
        f'<rect x="{i % 32 * 8}" y="{i // 32 * 12}" width="8" height="12" '
        f'fill="{"#0072b2" if x > 0 else "#d55e00"}" '
        f'fill-opacity="{min(1.0, abs(x) / largest) if math.isfinite(x) else 1:.2f}">'
        f"<title>{escape(name)}[{i}] = {x:.4g}</title></rect>"
        for i, x in enumerate(shown)
    )
    size = f'width="{8 * min(len(shown), 32)}" height="{12 * math.ceil(len(shown) / 32)}"'
    label = f"{escape(name, quote=True)}: {len(numbers)} numbers"
    return f'<svg role="img" aria-label="{label}" {size}>{cells}</svg>'


def _html_attention(trace: Recording, positions: Sequence[dict[str, Any]]) -> str:
    grids = []
    for layer, heads in enumerate(positions[-1]["attention"]):
        for head in range(len(heads)):
            rows = [
                [trace.data[node] for node in unrun(p["attention"][layer][head] or [])]
                for p in positions
                if layer < len(p["attention"]) and head < len(p["attention"][layer])
            ]
            cells = "".join(
                f'<rect x="{s * 12}" y="{t * 12}" width="12" height="12" fill="#0072b2" '
                f'fill-opacity="{w:.2f}"><title>{t} looks at {s}: {w:.1%}</title></rect>'
                for t, row in enumerate(rows)
                for s, w in enumerate(row)
            )
            side, label = 12 * len(rows), f"attention, layer {layer} head {head}"
            grids.append(
                f'<svg role="img" aria-label="{label}" width="{side + 12}" height="{side}">'
                f"<title>{label}</title>{cells}</svg>"
            )
    return f"<p>attention, head by head</p>{''.join(grids)}" if grids else ""
