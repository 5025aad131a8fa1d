"""The plane in which vectors differ most, for a map of letters: PCA without numpy."""

import math
from collections.abc import Sequence
from operator import mul

SQUARINGS = 20  # two directions of which one is 0.01% longer are told apart
Points = list[tuple[float, float]]


def plane(vectors: Sequence[Sequence[float]], before: Points | None) -> Points:
    """Return vectors (n, d) on the plane in which they differ most (n, 2): PCA.

    The plane is turned to lie as it did before, so that points move because the vectors do.
    """
    means = [sum(column) / len(column) for column in zip(*vectors, strict=True)]
    left = [[x - mean for x, mean in zip(v, means, strict=True)] for v in vectors]
    found = []
    for _ in range(2):
        axis = direction(left)
        found.append([sum(map(mul, v, axis)) for v in left])
        left = [
            [x - place * a for x, a in zip(v, axis, strict=True)]
            for v, place in zip(left, found[-1], strict=True)
        ]
    points = list(zip(*found, strict=True))
    if before is None:
        return points
    # the orthogonal matrix that brings them nearest, of all turns and of all turned mirrors
    pairs = list(zip(points, before, strict=True))
    turns = []
    for side in (1, -1):
        a = sum(x * u + side * y * v for (x, y), (u, v) in pairs)
        b = sum(x * v - side * y * u for (x, y), (u, v) in pairs)
        turns.append((math.hypot(a, b), side, math.atan2(b, a)))
    _, side, angle = max(turns)
    c, s = math.cos(angle), math.sin(angle)
    return [(c * x - side * s * y, s * x + side * c * y) for x, y in points]


def direction(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return the direction, of length 1, in which vectors (n, d) reach furthest from 0.

    The matrix of their products, squared again and again, forgets every other.
    """
    columns = list(zip(*vectors, strict=True))
    few = min(columns, vectors, key=len)
    matrix = [[sum(map(mul, a, b)) for b in few] for a in few]
    for _ in range(SQUARINGS):
        trace = sum(row[i] for i, row in enumerate(matrix)) or 1.0
        matrix = [[x / trace for x in row] for row in matrix]
        if sum(sum(map(mul, row, row)) for row in matrix) > 1 - 1e-12:
            break  # one direction is left
        matrix = [[sum(map(mul, a, b)) for b in matrix] for a in matrix]  # it is symmetric
    axis = max(matrix, key=lambda row: sum(map(mul, row, row)))
    if few is vectors:
        axis = [sum(map(mul, column, axis)) for column in columns]
    length = math.hypot(*axis) or 1.0
    return [x / length for x in axis]
