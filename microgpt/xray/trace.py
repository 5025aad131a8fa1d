"""A recording as it is saved, sent and shown: its one JSON form (docs/xray.md describes it)."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.xray import view
from microgpt.xray.graph import Graph
from microgpt.xray.positions import locate
from microgpt.xray.recording import Call, Event, Recording, Seen

FORMAT = "microgpt xray 1"
PARTS = ("source", "params", "grads", "adam", "graph")  # what a light trace leaves out
_MOVED = ("m", "v", "data")  # what adam changes, one number a parameter
DIGITS = 4  # significant digits of a number in a light trace


@dataclass
class Trace(Recording):
    """A recording that can be saved as JSON, and that shows itself."""

    def part(self, name: str) -> Any:
        """Return one of the heavy parts as JSON data.

        Raises:
            ValueError: there is no such part, or it was not recorded.
        """
        if name not in PARTS:
            raise ValueError(f"a trace has no part {name!r}; it has {', '.join(PARTS)}")
        if name == "source":
            return self.source
        if name == "params":
            return self._by_name(self.data[: self.first])
        if name == "adam":
            if self.adam is None:
                raise ValueError("this trace ends before adam; record until adam for that part")
            moved = {key: self._by_name(self.adam[key]) for key in _MOVED}
            return {"step": self.adam["step"], "lr": self.adam["lr"]} | moved
        if self.graph is None:
            raise ValueError("this trace was saved without its graph; save it with graph")
        if name == "graph":
            return self.graph.to_dict(self.first)
        grads = [self.graph.grad(node) for node in range(len(self.data))]
        return {"params": self._by_name(grads), "nodes": grads[self.first :]}

    def _by_name(self, numbers: Sequence[float]) -> dict[str, list[list[float]]]:
        return {
            name: [
                list(numbers[start + r * columns : start + (r + 1) * columns]) for r in range(rows)
            ]
            for name, (rows, columns), start in self.params
        }

    def to_dict(self, parts: Iterable[str] = (), digits: int | None = DIGITS) -> dict[str, Any]:
        """Return the trace as JSON data: the light trace, and the heavy parts asked for.

        Numbers have so many significant digits, or with None all of them.

        Raises:
            ValueError: there is no such part, or it was not recorded.
        """
        result = {
            "format": FORMAT,
            "document": self.document,
            "tokens": self.tokens,
            "vocabulary": self.vocabulary,
            "config": self.config,
            "loss": self.loss,
            "error": self.error,
            "file": self.file,
            "functions": self.functions,
            "params": [list(tensor) for tensor in self.params],
            "first": self.first,
            "data": self.data[self.first :],
            "calls": [
                [c.fn, c.parent, c.line, {n: _pack(s) for n, s in c.args.items()}, *c.events]
                for c in self.calls
            ],
            "events": [
                [e.call, e.line, {n: _pack(s) for n, s in e.set.items()}]
                + ([e.skipped] if e.skipped else [])
                for e in self.events
            ],
            "positions": locate(self),
            "parts": {name: self.part(name) for name in parts},
        }
        rounded: dict[str, Any] = _rounded(result, digits)
        return rounded | {"loss": _rounded(self.loss, None)}

    def to_json(self, parts: Iterable[str] = (), digits: int | None = DIGITS) -> str:
        """Return the trace as JSON text, as to_dict does."""
        return json.dumps(self.to_dict(parts, digits), separators=(",", ":"), allow_nan=False)

    def save(self, path: str | os.PathLike[str], parts: Iterable[str] = ()) -> None:
        """Write the trace to a JSON file, whole or not at all.

        Raises:
            OSError: the file cannot be written.
            ValueError: there is no such part, or it was not recorded.
        """
        files.write(path, self.to_json(parts))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Trace":
        """Read a JSON file that save wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a trace, or of a version this program does not know.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_bytes()))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} is not a trace that microgpt can use: {error}") from None

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> "Trace":
        """Return the trace that to_dict described; what it left out is empty.

        Raises:
            ValueError: it is of another format.
        """
        if saved.get("format") != FORMAT:
            raise ValueError(f"its format is {saved.get('format')!r}, not {FORMAT!r}")
        parts, first = saved["parts"], saved["first"]
        named = parts.get("params")
        before = [x for t in named.values() for row in t for x in row] if named else [0.0] * first
        adam = parts.get("adam")
        if adam:
            flat = {k: [x for t in adam[k].values() for r in t for x in r] for k in _MOVED}
            adam = {"step": adam["step"], "lr": adam["lr"]} | flat
        return cls(
            document=saved["document"],
            tokens=saved["tokens"],
            vocabulary=saved["vocabulary"],
            config=saved["config"],
            file=saved["file"],
            source=parts.get("source", ""),
            functions=saved["functions"],
            params=[(name, shape, start) for name, shape, start in saved["params"]],
            calls=[
                Call(fn, parent, line, {n: _unpack(s) for n, s in args.items()}, events)
                for fn, parent, line, args, *events in saved["calls"]
            ],
            events=[
                Event(call, line, {n: _unpack(s) for n, s in names.items()}, sum(skipped), i)
                for i, (call, line, names, *skipped) in enumerate(saved["events"])
            ],
            data=[*before, *(float(x) for x in saved["data"])],
            loss=saved["loss"],
            error=saved["error"],
            graph=Graph.from_dict(parts["graph"], first) if "graph" in parts else None,
            adam=adam,
        )

    def __str__(self) -> str:
        return view.text(self)

    def _repr_html_(self) -> str:
        return view.html(self)


def _pack(seen: Seen) -> Any:
    """Write what a name held in the schema's short form."""
    if seen.keys() == {"shape", "value"} and seen["shape"] in ([], [0]):
        return seen["value"]
    if seen.keys() == {"shape", "nodes"} and len(seen["shape"]) < 2:
        return seen["nodes"] if seen["shape"] else seen["nodes"][0][:1]
    return seen


def _unpack(packed: Any) -> Seen:
    if isinstance(packed, dict):
        return packed
    if not isinstance(packed, list):
        return {"shape": [], "value": packed}
    if packed and isinstance(packed[0], int):
        return {"shape": [], "nodes": [[packed[0], 1]]}
    if not packed:
        return {"shape": [0], "value": []}
    count = sum(1 if run is None else run[1] for run in packed)
    return {"shape": [count], "nodes": packed}


def _rounded(x: Any, digits: int | None) -> Any:
    """Return JSON data with shorter numbers; JSON has no NaN or infinity: those become text."""
    if isinstance(x, float):
        if not math.isfinite(x):
            return str(x)
        return float(f"{x:.{digits}g}") if digits else x
    if isinstance(x, dict):
        return {key: _rounded(value, digits) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [_rounded(item, digits) for item in x]
    return x
