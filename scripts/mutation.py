"""Measure the checks of the school: do they reject what a machine breaks in gpt.py?

python scripts/mutation.py [FILE]

Breaks gpt.py in one place, by one of the operators below, in every way that there is, but for find,
read and main. The checks of all lessons are asked about each mutant, and a seeded sample of 200
trains for 200 steps. FILE, by default docs/mutation.json, then says what came of it. Names are not
swapped: nearly all such mutants end in an exception at once, and only lift the score.

Stopped, it goes on where it was: FILE holds what is known of the training of each mutant. Half an
hour on a quiet core; each mutant has a process of its own, and 100 s of the processor. Unix only.
"""

import ast
import json
import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean
from typing import Any

from microgpt import dataset, gpt
from microgpt.files import write
from microgpt.school.answers import same
from microgpt.school.fingerprints import answer, asked, fingerprints
from microgpt.school.probes import PROBES
from microgpt.school.program import Program, reference

FILE = Path(__file__).parents[1] / "docs" / "mutation.json"
SOURCE = Path(gpt.__file__).read_text("utf-8")
UNTAUGHT = {"find", "read", "main", "__repr__"}
SAMPLE, SEED = 200, 6
STEPS, LAST, HELD_OUT = 200, 50, 60
ALIKE = 0.05  # nats/token: trains as well as gpt.py does
SECONDS = 100  # of processor time, for each mutant

FORK = get_context("fork")
Row = dict[str, Any]
Answer = dict[str, Any] | None

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

# Mutants that no check can tell from gpt.py: what their line holds, and why it makes no difference.
EQUIVALENT = [
    ("in reversed([*enumerate(weights)])", "each weight has a step of its own, in any order"),
    ("grad = 0.0", "0 and 0.0 are equal"),
    ("self.data > 0.0", "0 and 0.0 are equal"),
    ("self.data >= 0", "at the corner of relu, slope 0 and slope 1 are both right"),
    ("(self / -1)", "to divide by -1 is to multiply by it"),
    ("(other, self), (1, 1)", "both local gradients are 1"),
    ("rng.gauss(0.0,", "0 and 0.0 are equal"),
    ("for z in reversed([*logits]))", "the largest is the largest in any order"),
    ("for _ in reversed(", "what is counted is not looked at"),
    ("sum(v.data for v in reversed(", "a sum in another order: the last digits"),
    ("in reversed([*zip(value._children", "gradients added in another order: the last digits"),
    ("in reversed([*value._children])", "any order will do that has children before their parents"),
    ("for c in value._children if", "a value that is listed again, or a leaf, changes no gradient"),
    ("[p.data for p in probs])[(-1)]", "the list has one token, which is its last too"),
]


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


def train(source: str) -> Row:
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


def check(source: str) -> Answer:
    """Return which lesson rejects a gpt.py, and what it asked; None if all let it pass."""
    program = Program(reference().removesuffix(SOURCE) + source)
    right = fingerprints()["right"]
    for probe in PROBES:
        if probe.decides and not same(right[asked(probe)], answer(probe, program)[0]):
            return {"lesson": probe.lesson, "by": probe.what}
    return None


def ask(question: Callable[[str], Answer], source: str) -> Answer:
    """Return the answer to a question about a mutant, which is asked in a process of its own."""
    receiver, sender = FORK.Pipe(duplex=False)
    process = FORK.Process(target=reply, args=(sender, question, source))
    process.start()
    sender.close()
    try:
        found: Answer = receiver.recv()
    except EOFError:  # its time is over
        found = {"error": "it does not end"}
    process.join()
    return found


def reply(sender: Connection, question: Callable[[str], Answer], source: str) -> None:
    """Send the answer to a question, within the time for it."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
    sys.stdout = sys.stderr
    try:
        sender.send(question(source))
    except Exception as error:
        sender.send({"error": type(error).__name__})


# ---- The file ------------------------------------------------------------------------------------


def ran(row: Row) -> bool:
    """Tell whether a mutant trained to the end."""
    return "error" not in row.get("trained", {"error": "not asked"})


def alike(row: Row, right: Row) -> bool:
    """Tell whether a mutant trains as well as gpt.py, by its own loss or by the one held out."""
    return ran(row) and any(
        abs(row["trained"][name] - right[name]) <= ALIKE for name in ("last", "held_out")
    )


def because(row: Row) -> str | None:
    """Return why no check can tell a mutant from gpt.py, if it is one of those."""
    return next((why for text, why in EQUIVALENT if text in row["change"].partition("->")[2]), None)


def summary(rows: Sequence[Row], right: Row) -> Row:
    """Return what is said of the mutants: how many, of which kind, and how many are rejected."""
    counted = [row for row in rows if row["rejected"] or not because(row)]
    groups = {
        "all": counted,
        "the sample": [row for row in counted if "trained" in row],
        "of it, run 200 steps without an exception": [row for row in counted if ran(row)],
        "of those, train as well as gpt.py": [row for row in counted if alike(row, right)],
    }
    said: Row = {
        name: {"mutants": len(group), "rejected": sum(bool(row["rejected"]) for row in group)}
        for name, group in groups.items()
    }
    said["let through"] = [row["change"] for row in counted if not row["rejected"]]
    said["equivalent, not counted"] = [
        {"change": row["change"], "because": because(row)} for row in rows if row not in counted
    ]
    return said


def save(path: Path, rows: Sequence[Row], right: Row) -> None:
    """Write the file."""
    head = {"seed": SEED, "steps": STEPS, "right": right} | summary(rows, right)
    lines = ",\n".join(json.dumps(row) for row in rows)
    write(path, f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{lines}\n]\n}}\n')


def main() -> None:
    """Check every mutant, train those of the sample; write the file after each that has trained."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    known = json.loads(path.read_text("utf-8")) if path.exists() else {"rows": []}
    trained = {(row["line"], row["change"]): row.get("trained") for row in known["rows"]}
    every = mutants()
    rows: list[Row] = []
    for number, mutant in enumerate(every, 1):
        rejected = ask(check, mutant.source)
        rows.append({"line": mutant.line, "operator": mutant.operator, "change": mutant.change})
        rows[-1]["rejected"] = rejected
        print(f"checked {number} of {len(every)}: {mutant.change}", flush=True)
    right = known.get("right") or train(SOURCE)
    sample = random.Random(SEED).sample(range(len(every)), SAMPLE)
    for number, i in enumerate(sample, 1):
        known_one = trained.get((rows[i]["line"], rows[i]["change"]))
        rows[i]["trained"] = known_one or ask(train, every[i].source)
        print(f"trained {number} of {SAMPLE}: {rows[i]['trained']}", flush=True)
        if not known_one or number == SAMPLE:
            save(path, rows, right)


if __name__ == "__main__":
    main()
