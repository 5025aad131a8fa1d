"""Measure the checks of the school: do they reject what a machine breaks in gpt.py?

python scripts/mutation.py [FILE]

Breaks gpt.py in one place, by one of the operators below, 200 times over (a seeded sample of all
that there is to break, but for find, read and main), asks the checks of all lessons about each, and
lets each train for 200 steps. FILE, by default docs/mutation.json, then says what came of it. Names
are not swapped: nearly all such mutants end in an exception at once, and only lift the score.

Stopped, it goes on where it was: FILE holds what is known of the training of each mutant. One
process, about half an hour on a quiet core; each mutant has its own, and 100 s of its time.
"""

import ast
import json
import random
import resource
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any

from microgpt import dataset, gpt
from microgpt.files import write
from microgpt.school.judge import judge
from microgpt.school.program import reference

FILE = Path(__file__).parents[1] / "docs" / "mutation.json"
SOURCE = Path(gpt.__file__).read_text("utf-8")
UNTAUGHT = {"find", "read", "main", "__repr__"}
SAMPLE, SEED = 200, 6
STEPS, LAST, HELD_OUT = 200, 50, 60
ALIKE = 0.05  # nats/token: trains as well as gpt.py does
SECONDS = 100  # of processor time, for each mutant

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
}
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.GtE,
    ast.Lt: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotIn: ast.In,
    ast.In: ast.NotIn,
}

# Mutants that no input can tell from gpt.py, or none that a model ever has: line, and why.
EQUIVALENT: dict[str, str] = {}


@dataclass(frozen=True)
class Mutant:
    """gpt.py with one place changed."""

    operator: str
    start: int  # the place, in characters
    end: int
    text: str  # what is there instead

    @property
    def source(self) -> str:
        """The whole file."""
        return SOURCE[: self.start] + self.text + SOURCE[self.end :]

    @property
    def line(self) -> int:
        """The number of the line."""
        return SOURCE.count("\n", 0, self.start) + 1

    @property
    def change(self) -> str:
        """The line that was, and the line that is."""
        before, after = (text.splitlines()[self.line - 1] for text in (SOURCE, self.source))
        return f"{before.strip()}  ->  {after.strip()}"


def mutants() -> list[Mutant]:
    """Return all mutants of what is taught, each once."""
    starts = [0]
    for text in SOURCE.splitlines(keepends=True):
        starts.append(starts[-1] + len(text))  # gpt.py is ASCII: columns are characters
    found: dict[str, Mutant] = {}
    original = ast.unparse(ast.parse(SOURCE))
    for node in taught():
        for operator, place, text in changes(node):
            assert place.end_lineno
            assert place.end_col_offset
            start = starts[place.lineno - 1] + place.col_offset
            end = starts[place.end_lineno - 1] + place.end_col_offset
            mutant = Mutant(operator, start, end, text)
            meaning = ast.unparse(ast.parse(mutant.source))
            if meaning != original:
                found.setdefault(meaning, mutant)
    return list(found.values())


def taught() -> Iterator[ast.AST]:
    """Yield every node of the functions that learners write or are given."""
    stack: list[ast.AST] = list(ast.parse(SOURCE).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ClassDef):
            stack += node.body
        elif isinstance(node, ast.FunctionDef) and node.name not in UNTAUGHT:
            yield from ast.walk(node)


Change = tuple[str, Any, str]  # the operator, the node in whose place the text is put


def changes(node: ast.AST) -> Iterator[Change]:
    """Yield what the operators make of a node."""
    if isinstance(node, ast.expr):
        yield from of_expression(node)
    elif isinstance(node, ast.stmt):
        yield from of_statement(node)
    elif isinstance(node, ast.comprehension):
        for condition in node.ifs:
            yield "leave a condition out", condition, "True"
        yield "walk backward", node.iter, f"reversed([*{ast.unparse(node.iter)}])"


