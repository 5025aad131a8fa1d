"""A picture drawn by matplotlib and written to a file, whole or not at all."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from microgpt import files

KINDS = (".png", ".svg")


@contextmanager
def drawing(path: files.PathLike, *panels: int, **options: Any) -> Iterator[tuple[Any, Any]]:
    """Give pyplot and the axes of a figure; what is drawn by the end of the block is written.

    Args:
        path: FILE.png or FILE.svg.
        panels: rows and columns of axes; one by default.
        options: pyplot.subplots' own.

    Raises:
        ValueError: the path ends in another kind of picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "microgpt"  # the same picture, the same bytes
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(*panels, layout="constrained", **options)
    try:
        yield pyplot, axes
        picture = io.BytesIO()
        kind = Path(path).suffix.lower().lstrip(".")
        dated = {"Date": None} if kind == "svg" else {}
        figure.savefig(picture, format=kind, dpi=150, metadata=dated)
    finally:
        pyplot.close(figure)
    files.write(path, picture.getvalue())
