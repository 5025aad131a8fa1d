"""What a probe was answered, as plain data: made of anything, compared by value, and shown.

An answer is None, a truth value, a number, a text, a list of answers, or answers by name. A number
that is infinite or not a number is a text here, so that it equals itself and fits into JSON.
"""

import math
from typing import Any

TOLERANCE = 1e-6  # relative; sums in another order, or compensated (Python 3.12 on), stay below
TINY = 1e-9  # absolute: what is left of numbers that cancel
LONGEST, DEEPEST = 5000, 6  # entries of a list; lists in lists

Answer = Any


def plain(thing: Any, depth: int = DEEPEST) -> Answer:
    """Return anything that a function may return as an answer; what is none gives its type."""
    if thing is None or isinstance(thing, bool):
        return thing
    if isinstance(thing, int):
        return int(thing) if abs(thing) < 2**63 else f"an integer of {thing.bit_length()} bits"
    if isinstance(thing, float):
        return float(thing) + 0.0 if math.isfinite(thing) else str(float(thing))  # -0.0 is 0.0
    if isinstance(thing, str):
        return str(thing[:LONGEST])
    if isinstance(thing, dict) and depth:
        return {str(name): plain(each, depth - 1) for name, each in thing.items()}
    if isinstance(thing, list | tuple):
        if not depth or len(thing) > LONGEST:
            return f"a list of {len(thing)}" + ("" if depth else ", inside lists")
        return [plain(each, depth - 1) for each in thing]
    return f"<{type(thing).__name__}>"


def is_number(answer: Answer) -> bool:
    """Tell whether an answer is a number."""
    return isinstance(answer, int | float) and not isinstance(answer, bool)


def same(a: Answer, b: Answer) -> bool:
    """Tell whether two answers are equal, numbers within the tolerance."""
    return first_difference(a, b) is None


def first_difference(a: Answer, b: Answer, name: str = "") -> tuple[str, Answer, Answer] | None:
    """Return where two answers differ first, and what each has there; None if nowhere."""
    if is_number(a) and is_number(b):
        close = math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TINY)
        return None if close else (name, a, b)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        nested = any(isinstance(each, list) for each in a + b)
        for i, pair in enumerate(zip(a, b, strict=True)):
            if found := first_difference(*pair, f"{name}[{i}]"):
                return found if nested or len(a) > 6 else (name, a, b)  # short: shown whole
        return None
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            if found := first_difference(a[key], b[key], f"{name}.{key}" if name else key):
                return found
        return None
    return None if type(a) is type(b) and a == b else (name, a, b)


def show(name: str, a: Answer, b: Answer) -> tuple[str, str]:
    """Return two answers that differ as short texts that differ too, after the name of both."""
    name = f"result{name}" if name.startswith("[") else name
    for digits in (6, 9, 17):
        texts = _text(a, digits), _text(b, digits)
        if texts[0] != texts[1]:
            break
    return f"{name} {texts[0]}".strip(), f"{name} {texts[1]}".strip()


def _text(answer: Answer, digits: int) -> str:
    if is_number(answer):
        return f"{answer:.{digits}g}" if isinstance(answer, float) else str(answer)
    if isinstance(answer, list):
        texts = [_text(each, digits) for each in answer[:12]]
        return f"[{', '.join(texts + ['...'] * (len(answer) > 12))}]"
    if isinstance(answer, dict):
        return ", ".join(f"{name} {_text(each, digits)}" for name, each in answer.items())
    text = answer if isinstance(answer, str) and answer[:1] in "<a" and " " in answer else None
    return text or (repr(answer) if len(repr(answer)) <= 60 else repr(answer[:50]) + "...")