def of_expression(node: ast.expr) -> Iterator[Change]:
    """Yield what the operators make of an expression."""
    match node:
        case ast.BinOp(left, operator, right):
            other = ast.BinOp(left, BINARY[type(operator)](), right)
            yield "another operation", node, f"({ast.unparse(other)})"
            yield "the left side alone", node, f"({ast.unparse(left)})"
            yield "the right side alone", node, f"({ast.unparse(right)})"
        case ast.UnaryOp(ast.USub(), operand):
            yield "no minus", node, ast.unparse(operand)
        case ast.Compare(left, [operator], [right]):
            compared = ast.Compare(left, [COMPARED[type(operator)]()], [right])
            yield "another comparison", node, f"({ast.unparse(compared)})"
        case ast.BoolOp(operator, values):
            swapped = ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            yield "and for or", node, f"({ast.unparse(swapped)})"
            for value in values:
                yield "one side of and", node, f"({ast.unparse(value)})"
        case ast.IfExp(_, body, orelse):
            yield "always the first", node, f"({ast.unparse(body)})"
            yield "always the second", node, f"({ast.unparse(orelse)})"
        case ast.Constant(bool(value)):
            yield "the opposite", node, repr(not value)
        case ast.Constant(int() | float() as value):
            yield "one more", node, repr(value + 1)
            yield "one less", node, f"({value - 1!r})"
            yield "twice as much", node, repr(value * 2)
            yield "half as much", node, repr(value / 2)
        case ast.Tuple(elements, ast.Load()) if len(elements) == 2 and node.col_offset:
            yield "the other way round", node, f"({', '.join(map(ast.unparse, elements[::-1]))})"
        case ast.Call():
            yield from of_call(node)
        case ast.Slice(lower, upper, None):
            for bound in filter(None, (lower, upper)):
                yield "a bound further", bound, f"({ast.unparse(bound)}) + 1"


def of_call(node: ast.Call) -> Iterator[Change]:
    """Yield what the operators make of a call."""
    name = ast.unparse(node.func)
    if name in ("min", "max"):
        yield "min for max", node.func, "max" if name == "min" else "min"
    plain = len(node.args) == 1 and not node.keywords and not isinstance(node.args[0], ast.Starred)
    if plain and name not in ("len", "range", "isinstance"):
        yield "no call", node, f"({ast.unparse(node.args[0])})"
    if isinstance(node.func, ast.Attribute) and not node.args and name != "set":
        yield "no call", node, ast.unparse(node.func.value)


def of_statement(node: ast.stmt) -> Iterator[Change]:
    """Yield what the operators make of a statement."""
    match node:
        case ast.AugAssign(target, operator, value):
            yield "= for +=", node, f"{ast.unparse(target)} = {ast.unparse(value)}"
            other = ast.AugAssign(target, BINARY[type(operator)](), value)
            yield "-= for +=", node, ast.unparse(other)
            yield "leave it out", node, "pass"
        case ast.Expr(ast.Call()) | ast.Break():
            yield "leave it out", node, "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "leave it out", node, "pass"
        case ast.Assign([ast.Name(name)], value):
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(value)):
                yield "leave it out", node, "pass"  # else a name is missing: a free kill
        case ast.If(test) | ast.While(test):
            yield "the opposite", test, f"not ({ast.unparse(test)})"
        case ast.For(_, iterated):
            yield "all but the first", iterated, f"[*{ast.unparse(iterated)}][1:]"
            yield "all but the last", iterated, f"[*{ast.unparse(iterated)}][:-1]"
            yield "walk backward", iterated, f"reversed([*{ast.unparse(iterated)}])"


# ---- What a mutant does --------------------------------------------------------------------------


def train(source: str) -> dict[str, Any]:
    """Return how a gpt.py trains: its own loss, and what gpt.py makes of its weights, held out."""
    heart: dict[str, Any] = {"__name__": "gpt"}
    exec(compile(source, "gpt.py", "exec"), heart)
    names = dataset.split(dataset.load("world").documents, 0.1)
    docs, held_out = list(names.train), names.val[:HELD_OUT]
    rng = random.Random(42)
    rng.shuffle(docs)
    alphabet = "".join(sorted(set("".join(docs + held_out))))
    config = gpt.Config(len(alphabet) + 1, n_layer=1, n_embd=16, n_head=4, block_size=16)
    params = heart["init"](config, rng)
    weights = heart["flat"](params)
    m, v = [0.0] * len(weights), [0.0] * len(weights)
    losses = []
    for step in range(STEPS):
        loss = heart["loss"](params, config, heart["encode"](docs[step], alphabet))
        loss.backward()
        heart["adam"](weights, m, v, step, lr=0.01 * (1 - step / STEPS))
        losses.append(loss.data)
    learned = {
        name: [[gpt.Value(p.data) for p in row] for row in matrix]
        for name, matrix in params.items()
    }
    scores = [gpt.loss(learned, config, gpt.encode(doc, alphabet)).data for doc in held_out]
    return {"last": fmean(losses[-LAST:]), "held_out": fmean(scores)}


