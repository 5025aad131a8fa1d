"""The text of a learner's file, beside gpt.py's: what is written, what is a stub, what is missing.

A name is a function, a class, a constant, or with a dot a method: "softmax", "Value.backward".
"""

import ast
import io
import re
import textwrap
from collections.abc import Iterable
from functools import cache
from itertools import takewhile
from pathlib import Path

from microgpt import gpt
from microgpt.school.course import Lesson, lessons
from microgpt.school.program import FILE, REFERENCES, is_stub

MAIN = "__main__"  # the block that begins with if __name__ == "__main__"
HEART = Path(gpt.__file__)
BEGINNING = '"""My GPT, written again function by function: microgpt school."""\n'


class Text:
    """A source text, and where in it each name is.

    Raises:
        ValueError: it is not Python; str() says in which line.
    """

    def __init__(self, source: str, file: str = FILE) -> None:
        self.source, self.file = source, file
        self.lines = list(io.StringIO(source))  # as Python counts them: str.splitlines() cuts more
        try:
            self.tree = ast.parse(source, file)
        except SyntaxError as error:
            seen = f" in `{error.text.strip()[:50]}`" if error.text and error.text.strip() else ""
            raise ValueError(
                f"{file}, line {error.lineno}: {error.msg}{seen}; mend this first"
            ) from None
        except (ValueError, RecursionError, MemoryError) as error:  # NUL bytes, endless nesting
            raise ValueError(f"{file} cannot be read as Python: {error}") from None
        self.nodes: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            self.nodes |= dict.fromkeys(_names(node), node)
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                self.nodes |= {f"{_names(node)[0]}.{name}": inner for name in _names(inner)}

    def written(self) -> set[str]:
        """Return the names that are there and are more than a stub."""
        return {name for name, node in self.nodes.items() if not is_stub(node)}

    def span(self, name: str) -> slice:
        """Return which lines are a name's: its statement, and the comment right above it."""
        node = self.nodes[name]
        first = min(each.lineno for each in [node, *getattr(node, "decorator_list", ())]) - 1
        above = takewhile(lambda line: re.match(r"\s*# (?!----)", line), self.lines[:first][::-1])
        return slice(first - len(list(above)), node.end_lineno)

    def text(self, name: str) -> str:
        """Return the lines of a name."""
        return "".join(self.lines[self.span(name)])

    def stub(self, name: str) -> str:
        """Return the lines of a function with its body left out: what a learner begins with."""
        node = self.nodes[name]
        assert isinstance(node, ast.FunctionDef)
        above = self.lines[self.span(name).start : node.lineno - 1]
        if node.body[0].lineno == node.lineno:  # def f(x): return y  # a comment
            line = self.lines[node.lineno - 1]
            header = line[: node.body[0].col_offset].rstrip()
            header += line[node.body[-1].end_col_offset :].rstrip() + "\n"
        else:
            header = "".join(self.lines[node.lineno - 1 : node.body[0].lineno - 1])
        if ast.get_docstring(node) is not None:
            header += "".join(self.lines[node.body[0].lineno - 1 : node.body[0].end_lineno])
        return f"{''.join(above)}{header}{' ' * (node.col_offset + 4)}raise NotImplementedError\n"


