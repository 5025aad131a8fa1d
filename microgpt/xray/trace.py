"""What a recording holds, and its one JSON form (docs/xray.md describes every field)."""

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.xray import view
from microgpt.xray.graph import Graph, unrun
from microgpt.xray.positions import locate

FORMAT = "microgpt xray 1"
PARTS = ("source", "params", "grads", "adam", "graph")  # what a light trace leaves out
_MOVED = ("m", "v", "data")  # what adam changes, one number a parameter
DIGITS = 4  # significant digits of a number in a light trace

Seen = dict[str, Any]  # what a name held: nodes, plain numbers, a parameter; see docs/xray.md


@dataclass(slots=True)
class Event:
    """One executed statement: where it is, and what it changed."""

    call: int  # index into calls: whose statement it was
    line: int  # the statement's first line, from 1
    set: dict[str, Seen] = field(default_factory=dict)  # each name that changed
    skipped: int = 0  # rounds of this loop that ran unseen
    index: int = -1  # its place among the events


@dataclass(slots=True)
class Call:
    """One run of a watched function."""

    fn: str
    parent: int | None  # the call it was made from
    line: int | None  # the parent's statement that made it
    args: dict[str, Seen]
    events: list[int]  # index of its first event (its callees' count), and behind its last


@dataclass
class Trace:
    """A document's way through gpt.py: every statement, every Value, forward and backward."""

    document: str
    tokens: list[int]
    vocabulary: str
    config: dict[str, int]
    file: str  # the name of the file that ran
    source: str
    functions: dict[str, list[int]]  # name: [first line, last line]
    params: list[tuple[str, list[int], int]]  # name, shape, the node of its first number
    calls: list[Call]
    events: list[Event]
    data: list[float]  # the number of every node, parameters first
    loss: float | None
    error: dict[str, Any] | None = None  # what stopped the run, if anything did
    graph: Graph | None = None
    adam: dict[str, Any] | None = None  # lr, step; m, v and data of every parameter afterwards

    @property
    def first(self) -> int:
        """The first node that is no parameter."""
        return sum(math.prod(shape) for _, shape, _ in self.params)

    def code(self, line: int) -> str:
        """Return the text of a line, without its indentation and comment."""
        text = self.source.splitlines()[line - 1].strip() if self.source else f"line {line}"
        return text.split("  #")[0].strip()

    def numbers(self, seen: Seen) -> list[float]:
        """Return the numbers behind what a name held, flat; none for what holds no number."""
        if "values" in seen:
            return list(seen["values"])
        if "value" in seen:
            value = seen["value"]
            items = value if isinstance(value, list) else [value]
            return [x for x in items if isinstance(x, int | float)]
        if "data" in seen:
            return [seen["data"]]
        return [self.data[node] for node in unrun(seen.get("nodes", []))]

    def depth(self, call: int) -> int:
        """Return how many watched calls a call is below: 0 for the outermost."""
        parent = self.calls[call].parent
        return 0 if parent is None else 1 + self.depth(parent)

    def path(self, call: int) -> list[int]:
        """Return the call stack: the outermost call, ..., this one."""
        parent = self.calls[call].parent
        return [*(() if parent is None else self.path(parent)), call]

    def name(self, node: int) -> str:
        """Return what a node is called: a parameter wte[4][0], else by the first name it was
        given q[3], or by what returned it linear()[3]; #4200 if nothing named it."""
        for name, (rows, columns), start in self.params:
            if start <= node < start + rows * columns:
                return f"{name}[{(node - start) // columns}][{(node - start) % columns}]"
        return self._names.get(node, f"#{node}")

    @cached_property
    def _names(self) -> dict[int, str]:
        names: dict[int, str] = {}
        for returned in (False, True):
            for event in self.events:
                if self.calls[event.call].fn in ("backward", "adam"):
                    continue  # there, names pass over Values that have one
                for name, seen in event.set.items():
                    if (name == "return") is returned:
                        name = f"{self.calls[event.call].fn}()" if returned else name
                        alone = seen.get("shape") == []
                        for i, node in enumerate(unrun(seen.get("nodes", []))):
                            names.setdefault(node, name if alone else f"{name}[{i}]")
        return names

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
            ValueError: it is no trace, or of a version this program does not know.
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