def check(source: str) -> dict[str, Any] | None:
    """Return which lesson rejects a gpt.py, by what; None if every lesson lets it pass."""
    extra = reference().removesuffix(SOURCE)
    for lesson in range(1, 13):
        verdict = judge(extra + source, lesson)
        if verdict.failure:
            known = verdict.mistake.id if verdict.mistake else None
            return {"lesson": lesson, "by": verdict.failure.what, "mistake": known}
    return None


def work(sender: Connection, source: str, trained: bool) -> None:
    """Answer about a mutant, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    sys.stdout = sys.stderr
    sender.send(check(source))
    if not trained:
        try:
            sender.send(train(source))
        except Exception as error:
            sender.send({"error": type(error).__name__})


def examine(mutant: Mutant, trained: dict[str, Any] | None) -> dict[str, Any]:
    """Return a row of the file."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, mutant.source, trained is not None))
    process.start()
    sender.close()
    row: dict[str, Any] = {"line": mutant.line, "operator": mutant.operator}
    row |= {"change": mutant.change, "rejected": {"by": "it does not end"}, "trained": trained}
    try:
        row["rejected"] = receiver.recv()
        row["trained"] = trained or receiver.recv()
    except EOFError:  # the time is over
        row["trained"] = trained or {"error": "it does not end"}
    process.join()
    return row


# ---- The file ------------------------------------------------------------------------------------


def ran(row: dict[str, Any]) -> bool:
    """Tell whether a mutant trained to the end."""
    return "error" not in row["trained"]


def alike(row: dict[str, Any], right: dict[str, Any]) -> bool:
    """Tell whether a mutant trains as well as gpt.py, by its own loss or by the one held out."""
    return ran(row) and any(
        abs(row["trained"][name] - right[name]) <= ALIKE for name in ("last", "held_out")
    )


def summary(rows: Sequence[dict[str, Any]], right: dict[str, Any]) -> dict[str, Any]:
    """Return what is said of the sample: how many, of which kind, and how many are rejected."""
    counted = [row for row in rows if row["change"] not in EQUIVALENT]
    groups = {
        "all": counted,
        "run 200 steps without an exception": [row for row in counted if ran(row)],
        "train as well as gpt.py": [row for row in counted if alike(row, right)],
    }
    counts: dict[str, Any] = {
        name: {"mutants": len(group), "rejected": sum(bool(row["rejected"]) for row in group)}
        for name, group in groups.items()
    }
    return counts | {
        "equivalent": [
            {"change": row["change"], "because": EQUIVALENT[row["change"]]}
            for row in rows
            if row["change"] in EQUIVALENT
        ],
        "let through": [row["change"] for row in counted if not row["rejected"]],
    }


def main() -> None:
    """Examine the sample, and write the file after each mutant."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    trained = {(row["line"], row["change"]): row["trained"] for row in known.get("rows", [])}
    every = mutants()
    sample = random.Random(SEED).sample(every, SAMPLE)
    right = known.get("right") or train(SOURCE)
    rows = []
    for number, mutant in enumerate(sample, 1):
        row = examine(mutant, trained.get((mutant.line, mutant.change)))
        rows.append(row)
        print(f"{number:3d}/{SAMPLE} {row['rejected'] and 'rejected'} {row['change']}", flush=True)
        waiting = known.get("rows", [])[number:]  # the sample is in the same order each time
        settings = {"mutants there are": len(every), "seed": SEED, "steps": STEPS, "right": right}
        settings |= summary(rows, right)
        lines = ",\n".join(json.dumps(each) for each in [*rows, *waiting])
        head = json.dumps(settings, indent=1)[:-2]
        write(path, f'{head},\n "rows": [\n{lines}\n]\n}}\n')


if __name__ == "__main__":
    main()
