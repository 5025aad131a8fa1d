"""What engines give and take: numpy's arrays; in a browser's Python, which has none, nested lists.

Those lists support the only two operations used there: tolist() and [i][j].
"""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

BROWSER = sys.platform == "emscripten"  # Python compiled to WebAssembly: Pyodide

if TYPE_CHECKING or not BROWSER:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating]
else:
    Array: TypeAlias = list

State = Mapping[str, Array]  # parameters by name; in a run also adam.m.NAME, adam.v.NAME, adam.t


class Rows(list[Any]):
    """A nested list with numpy's tolist()."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(Rows(item) if isinstance(item, list) else float(item) for item in items)

    def tolist(self) -> list[Any]:
        """Return the same numbers as plain lists."""
        return [item.tolist() if isinstance(item, Rows) else item for item in self]


def array(numbers: Any) -> Array:
    """Return a number, or lists of numbers in lists, as an array of floats."""
    if BROWSER:
        return Rows(numbers) if isinstance(numbers, list) else float(numbers)  # type: ignore[return-value]
    return np.array(numbers, dtype=float)


def reshape(numbers: Any, sizes: Sequence[int]) -> Array:
    """Return a flat row of numbers as an array of floats, with so many in each direction."""
    if not BROWSER:
        return np.reshape(np.asarray(numbers, dtype=float), sizes)
    rows = list(numbers)
    for size in reversed(sizes[1:]):
        rows = [rows[i : i + size] for i in range(0, len(rows), size)]
    return array(rows)


def shape(numbers: Array) -> tuple[int, ...]:
    """Return how many numbers there are in each direction."""
    if BROWSER:
        here: Any = numbers
        return (len(here), *shape(here[0])) if isinstance(here, list) else ()
    return numbers.shape


def finite(numbers: Array, positive: bool = False) -> bool:
    """Return whether every number is finite and, where asked, none is below zero."""
    if BROWSER:
        here: Any = numbers
        if isinstance(here, list):
            return all(finite(item, positive) for item in here)
        return math.isfinite(here) and (here >= 0 or not positive)
    return bool(np.isfinite(numbers).all() and (not positive or (numbers >= 0).all()))