def _names(node: ast.stmt) -> list[str]:
    """Return what a statement gives names to; imports count for nothing."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        leaves = (leaf for target in node.targets for leaf in ast.walk(target))
        return [leaf.id for leaf in leaves if isinstance(leaf, ast.Name)]
    return [MAIN] if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) else []


@cache
def heart() -> Text:
    """Return gpt.py."""
    return Text(HEART.read_text("utf-8"), HEART.name)


@cache
def homes() -> tuple[Text, ...]:
    """Return the texts that hold what learners write: gpt.py, and what it does not hold."""
    paths = [HEART.parent / name for name in REFERENCES if name != HEART.name]
    return heart(), *(Text(path.read_text("utf-8"), path.name) for path in paths)


def home(name: str) -> Text:
    """Return the text that holds the right version of a name."""
    return next(text for text in homes() if name in text.nodes)


def begin(source: str, lesson: Lesson) -> str:
    """Return a learner's text with what a lesson begins with added, where it is not there yet.

    Raises:
        ValueError: the text is not Python, or a class in it has no room for a method.
    """
    source = source or BEGINNING + "".join(_imports())
    text = Text(source)
    missing = [name for name in (*lesson.given, *lesson.writes) if name not in text.nodes]
    methods = _in_order(name for name in missing if "." in name)
    pieces = _pieces(_in_order({*missing} - {*methods, MAIN}), lesson)
    if methods:
        kind = methods[0].partition(".")[0]
        inner = "".join(_pieces(methods, lesson))
        if kind in text.nodes:
            source = _into_class(text, kind, inner)
        else:
            pieces.insert(0, f"{_shell(kind)}{inner}")
    if pieces:
        title = f"# ---- {lesson.number}. {lesson.title} "
        source = _before_main(source, f"{title:-<100}\n" + "\n".join(pieces))
    if MAIN in missing:
        source = f"{source.rstrip()}\n\n\n{heart().text(MAIN)}"
    return source


def reset(source: str, lesson: Lesson) -> str:
    """Return a learner's text with the stubs of a lesson in the place of what was written.

    Raises:
        ValueError: the text is not Python.
    """
    text = Text(begin(source, lesson))
    lines = text.lines
    for name in sorted(lesson.writes, key=lambda name: -text.nodes[name].lineno):
        node = text.nodes[name]
        margin = text.lines[node.lineno - 1][: node.col_offset]
        stub = textwrap.indent(textwrap.dedent(home(name).stub(name)), margin)
        lines[text.span(name)] = [stub]
    return "".join(lines)


def _imports() -> Iterable[str]:
    nodes = (n for n in heart().tree.body if isinstance(n, ast.Import | ast.ImportFrom))
    return (heart().lines[node.lineno - 1] for node in nodes)


def _in_order(names: Iterable[str]) -> list[str]:
    """Return names in the order in which gpt.py has them; those of the other texts come last."""
    return sorted(names, key=lambda n: (homes().index(home(n)), home(n).nodes[n].lineno))


def _pieces(names: Iterable[str], lesson: Lesson) -> list[str]:
    """Return the stubs of what a lesson has written, and the text of what it gives; each once."""
    found = {}
    for name in names:
        here = home(name)
        found[here.nodes[name]] = here.stub(name) if name in lesson.writes else here.text(name)
    return list(found.values())


def _shell(kind: str) -> str:
    """Return the beginning of a class of gpt.py, down to the first method that a lesson brings."""
    brought = {name for lesson in lessons() for name in (*lesson.writes, *lesson.given)}
    first = min(heart().span(name).start for name in brought if name.startswith(f"{kind}."))
    return "".join(heart().lines[heart().span(kind).start : first])


def _into_class(text: Text, kind: str, methods: str) -> str:
    """Return a learner's text with methods at the end of a class, indented as the class is."""
    node = text.nodes[kind]
    assert isinstance(node, ast.ClassDef)
    margin = text.lines[node.body[0].lineno - 1][: node.body[0].col_offset]
    if node.body[0].lineno == node.lineno or margin.strip():
        raise ValueError(f"{FILE}, line {node.lineno}: give class {kind} a body of several lines")
    lines = [*text.lines, ""]
    end = text.span(kind).stop
    lines[end - 1] = lines[end - 1].rstrip("\n") + "\n"
    lines.insert(end, "\n" + textwrap.indent(textwrap.dedent(methods), margin))
    return "".join(lines)


def _before_main(source: str, added: str) -> str:
    """Return a learner's text with more at its end, but before the block that runs it."""
    text = Text(source)
    if MAIN not in text.nodes:
        return f"{source.rstrip()}\n\n\n{added}" if source.strip() else added
    start = text.span(MAIN).start
    before, after = "".join(text.lines[:start]), "".join(text.lines[start:])
    return f"{before.rstrip()}\n\n\n{added}\n\n{after}"
