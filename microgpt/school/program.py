"""A learner's file, running: what it has not written yet comes from gpt.py and the reference.

Its functions call each other, and the reference's call its own: a softmax of gpt.py works on the
learner's Value. Its names are its own all the same: what it forgot to import is missing.
"""

import ast
import builtins
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from types import CodeType, FunctionType
from typing import Any

FILE = "mygpt.py"  # what tracebacks call it


# What holds all that a learner writes. The last one defines what the others import from it.
REFERENCES = ("school/reference.py", "tuning/weights.py", "llm/bpe.py", "gpt.py")


@cache
def reference() -> str:
    """Return the source of all that a learner writes."""
    texts = [files("microgpt").joinpath(name).read_text("utf-8") for name in REFERENCES]
    return "\n".join(texts)


class Program:
    """A learner's file; its functions, and those that it lacks, are attributes."""

    def __init__(self, source: str, keep: Collection[str] = ()) -> None:
        """Read a file. The reference takes the place of its stubs, but for those to keep.

        Raises:
            BaseException: whatever the file raises while it is read, a SyntaxError among others.
        """
        code, defined = _reference()
        self._reference: dict[str, Any] = {"__name__": "reference"}
        exec(code, self._reference)
        theirs = {name: self._reference[name] for name in defined}
        self._names = theirs | {"__name__": "mygpt", "__builtins__": {**vars(builtins)}}
        tree = ast.parse(source, FILE)
        exec(compile(tree, FILE, "exec"), self._names)
        stubs = set(_stubs(tree.body)) - set(keep)
        self._names |= {name: theirs[name] for name in stubs & defined}
        self.own = {name for name in defined if self._names.get(name) is not theirs[name]}
        if "Value" in self.own and isinstance(self._names["Value"], type):
            self.own |= _complete(self._names["Value"], theirs["Value"], stubs)
        self._reference |= {name: self._names[name] for name in defined & self.own}

    def __getattr__(self, name: str) -> Any:
        return self._names[name]

    def evaluate(self, expression: str, **names: Any) -> Any:
        """Return the value of an expression, as if it were written at the end of the file."""
        return eval(expression, self._names, names)

    @contextmanager
    def replaced(self, name: str, function: Any) -> Iterator[None]:
        """Let another function be called by a name."""
        before = [(names, names[name]) for names in (self._names, self._reference)]
        for names, _ in before:
            names[name] = function
        try:
            yield
        finally:
            for names, original in before:
                names[name] = original


@cache
def _reference() -> tuple[CodeType, frozenset[str]]:
    """Return the reference, compiled, and the names that it defines itself."""
    tree = ast.parse(reference())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return compile(tree, "gpt.py", "exec"), frozenset(defined | {"Config", "PUBLISHED"})


def _complete(own: type, theirs: type, stubs: Collection[str]) -> set[str]:
    """Give the learner's Value what it has not written yet; return its own: "Value.exp"."""
    empty = [method for name, method in vars(own).items() if f"Value.{name}" in stubs]
    kept = {name for name, method in vars(own).items() if method not in empty}
    begun = "__add__" in vars(own) or "__mul__" in vars(own)  # lesson 4, which gives the operators
    for name, method in vars(theirs).items():
        missing = name not in vars(own) and not (begun and name.startswith("__"))
        if isinstance(method, FunctionType) and (missing or vars(own).get(name) in empty):
            setattr(own, name, method)
    return {f"Value.{name}" for name in kept}


def _stubs(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _stubs(node.body, f"{node.name}.")
        elif is_stub(node):
            assert isinstance(node, ast.FunctionDef)
            yield inside + node.name


def is_stub(node: ast.stmt) -> bool:
    """Tell whether a statement is a function that does nothing but raise NotImplementedError."""
    if not isinstance(node, ast.FunctionDef):
        return False
    first, *rest = node.body
    if rest and isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        first, *rest = rest  # after the docstring
    if rest or not isinstance(first, ast.Raise):
        return False
    raised = first.exc.func if isinstance(first.exc, ast.Call) else first.exc
    return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
