"""The bricks read over plain floats: the same code, without the graph that Values leave behind.

134 million Values take 12 GB, 134 million floats in `array('f')` half a gigabyte. Each function of
gpt.py and bricks.py finds the others by name; here a handful of names lead to arithmetic on floats.
"""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt import gpt
from microgpt.llm import bricks


def add(values: Sequence[float]) -> float:
    """Return the sum."""
    return sum(values)


def dot(a: Iterable[float], b: Iterable[float]) -> float:
    """Return a[0]*b[0] + a[1]*b[1] + ..."""
    products: Iterable[float] = map(mul, a, b)
    return sum(products)


def softmax(logits: Sequence[float]) -> list[float]:
    """Turn any numbers into probabilities."""
    largest = max(logits)
    exps = [math.exp(z - largest) for z in logits]
    scale = sum(exps) ** -1
    return [e * scale for e in exps]


def data(number: float) -> float:
    """Return the number."""
    return number


READ = (gpt.__name__, bricks.__name__)
WORDS = {"add": add, "dot": dot, "softmax": softmax, "data": data}


def read(**words: Any) -> Any:
    """Return the functions of gpt.py and bricks.py, calling these in place of their own.

    Args:
        words: more functions that take the place of those of that name.
    """
    names: dict[str, Any] = {**vars(gpt), **vars(bricks), **WORDS, **words}
    for name in names.keys() - WORDS.keys() - words.keys():
        if isinstance(f := names[name], FunctionType) and f.__module__ in READ:
            names[name] = FunctionType(f.__code__, names, name, f.__defaults__)
    names["ACTIVATIONS"] = {name: names[name] for name in bricks.ACTIVATIONS}
    return SimpleNamespace(**names)


def rows(params: Mapping[str, NDArray[np.floating]]) -> dict[str, Any]:
    """Return parameters as forward takes them: a row is an array of Python's, 4 or 8 bytes each."""
    return {name: _rows(numbers) for name, numbers in params.items()}


def _rows(numbers: NDArray[np.floating]) -> Any:
    if numbers.ndim > 1:
        return [_rows(row) for row in numbers]
    return array("d" if numbers.dtype == np.float64 else "f", numbers.tobytes())
