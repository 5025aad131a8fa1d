"""What engines give and take: numpy's arrays; in a browser's Python, which has none, nested lists.

Those lists answer to what the rooms that run there ask of an array: tolist(), and [i][j].
"""

import math
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

BROWSER = sys.platform == "emscripten"  # Python compiled to WebAssembly: Pyodide

if TYPE_CHECKING or not BROWSER:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating]
else:
    Array: TypeAlias = list


class Rows(list[Any]):
    """A list that can be asked for itself as an array can, and so can the lists in it."""

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


def shape(numbers: Array) -> tuple[int, ...]:
    """Return how many numbers there are in each direction."""
    if BROWSER:
        here: Any = numbers
        return (len(here), *shape(here[0])) if isinstance(here, list) else ()
    return numbers.shape


def sound(numbers: Array, positive: bool = False) -> bool:
    """Tell whether every number is finite, and none below zero where that is asked."""
    if BROWSER:
        here: Any = numbers
        if isinstance(here, list):
            return all(sound(item, positive) for item in here)
        return math.isfinite(here) and (here >= 0 or not positive)
    return bool(np.isfinite(numbers).all() and (not positive or (numbers >= 0).all()))
