"""Watches gpt.py run, line by line and Value by Value; the file itself stays as it is.

Python's own tracing (sys.settrace) tells of each line of the watched functions and of each Value's
birth. Gradients are heard of where they are written: while backward() runs, the attribute `grad`
of its class Value reports each change. Nothing else is touched, so whatever a learner's copy of
the file computes, in whatever way, is what the trace shows.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from threading import RLock, get_ident
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from microgpt.xray.graph import Graph, Step, runs
from microgpt.xray.recording import Call, Event, Seen

QUIET = {"add", "dot", "flat", "cache", "init", "encode", "decode", "find", "read", "main"}
ROUNDS = {"backward": 4, "adam": 2}  # loops over thousands of Values: rounds shown line by line
MOST = 200_000  # statements; a model of one layer runs about 70 a token
LONGEST = 32  # plain numbers, or runs of nodes; a longer list shows its shape alone
SYMBOLS = {"__add__": "+", "__mul__": "*", "__pow__": "**"}
_data = attrgetter("data")
_MISSING = object()
_ALONE = RLock()  # class Value is everyone's: one recording at a time


class Program:
    """A gpt.py that can be watched: its functions, statements and loops."""

    def __init__(self, module: ModuleType, source: str) -> None:
        self.module, self.source = module, source
        self.file = Path(module.__file__ or "gpt.py").name
        self.value: Any = vars(module).get("Value", type(None))
        made_by = getattr(self.value.__init__, "__code__", None)
        if made_by is None:
            raise ValueError("the source has no class Value with an __init__ of its own")
        self.birth: CodeType = made_by
        self.backward = getattr(getattr(self.value, "backward", None), "__code__", None)
        self.names: dict[CodeType, str] = {}
        for name, function in vars(module).items():
            mine = getattr(function, "__module__", None) == module.__name__
            if mine and isinstance(function, FunctionType) and name not in QUIET:
                self.names[function.__code__] = name
        if self.backward is not None:
            self.names[self.backward] = "backward"
        self.statements: dict[int, int] = {}  # line: the first line of its statement
        self.loops: dict[int, int] = {}  # the first line of a loop: its last
        self.returns: set[int] = set()
        self.writes: set[int] = set()  # statements that may change a list or an attribute in place
        self.functions: dict[str, list[int]] = {}
        tree = ast.parse(source)
        self._read(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name in self.names.values():
                self.functions[node.name] = [node.lineno, node.end_lineno or node.lineno]

    def _read(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):  # outer statements first
            if not isinstance(node, ast.stmt):
                continue
            last = node.end_lineno or node.lineno
            body = getattr(node, "body", None)
            if body:  # a header, down to where its body begins
                last = max(node.lineno, min(last, body[0].lineno - 1))
            for line in range(node.lineno, last + 1):
                self.statements.setdefault(line, node.lineno)
            if not body and any(map(_writes, ast.walk(node))):
                self.writes.add(node.lineno)
            if isinstance(node, ast.For | ast.While):
                self.loops.setdefault(node.lineno, node.end_lineno or node.lineno)
            elif isinstance(node, ast.Return):
                self.returns.add(node.lineno)


def _writes(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute | ast.Subscript):
        return not isinstance(node.ctx, ast.Load)
    return isinstance(node, ast.AugAssign) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    )


def load(source: str, file: str = "edited gpt.py") -> Program:
    """Run a source text as a module and return it as a program. It can do all that Python can.

    Raises:
        ValueError: it is not Python, or stops with an error, or has no class Value.
    """
    module = ModuleType("gpt")
    module.__file__ = file
    try:
        exec(compile(source, file, "exec"), module.__dict__)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno} of the source is not Python: {error.msg}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"the source stops with {type(error).__name__}: {error}") from None
    return Program(module, source)


@cache
def program(module: ModuleType) -> Program:
    """Return an imported module as a program."""
    return Program(module, inspect.getsource(module))


class _Running:
    """A watched function at work."""

    def __init__(self, index: int, fn: str, before: dict[str, Any]) -> None:
        self.index, self.fn, self.before = index, fn, before
        self.pending: Event | None = None  # the current statement: its effect is not known yet
        self.rounds: dict[int, int] = {}  # by the line of a loop
        self.at = 0  # the statement last heard of
        self.unseen = False  # whether a loop's rounds are being passed over
        self.raised = False


class Recorder:
    """Watches one run of a program."""

    def __init__(self, program: Program, every_round: bool = False) -> None:
        self.program = program
        self._rounds: dict[str, int] = {} if every_round else ROUNDS
        self.calls: list[Call] = []
        self.events: list[Event] = []
        self.nodes: list[Any] = []  # every Value, by its node; kept alive so that ids stay theirs
        self.ids: dict[int, int] = {}  # id(value): node
        self.data: list[float] = []  # each node's number when it was first seen
        self.ops: list[str] = []
        self.made: list[Event | None] = []  # the statement that made each node
        self.params: list[tuple[str, list[int], int]] = []
        self.steps: list[Step] = []
        self._params: Any = None
        self._looked: Any = None
        self._tensors: dict[int, str] = {}
        self._live: dict[FrameType, _Running] = {}
        self._stack: list[_Running] = []
        self._slot: Any = None
        self._grad: Callable[[Any], Any] = attrgetter("grad")
        self._reads: list[Any] = []

    def add_params(self, params: dict[str, list[list[Any]]]) -> None:
        """Give a model's parameters, by name, the first nodes."""
        self._tensors[id(params)] = "params"
        self._params = params  # kept alive: ids stay theirs
        for name, rows in params.items():
            self.params.append((name, [len(rows), len(rows[0])], len(self.nodes)))
            self._tensors[id(rows)] = name
            for i, row in enumerate(rows):
                self._tensors[id(row)] = f"{name}[{i}]"
                for value in row:
                    self._register(value, "parameter", None)
        self._read_data()

    def run(self, function: Callable[[], Any]) -> Any:
        """Call a function and watch it; return what it returns."""
        with _ALONE:
            before = sys.gettrace()
            sys.settrace(self._trace)
            try:
                return function()
            finally:
                sys.settrace(before)
                self._deafen()
                self._read_data()
                for running in self._stack:  # what an error left unfinished ends here
                    self.calls[running.index].events[1] = len(self.events)
                for i, event in enumerate(self.events):
                    event.index = i

    def graph(self) -> Graph:
        """Return the Values seen so far and how each came from others."""
        children = [[self._node(c) for c in getattr(v, "_children", ())] for v in self.nodes]
        local_grads = [list(getattr(v, "_local_grads", ())) for v in self.nodes]
        made = [-1 if event is None else event.index for event in self.made]
        self._read_data()
        return Graph(self.ops, made, children, local_grads, self.steps)

    # -- what Python tells us ----------------------------------------------------------------------
    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        code = frame.f_code
        if code is self.program.birth:
            self._birth(frame)
        elif code in self.program.names and not (self._stack and self._stack[-1].unseen):
            self._call(frame, code)
            return self._local
        return None

    def _birth(self, frame: FrameType) -> None:
        maker = frame.f_back
        while maker is not None and maker.f_code.co_name[0] == "<":  # a comprehension, until 3.11
            maker = maker.f_back
        op = "value"
        if maker is not None and maker.f_code not in self.program.names:
            op = maker.f_code.co_name
            op = SYMBOLS.get(op, op.strip("_<>"))
        made = self._stack[-1].pending if self._stack else None
        self._register(frame.f_locals[frame.f_code.co_varnames[0]], op, made)

    def _register(self, value: Any, op: str, made: Event | None) -> None:
        self.ids[id(value)] = len(self.nodes)
        self.nodes.append(value)
        self.ops.append(op)
        self.made.append(made)

    def _node(self, value: Any) -> int:
        node = self.ids.get(id(value))
        if node is None:  # made before we watched
            self._register(value, "value", None)
            return len(self.nodes) - 1
        return node

    def _read_data(self) -> None:
        for value in self.nodes[len(self.data) :]:
            self.data.append(getattr(value, "data", float("nan")))

    def _call(self, frame: FrameType, code: CodeType) -> None:
        parent = self._stack[-1] if self._stack else None
        seen = frame.f_locals
        arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        running = _Running(len(self.calls), self.program.names[code], self._look_at(frame))
        self.calls.append(
            Call(
                running.fn,
                parent.index if parent else None,
                parent.pending.line if parent and parent.pending else None,
                {name: self._show(seen[name]) for name in arguments if name in seen},
                [len(self.events), len(self.events)],
            )
        )
        self._live[frame] = running
        self._stack.append(running)
        if code is self.program.backward:
            self._listen()

    def _local(self, frame: FrameType, event: str, arg: Any) -> Any:
        running = self._live[frame]
        if event == "line":
            return self._line(running, frame)
        if event == "exception":
            running.raised = True
        elif event == "return":
            self._finish(running, frame, arg, ended=True)
            del self._live[frame]
            self._stack.remove(running)
            self.calls[running.index].events[1] = len(self.events)
            if frame.f_code is self.program.backward:
                self._deafen()
        return self._local

    def _line(self, running: _Running, frame: FrameType) -> Any:
        line = self.program.statements.get(frame.f_lineno, frame.f_lineno)
        if line == running.at:
            return self._local  # from 3.12 on, a comprehension reports its line for each element
        running.at, running.raised, running.unseen = line, False, False
        self._finish(running, frame)
        pending = running.pending = Event(running.index, line)
        if line in self.program.loops and running.fn in self._rounds:
            rounds = running.rounds[line] = running.rounds.get(line, 0) + 1
            if rounds > self._rounds[running.fn]:
                running.unseen = True
                return self._pass_over(pending, line, self.program.loops[line])
        return self._local

    def _pass_over(self, loop: Event, first: int, last: int) -> Callable[..., Any]:
        """Return what listens to a frame until it leaves a loop, and only counts the rounds."""

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            if event == "line":
                line = frame.f_lineno
                if first < line <= last:
                    return local
                if line == first:
                    loop.skipped += 1
                    return local
            elif event == "exception":
                return local
            return self._local(frame, event, arg)

        return local

    def _finish(
        self, running: _Running, frame: FrameType, arg: Any = None, ended: bool = False
    ) -> None:
        """Note what the current statement has changed, now that it is over."""
        event = running.pending
        if event is None:
            return
        self._read_data()
        if event.line in self.program.writes or event.skipped:
            self._looked = None
        now = self._look_at(frame)
        values = frame.f_locals
        for name in sorted(now):
            self._compare(event, name, values[name], running.before.get(name, _MISSING), now[name])
        returned = event.line in self.program.returns and not running.raised
        if ended and (returned or arg is not None):
            event.set["return"] = self._show(arg)
        running.before = now
        running.pending = None
        self.events.append(event)
        if len(self.events) > MOST:
            raise RuntimeError(f"more than {MOST:,} statements ran; is there an endless loop?")

    # -- what a name holds -------------------------------------------------------------------------
    def _look_at(self, frame: FrameType) -> dict[str, Any]:
        return {n: self._look(x) for n, x in frame.f_locals.items() if not n.startswith(".")}

    def _look(self, x: Any) -> Any:
        """Return what tells x from what it was: a change in place shows in its numbers."""
        if isinstance(x, self.program.value):
            return "node", id(x), x.data, self._grad(x)
        if id(x) in self._tensors:
            return self._look_at_params() if x is self._params else ("tensor", id(x))
        if type(x) in (list, tuple):
            kinds = set(map(type, x))
            if not kinds:
                return "list", id(x), ()
            if kinds == {self.program.value}:
                return "nodes", id(x), tuple(map(id, x)), tuple(map(_data, x))
            if kinds <= {int, float}:
                return "numbers", id(x), tuple(x)
            return "list", id(x), tuple(map(self._look, x))
        if isinstance(x, dict):
            return "dict", id(x), tuple(x), tuple(map(self._look, x.values()))
        if isinstance(x, set):
            return "set", id(x), len(x)
        if isinstance(x, int | float | str | slice):
            return "plain", x
        return "other", id(x)

    def _look_at_params(self) -> Any:
        if self._looked is None:  # thousands of numbers: not again until something was written
            flat = list(chain.from_iterable(chain.from_iterable(self._params.values())))
            self._looked = "params", 0, tuple(map(id, flat)), tuple(map(_data, flat))
        return self._looked

    def _compare(self, event: Event, name: str, x: Any, old: Any, new: Any) -> None:
        if old == new:
            return
        same = old is not _MISSING and old[:2] == new[:2]  # the same list, changed in place
        if same and new[0] == "list" and len(new[2]) >= len(old[2]):
            olds = (*old[2], *[_MISSING] * (len(new[2]) - len(old[2])))
            if not any(item[0] in ("plain", "other", "node") for item in new[2]):
                for i, item in enumerate(x):
                    self._compare(event, f"{name}[{i}]", item, olds[i], new[2][i])
                return
        if same and new[0] == "dict" and old[2] == new[2]:
            for key, a, b in zip(x, old[3], new[3], strict=True):
                self._compare(event, f"{name}[{key!r}]", x[key], a, b)
            return
        if same and new[0] == "numbers" and len(new[2]) == len(old[2]) > 4:
            places = [i for i, (a, b) in enumerate(zip(old[2], new[2], strict=True)) if a != b]
            if len(places) <= 4:
                event.set |= {f"{name}[{i}]": {"shape": [], "value": new[2][i]} for i in places}
                return
        if same and new[0] in ("nodes", "params") and old[2] == new[2]:
            places = [i for i, (a, b) in enumerate(zip(old[3], new[3], strict=True)) if a != b]
            if len(places) <= 4:
                for i in places:
                    path = f"{name}[{i}]" if new[0] == "nodes" else self._parameter(i)
                    event.set[path] = self._show(x[i] if new[0] == "nodes" else self.nodes[i])
                return
        event.set[name] = self._show(x)
        if same and new[0] == "node":
            event.set[name]["grad"] = self._grad(x)

    def _show(self, x: Any) -> Seen:
        """Return what a name holds, in the schema's terms."""
        if isinstance(x, self.program.value):
            node = self._node(x)
            self._read_data()
            seen: Seen = {"shape": [], "nodes": [[node, 1]]}
            if x.data != self.data[node]:
                seen["data"] = x.data
            grad = self._grad(x)
            return seen | ({"grad": grad} if grad else {})
        if id(x) in self._tensors:
            return {"param": self._tensors[id(x)]}
        if x is None or isinstance(x, int | float | str):
            return {"shape": [], "value": x}
        if isinstance(x, slice):
            return {"shape": [], "value": f"{x.start}:{x.stop}"}
        if isinstance(x, set):
            return {"type": "set", "shape": [len(x)]}
        if not isinstance(x, list | tuple) or hasattr(x, "_fields"):
            return {"type": type(x).__name__}
        shape, leaves = _shape(x), list(_leaves(x))
        if leaves and all(v is None or isinstance(v, self.program.value) for v in leaves):
            found = runs([None if v is None else self._node(v) for v in leaves])
            self._read_data()
            seen = {"shape": shape, "nodes": found}
            if any(v is not None and v.data != self.data[self._node(v)] for v in leaves):
                seen["values"] = [None if v is None else v.data for v in leaves]
            if max(len(found), len(seen.get("values", ()))) > LONGEST:
                return {"shape": shape, "cut": True}
            return seen
        if all(isinstance(v, int | float) for v in leaves):
            if len(leaves) > LONGEST:
                return {"shape": shape, "cut": True}
            return {"shape": shape, "value": leaves}
        return {"type": type(x).__name__, "shape": shape}

    def _parameter(self, node: int) -> str:
        name, (_, columns), start = next(p for p in reversed(self.params) if p[2] <= node)
        return f"{name}[{(node - start) // columns}][{(node - start) % columns}]"

    # -- gradients ---------------------------------------------------------------------------------
    def _listen(self) -> None:
        """Let the attribute grad of class Value report when it is read and written."""
        if self._slot is not None:
            return
        cls, slot = self.program.value, vars(self.program.value).get("grad")
        reads, ids, thread = self._reads, self.ids, get_ident()
        source: Any = None  # whose turn it is, by id its children, and what they got from it
        children: set[int] = set()
        flows: list[tuple[int, float]] = []

        def get(value: Any) -> Any:
            return vars(value)["grad"]

        def put(value: Any, grad: Any) -> None:
            vars(value)["grad"] = grad

        if slot is not None:
            get, put = slot.__get__, slot.__set__

        def read(value: Any) -> Any:
            if get_ident() == thread:
                reads.append(value)
            return get(value)

        def write(value: Any, grad: Any) -> None:
            nonlocal source, children, flows
            put(value, grad)
            if get_ident() != thread:
                return
            if reads and reads[-1] is value:  # read by +=, to be added to
                reads.pop()
            if not (reads and reads[-1] is source and id(value) in children):
                while reads and value not in reads[-1]._children:
                    reads.pop()
                source = reads[-1] if reads else None
                children = set(map(id, source._children)) if reads else set()
                flows = self._turn(source, get(source) if reads else None)
            del reads[:-1]
            flows.append((ids[id(value)] if id(value) in ids else self._node(value), grad))

        self._slot, self._grad = slot or cls, get
        cls.grad = property(read, write)

    def _turn(self, source: Any, grad: float | None) -> list[tuple[int, float]]:
        """Begin the step of a Value, unless it has begun; return its flows."""
        node = None if source is None else self._node(source)
        if not self.steps or self.steps[-1].node != node:
            self.steps.append(Step(node, grad, []))
        return self.steps[-1].flows

    def _deafen(self) -> None:
        if self._slot is self.program.value:
            del self.program.value.grad
        elif self._slot is not None:
            self.program.value.grad = self._slot
        self._slot, self._grad = None, attrgetter("grad")
        self._reads.clear()


def _shape(x: Any) -> list[int]:
    """Return the lengths from the outermost list inwards, as its first elements have them."""
    shape = []
    while isinstance(x, list | tuple):
        shape.append(len(x))
        x = x[0] if x else None
    return shape


def _leaves(x: Any) -> Iterator[Any]:
    for item in x:
        if isinstance(item, list | tuple):
            yield from _leaves(item)
        else:
            yield item
