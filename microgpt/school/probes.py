"""The checks: what a learner's functions are asked, lesson by lesson, and what of it counts.

A probe asks by value: nothing is trained, no file is read, and how a function arrives at a number
is its own affair. Sizes are such that no two of them are equal (2 heads of 3, 2 layers of 6), for
what is confused with another must show. The first probes of a lesson are the smallest.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from microgpt.school.answers import Answer
from microgpt.school.program import Program

AZ = "abcdefghijklmnopqrstuvwxyz"
Ask = Callable[[Program], Answer]
Node = Any  # a Value, the learner's


@dataclass(frozen=True)
class Probe:
    """A question to a learner's functions."""

    lesson: int
    what: str  # the function that is asked
    input: str  # what it is given, in a line
    ask: Ask
    decides: bool = True  # False: it only tells one mistake from another


PROBES: list[Probe] = []


def probes(lesson: int) -> list[Probe]:
    """Return the probes of a lesson, the smallest input first."""
    return [probe for probe in PROBES if probe.lesson == lesson]


def probe(lesson: int, what: str, asked: str, decides: bool = True) -> Callable[[Ask], Ask]:
    """Make a function a probe."""

    def add(ask: Ask) -> Ask:
        PROBES.append(Probe(lesson, what, asked, ask, decides))
        return ask

    return add


def expression(lesson: int, asked: str, **names: Any) -> None:
    """Make an expression a probe; it is its own description."""
    probe(lesson, asked.partition("(")[0], asked)(lambda g: g.evaluate(asked, **names))


def data(values: Sequence[Node]) -> list[Any]:
    """Return the numbers of Values; of what is none, its type."""
    return [getattr(v, "data", f"a {type(v).__name__}, not a Value") for v in values]


def slopes(result: Node, inputs: Sequence[Node]) -> list[float]:
    """Return d result / d input for each input, by the children and local gradients alone.

    The learner's backward() has no part in it.
    """
    if not hasattr(result, "_children"):  # a plain number
        return [0.0] * len(inputs)
    order, seen, stack = [], {id(result)}, [(result, iter(result._children))]
    while stack:
        node, children = stack[-1]
        child = next((c for c in children if id(c) not in seen), None)
        if child is None:
            order.append(node)
            stack.pop()
        else:
            seen.add(id(child))
            stack.append((child, iter(child._children)))
    grads = {id(node): 0.0 for node in order} | {id(result): 1.0}
    for node in reversed(order):
        if isinstance(node._local_grads, int | float):
            raise TypeError("_local_grads is a number; a tuple of one number is (x,)")
        for child, local_grad in zip(node._children, node._local_grads, strict=False):
            grads[id(child)] += local_grad * grads[id(node)]
    return [grads.get(id(each), 0.0) for each in inputs]


# ---- Lesson 1: tokens ----------------------------------------------------------------------------
expression(1, 'encode("", "ab")')
expression(1, 'encode("a", "ab")')
expression(1, 'encode("b", "ab")')
expression(1, 'encode("ba", "ab -")')
expression(1, 'encode("- b", " -ab")')
expression(1, 'encode("emma", "abcdefghijklmnopqrstuvwxyz")')


@probe(1, "encode", 'encode("cab", "ab"), which has no c')
def _unknown(g: Program) -> Answer:
    try:
        return g.encode("cab", "ab")
    except NotImplementedError:
        raise
    except Exception:
        return "an error"


expression(1, 'decode([], "ab")')
expression(1, 'decode([1, 0], "ab")')
expression(1, 'decode([4, 12, 12, 0], "abcdefghijklmnopqrstuvwxyz")')
expression(1, 'decode([2, 0, 1], "é -")')


@probe(1, "decode", 'decode(encode("zaz", "az")[1:-1], "az")')
def _there_and_back(g: Program) -> Answer:
    return g.decode(g.encode("zaz", "az")[1:-1], "az")


# ---- Lesson 2: surprise --------------------------------------------------------------------------
expression(2, "surprise(1.0)")
expression(2, "surprise(0.5)")
expression(2, "surprise(1 / 27)")
expression(2, "surprise(1e-12)")
expression(2, "bigram([], 2)")
expression(2, "bigram([[1, 0, 1]], 2)")
expression(2, "bigram([[2, 0, 1, 2]], 3)")
expression(2, "bigram([[2, 0, 0, 1, 2], [2, 0, 2], [2, 1, 1, 0, 2]], 3)")


@probe(2, "bigram", "the sum of each row of bigram([[3, 0, 0, 3], [3, 0, 1, 3]], 4)")
def _rows(g: Program) -> Answer:
    return [sum(row) for row in g.bigram([[3, 0, 0, 3], [3, 0, 1, 3]], 4)]


@probe(2, "bigram", "surprise at 0 after 1, a pair never seen in [[2, 0, 1, 2]]")
def _unseen(g: Program) -> Answer:
    return g.surprise(g.bigram([[2, 0, 1, 2]], 3)[1][0])


@probe(2, "bigram", "the documents, after bigram has read them")
def _documents(g: Program) -> Answer:
    docs = [[2, 0, 1, 2], [2, 2]]
    g.bigram(docs, 3)
    return docs


# ---- Lesson 3: a nudge ---------------------------------------------------------------------------
expression(3, "slope(lambda x: 3 * x, 2.0, 1.0)")
expression(3, "slope(lambda x: 7.0, 2.0, 0.5)")
expression(3, "slope(lambda x: -2 * x + 1, 0.0, 0.25)")
expression(3, "slope(lambda x: x * x, 3.0, 0.5)")
expression(3, "slope(lambda x: x * x, -3.0, 0.5)")
expression(3, "slope(lambda x: x**3, 2.0, 0.1)")
expression(3, "slope(lambda x: 1 / x, 0.5, 0.25)")


@probe(3, "slope", "slope(lambda x: x * x, 3.0), h left at 1e-5")
def _small(g: Program) -> Answer:
    return round(g.slope(lambda x: x * x, 3.0), 4)


@probe(3, "slope", "slope(f, 1.0), f = the surprise -log x, h left at 1e-5")
def _trace(g: Program) -> Answer:
    return round(g.slope(g.surprise, 1.0), 4)


# ---- Lesson 4: values ----------------------------------------------------------------------------
def operation(asked: str, expression: str, **numbers: float) -> None:
    """Make an operation on Values a probe: its number, its slopes, its operands afterwards."""
    given = " and ".join(f"{name} = {number:g}" for name, number in numbers.items())

    @probe(4, f"Value.{asked}", f"c = {expression} at {given}")
    def ask(g: Program) -> Answer:
        values = {name: g.Value(number) for name, number in numbers.items()}
        result = g.evaluate(expression, **values)
        answer = {"c.data": data([result])[0]}
        for name, grad in zip(values, slopes(result, [*values.values()]), strict=True):
            answer[f"dc/d{name}"] = grad
        return answer | {f"{name}.data afterwards": value.data for name, value in values.items()}


operation("__add__", "a + b", a=2.0, b=-3.0)
operation("__add__", "a + 5", a=2.0)
operation("__add__", "a + a", a=2.0)
operation("__mul__", "a * b", a=2.0, b=-3.0)
operation("__mul__", "a * 5", a=2.0)
operation("__mul__", "a * a", a=3.0)
operation("__pow__", "a ** 3", a=2.0)
operation("__pow__", "a ** -1", a=4.0)
operation("__pow__", "a ** -0.5", a=4.0)
operation("exp", "a.exp()", a=1.5)
operation("log", "a.log()", a=3.0)
operation("relu", "a.relu()", a=3.0)
operation("relu", "a.relu()", a=-3.0)
operation("__radd__", "5 + a", a=2.0)
operation("__rmul__", "5 * a", a=2.0)
operation("__neg__", "-a", a=2.0)
operation("__sub__", "a - b", a=2.0, b=5.0)
operation("__sub__", "a - 5", a=2.0)
operation("__rsub__", "5 - a", a=2.0)
operation("__truediv__", "a / b", a=2.0, b=4.0)
operation("__truediv__", "a / 4", a=2.0)
operation("__rtruediv__", "3 / a", a=4.0)
operation("backward", "(a * b + a).exp() * b", a=0.5, b=-1.5)


# ---- Lesson 5: backward --------------------------------------------------------------------------
class Counted(tuple[Node, ...]):
    """Children that count how often they are asked for, and end a walk that takes every path."""

    visits: list[int]

    def __iter__(self) -> Iterator[Node]:
        self.visits[0] += 1
        if self.visits[0] > 10_000:
            raise RuntimeError("backward has been at these few nodes ten thousand times")
        return super().__iter__()


def graph(g: Program, equations: str) -> dict[str, Node]:
    """Return the nodes of equations: "b = 2 a; c = 3 b + 5 a", where what is not made is 1.

    They are made by hand, with children and local gradients, so that no operation is needed.
    """
    nodes: dict[str, Node] = {}
    for equation in equations.split("; "):
        name, _, terms = equation.partition(" = ")
        children, local_grads = [], []
        for term in terms.split(" + "):
            factor, _, child = term.rpartition(" ")
            children.append(nodes.setdefault(child, g.Value(1.0)))
            local_grads.append(float(factor or 1))
        total = sum(c.data * each for c, each in zip(children, local_grads, strict=True))
        nodes[name] = g.Value(total, tuple(children), tuple(local_grads))
    return nodes


def walk(equations: str, *roots: str) -> None:
    """Make a graph a probe: the gradients after backward() of the last node, or of those named."""
    last = equations.split("; ")[-1][0]
    calls = ", ".join(f"{root}.backward()" for root in roots or (last,))

    @probe(5, "Value.backward", f"{equations}; then {calls}")
    def ask(g: Program) -> Answer:
        nodes = graph(g, equations)
        for root in roots or (last,):
            nodes[root].backward()
        shared = roots and {name for name in nodes if name not in roots}
        return {f"{name}.grad": nodes[name].grad for name in sorted(shared or nodes)}


walk("b = 2 a")
walk("b = 2 a; c = 3 b")
walk("b = a + a; c = b + b")
walk("b = 2 a; c = 3 a + 5 b")
walk("b = 2 a; c = 5 b + 3 a")
walk("b = 2 a; c = 3 b; e = 7 c; d = 5 b + 11 e")
walk("b = 2 a; c = 3 b; e = 7 c; d = 11 e + 5 b")
walk("b = 2 a; c = 3 a", "b", "c")


@probe(5, "Value.backward", "b = 2 a; c = 5 b; b.grad is 2 before c.backward()", decides=False)
def _leftover(g: Program) -> Answer:
    nodes = graph(g, "b = 2 a; c = 5 b")
    nodes["b"].grad = 2
    nodes["c"].backward()
    return nodes["a"].grad


@probe(5, "Value.backward", "a.backward(), a made from nothing")
def _alone(g: Program) -> Answer:
    a = g.Value(7.0)
    a.backward()
    return {"a.grad": a.grad, "a.data": a.data}


@probe(5, "Value.backward", "34 values, each made of one to three of those before; the last's")
def _random(g: Program) -> Answer:
    rng = random.Random(3)
    nodes = [g.Value(1.0) for _ in range(4)]
    for _ in range(30):
        children = [rng.choice(nodes[-8:]) for _ in range(rng.randint(1, 3))]
        nodes.append(g.Value(1.0, tuple(children), tuple(rng.uniform(-1, 1) for _ in children)))
    nodes[-1].backward()
    return [node.grad for node in nodes]


@probe(5, "Value.backward", "a chain of 300 values; the first one's grad")
def _deep(g: Program) -> Answer:
    first = last = g.Value(1.0)
    for _ in range(300):
        last = g.Value(1.0, (last,), (1.0,))
    last.backward()
    return first.grad


@probe(5, "Value.backward", "x = x / 2 + x / 2, 40 times over: few values, many paths")
def _paths(g: Program) -> Answer:
    first = last = g.Value(1.0)
    visits = [0]
    for _ in range(40):
        children = Counted((last, last))
        children.visits = visits
        last = g.Value(1.0, children, (0.5, 0.5))
    last.backward()
    return first.grad


# ---- Lesson 6: vectors ---------------------------------------------------------------------------
Vectors = Sequence[Sequence[float]]


def vectors(
    lesson: int, what: str, asked: str, numbers: dict[str, Any], call: str, jacobian: bool = False
) -> None:
    """Make a function of vectors a probe: what it returns, its slopes, its inputs afterwards.

    The slopes are those of each number that it returns, or those of result[0] + 2 result[1] + ...
    """

    @probe(lesson, what, asked)
    def ask(g: Program) -> Answer:
        given = {name: made(g, each) for name, each in numbers.items()}
        flat = {name: leaves(each) for name, each in given.items()}
        result = g.evaluate(call, **given)
        results = result if isinstance(result, list | tuple) else [result]
        answer: dict[str, Answer] = {"result": data(results)}
        for name, inputs in flat.items():
            rows = [slopes(each, inputs) for each in results]
            if len(rows) == 1:
                answer[f"slopes for {name}"] = rows[0]
            elif jacobian:
                for i, row in enumerate(rows):
                    answer[f"slopes of result[{i}] for {name}"] = row
            else:
                answer[f"slopes of result[0] + 2 result[1] + ... for {name}"] = mixed(rows)
        unchanged = all(data(leaves(given[name])) == leaves(numbers[name]) for name in given)
        return answer | {"the inputs afterwards": "as before" if unchanged else "changed"}


def made(g: Program, numbers: Any) -> Any:
    """Return numbers, in lists or not, as Values."""
    return [made(g, each) for each in numbers] if isinstance(numbers, list) else g.Value(numbers)


def leaves(nested: Any) -> list[Any]:
    """Return what lists in lists hold."""
    return (
        [leaf for each in nested for leaf in leaves(each)] if isinstance(nested, list) else [nested]
    )


def mixed(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return row 0 + 2 row 1 + 3 row 2 and so on."""
    return [
        sum((i + 1) * each for i, each in enumerate(column)) for column in zip(*rows, strict=True)
    ]


X, Y = [1.0, -2.0, 4.0], [3.0, 5.0, -7.0]
vectors(6, "add", "add([a, b, c]) at 1, -2, 4", {"x": X}, "add(x)", jacobian=True)
vectors(6, "dot", "dot([2], [3])", {"a": [2.0], "b": [3.0]}, "dot(a, b)", jacobian=True)
vectors(
    6, "dot", "dot(a, b) at a = [1, -2, 4], b = [3, 5, -7]", {"a": X, "b": Y}, "dot(a, b)", True
)
vectors(6, "dot", "dot(a, a) at a = [1, -2, 4]", {"a": X}, "dot(a, a)", jacobian=True)
W = [[1.0, 2.0, 3.0], [-4.0, 5.0, 6.0]]
vectors(
    6,
    "linear",
    "linear([1, 10, 100], [[1, 2, 3], [-4, 5, 6]])",
    {"x": [1.0, 10.0, 100.0], "w": W},
    "linear(x, w)",
)
for logits in (
    [7.0],
    [0.0, 0.0],
    [1.0, 2.0, 3.5],
    [-5.0, -1.0, -2.0],
    [1000.0, 998.0, -1000.0],
    [-1000.0, -998.0],
):
    shown = ", ".join(f"{z:g}" for z in logits)
    vectors(
        6, "softmax", f"softmax([{shown}])", {"logits": logits}, "softmax(logits)", jacobian=True
    )


@probe(6, "softmax", "softmax([11, 12, 13.5]) minus softmax([1, 2, 3.5])")
def _shifted(g: Program) -> Answer:
    a, b = (data(g.softmax(made(g, [z + 1, z + 2, z + 3.5]))) for z in (10, 0))
    return [p - q for p, q in zip(a, b, strict=True)]


# ---- Lesson 7: attention -------------------------------------------------------------------------
def attends(asked: str, q: list[float], keys: Vectors, values: Vectors, n_head: int) -> None:
    """Make a call of attention a probe."""
    given = {"q": q, "keys": [*keys], "values": [*values]}
    vectors(7, "attention", asked, given, f"attention(q, keys, values, {n_head})")


_rng = random.Random(11)
_vectors = [[round(_rng.uniform(-2, 2), 2) for _ in range(6)] for _ in range(7)]
_q, _keys, _values = _vectors[0], _vectors[1:4], _vectors[4:]
attends("q = [1], one key [1], its value [5]", [1.0], [[1.0]], [[5.0]], 1)
attends(
    "q = [9, 0], keys [9, 0] and [-9, 0], values [1, 2] and [3, 4], one head",
    [9.0, 0.0],
    [[9.0, 0.0], [-9.0, 0.0]],
    [[1.0, 2.0], [3.0, 4.0]],
    1,
)
attends(
    "q = [1, 2], keys [1, 0] and [0, 1], values [1, 2] and [3, 5], one head",
    [1.0, 2.0],
    [[1.0, 0.0], [0.0, 1.0]],
    [[1.0, 2.0], [3.0, 5.0]],
    1,
)
attends(
    "q = [1, 2], keys [1, 0] and [0, 1], values [1, 2] and [3, 5], two heads",
    [1.0, 2.0],
    [[1.0, 0.0], [0.0, 1.0]],
    [[1.0, 2.0], [3.0, 5.0]],
    2,
)
attends("6 numbers, 1 token, 2 heads of 3", _q, _keys[:1], _values[:1], 2)
attends("6 numbers, 3 tokens, 2 heads of 3", _q, _keys, _values, 2)
attends("6 numbers, 3 tokens, 3 heads of 2", _q, _keys, _values, 3)
attends("6 numbers, 3 tokens, 1 head of 6", _q, _keys, _values, 1)


# ---- Lesson 8: the block -------------------------------------------------------------------------
for numbers in ([0.0, 0.0], [3.0, 3.0], [1.0, -2.0, 3.0, 4.5], [0.001, -0.002, 0.001]):
    shown = ", ".join(f"{x:g}" for x in numbers)
    vectors(8, "rmsnorm", f"rmsnorm([{shown}])", {"x": numbers}, "rmsnorm(x)", jacobian=True)


@dataclass(frozen=True)
class Model:
    """Weights of a learner's Values, with the sizes."""

    config: Any
    params: dict[str, list[list[Node]]]

    @classmethod
    def of(cls, g: Program, n_layer: int, n_embd: int, n_head: int) -> "Model":
        """Return a model with 5 tokens and a block of 4, the same weights each time."""
        rng, n = random.Random(7), n_embd
        shapes = {"wte": (5, n), "wpe": (4, n), "lm_head": (5, n)}
        for i in range(n_layer):
            shapes |= {f"layer{i}.attn_w{which}": (n, n) for which in "qkvo"}
            shapes |= {f"layer{i}.mlp_fc1": (4 * n, n), f"layer{i}.mlp_fc2": (n, 4 * n)}
        params = {
            name: [[g.Value(rng.gauss(0, 0.5)) for _ in range(inputs)] for _ in range(outputs)]
            for name, (outputs, inputs) in shapes.items()
        }
        return cls(g.Config(5, n_layer, n_embd, n_head, 4), params)

    def empty(self) -> tuple[list[list[Any]], list[list[Any]]]:
        """Return keys and values of no token."""
        return [[] for _ in range(self.config.n_layer)], [[] for _ in range(self.config.n_layer)]

    def numbers(self) -> list[float]:
        """Return all weights."""
        return data(leaves([*self.params.values()]))

    def gradients(self, result: Node) -> dict[str, Answer]:
        """Return two numbers for each matrix that tell how the result changes with its weights."""
        grads = iter(slopes(result, leaves([*self.params.values()])))
        found: dict[str, Answer] = {}
        for name, matrix in self.params.items():
            each = list(islice(grads, len(leaves(matrix))))
            length = sum(x * x for x in each) ** 0.5
            weighted = sum((1 + i % 7) * x for i, x in enumerate(each))
            found[f"gradient of {name}: length and weighted sum"] = [length, weighted]
        return found


def total(g: Program, results: Sequence[Node]) -> Node:
    """Return result[0] + 2 result[1] + ... as one node, made by hand."""
    return g.Value(0.0, tuple(results), tuple(i + 1.0 for i in range(len(results))))


@probe(8, "gpt", "a model of 1 layer, 2 wide, 1 head; token 3 at position 0")
def _smallest(g: Program) -> Answer:
    model = Model.of(g, 1, 2, 1)
    return {"logits": data(g.gpt(model.params, model.config, 3, 0, *model.empty()))}


@probe(8, "gpt", "a model of 1 layer, 6 wide, 2 heads; token 3 at position 0")
def _one_layer(g: Program) -> Answer:
    model = Model.of(g, 1, 6, 2)
    return {"logits": data(g.gpt(model.params, model.config, 3, 0, *model.empty()))}


@probe(8, "gpt", "the same model; tokens 4, 1, 1 at positions 0, 1, 2")
def _three_tokens(g: Program) -> Answer:
    model = Model.of(g, 1, 6, 2)
    keys, values = model.empty()
    logits = [
        data(g.gpt(model.params, model.config, t, i, keys, values)) for i, t in enumerate((4, 1, 1))
    ]
    return {"the last logits": logits[-1], "keys": len(keys[0]), "values": len(values[0])}


@probe(8, "gpt", "2 layers, 6 wide, 2 heads; tokens 4, 1, 1 at positions 0, 1, 2")
def _two_layers(g: Program) -> Answer:
    model = Model.of(g, 2, 6, 2)
    keys, values = model.empty()
    before, results = model.numbers(), []
    for position, token in enumerate((4, 1, 1)):
        results += g.gpt(model.params, model.config, token, position, keys, values)
    return {
        "the weights": "as before" if model.numbers() == before else "changed",
        "logits": data(results),
        "keys of each layer": [len(each) for each in keys],
        "values of each layer": [len(each) for each in values],
        "the last key of layer 1": data(keys[1][-1]) if keys[1] else [],
        "the last value of layer 1": data(values[1][-1]) if values[1] else [],
    } | model.gradients(total(g, results))


@probe(8, "cache", "cache(config) for 2 layers, after something was put into keys[0]")
def _empty(g: Program) -> Answer:
    keys, values = g.cache(g.Config(5, 2, 6, 2, 4))
    keys[0].append("a key")
    return {"keys": [len(each) for each in keys], "values": [len(each) for each in values]}


# ---- Lesson 9: the cache -------------------------------------------------------------------------
def recomputes(n_layer: int, tokens: list[int]) -> None:
    """Make a text that is read without a cache a probe."""

    @probe(9, "recompute", f"{n_layer} layers, 6 wide, 2 heads; tokens {tokens}")
    def ask(g: Program) -> Answer:
        model = Model.of(g, n_layer, 6, 2)
        before = model.numbers()
        logits = g.recompute(model.params, model.config, tokens)
        unchanged = model.numbers() == before
        return {"logits": data(logits), "the weights": "as before" if unchanged else "changed"} | (
            model.gradients(total(g, logits))
        )


recomputes(1, [3])
recomputes(1, [4, 1])
recomputes(2, [4, 1, 1])


@probe(9, "recompute", "2 layers; tokens [4, 1], then [2, 0], then [4, 1] once more")
def _stale(g: Program) -> Answer:
    model = Model.of(g, 2, 6, 2)
    texts = ([4, 1], [2, 0], [4, 1])
    return [data(g.recompute(model.params, model.config, tokens)) for tokens in texts]


for asked in (
    "Config(5, 1, 6, 2, 4), 1, True",
    "Config(5, 1, 6, 2, 4), 3, True",
    "Config(5, 1, 6, 2, 4), 1, False",
    "Config(5, 1, 6, 2, 4), 2, False",
    "Config(5, 2, 6, 2, 4), 3, False",
    "Config(27, 1, 16, 4, 16), 16, True",
    "Config(27, 1, 16, 4, 16), 16, False",
):
    expression(9, f"multiplications({asked})")


# ---- Lesson 10: the loss -------------------------------------------------------------------------
@probe(10, "flat", "flat({'a': [[1, 2], [3, 4]], 'b': [[5], [6]]})")
def _flat(g: Program) -> Answer:
    params = {"a": made(g, [[1.0, 2.0], [3.0, 4.0]]), "b": made(g, [[5.0], [6.0]])}
    weights = g.flat(params)
    same = all(any(each is p for p in leaves([*params.values()])) for each in weights)
    return {"numbers": data(weights), "the Values": "the model's own" if same else "copies"}


@probe(10, "init", "init for 2 layers, 6 wide, with random.Random(5)")
def _init(g: Program) -> Answer:
    params = g.init(g.Config(5, 2, 6, 2, 4), random.Random(5))
    weights = leaves([*params.values()])
    return {
        "names": [*params],
        "shapes": [[len(matrix), len(matrix[0])] for matrix in params.values()],
        "different Values": len({id(weight) for weight in weights}),
        "the first three numbers": data(weights[:3]),
        "the sum of all squares": sum(weight.data**2 for weight in weights),
    }


def loses(tokens: list[int], note: str = "") -> None:
    """Make the loss of a document a probe."""

    @probe(10, "loss", f"2 layers, 6 wide, a block of 4; tokens {tokens}{note}")
    def ask(g: Program) -> Answer:
        model = Model.of(g, 2, 6, 2)
        given = list(tokens)
        result = g.loss(model.params, model.config, given)
        again = g.loss(model.params, model.config, given)
        return {
            "loss": result.data,
            "loss, asked again": again.data,
            "tokens afterwards": given,
        } | model.gradients(result)


loses([4, 4])
loses([4, 1, 4])
loses([4, 1, 2, 4])
loses([4, 0, 1, 2, 3, 0, 1, 4], ", longer than the block")


# ---- Lesson 11: Adam -----------------------------------------------------------------------------
def steps(asked: str, starts: Sequence[float], grads: Vectors, **settings: float) -> None:
    """Make steps of Adam a probe: the weights after each, given the gradients of each."""

    @probe(11, "adam", asked)
    def ask(g: Program) -> Answer:
        weights = [g.Value(start) for start in starts]
        given, m, v = list(weights), [0.0] * len(starts), [0.0] * len(starts)
        answer: dict[str, Answer] = {}
        for step, each in enumerate(grads):
            for weight, grad in zip(weights, each, strict=True):
                weight.grad += grad
            g.adam(given, m, v, step, **{"lr": 0.1, **settings})
            answer[f"weights after step {step}"] = data(weights)
            answer[f"their gradients after step {step}"] = [weight.grad for weight in weights]
        kept = all(ours is theirs for ours, theirs in zip(weights, given, strict=True))
        answer["the Values in the list afterwards"] = "the same" if kept else "others"
        return answer


steps("a weight 1 with gradient 0, lr 0.1", [1.0], [[0.0]])
steps("a weight 1 with gradient 3, lr 0.1", [1.0], [[3.0]])
steps("a weight 1 with gradient -1e-8, lr 0.1", [1.0], [[-1e-8]])
steps("a weight 1 with gradients 1, then 0, lr 0.1", [1.0], [[1.0], [0.0]])
steps("three weights with gradient 1, 2, 3, lr 0.1", [1.0, -2.0, 0.5], [[1.0, 2.0, 3.0]])
steps(
    "three weights, five steps of changing gradients, lr 0.1",
    [1.0, -2.0, 0.5],
    [[0.1 * (i + 1) * (j + 1) * (-1) ** i for j in range(3)] for i in range(5)],
)
steps(
    "two weights, three steps, beta1 0.5, beta2 0.9, eps 0.1",
    [1.0, -2.0],
    [[1.0, 0.1], [-2.0, 0.3], [0.5, 0.2]],
    beta1=0.5,
    beta2=0.9,
    eps=0.1,
)


# ---- Lesson 12: names, and integers --------------------------------------------------------------
class Draws(random.Random):
    """Dice that fall as given; choices() and random() both use them."""

    def __init__(self, falls: Sequence[float]) -> None:
        super().__init__(0)
        self.falls = list(falls)

    def random(self) -> float:
        """Return the next fall; after the last, 0.5."""
        return self.falls.pop(0) if self.falls else 0.5


def speaker(g: Program, params: Any, config: Any, salt: int) -> Any:
    """Return a gpt that is sure of the next token, by all that it was shown, in order."""

    def gpt(p: Any, c: Any, token: int, pos_id: int, keys: Any, values: Any) -> list[Node]:
        if p is not params or c is not config:
            raise TypeError("gpt was not given params and config")
        keys[0].append((token, pos_id))
        values[0].append((token, pos_id))
        seen = sum((i + salt) * (3 * t + 2 * at) for i, (t, at) in enumerate(keys[0]))
        return [g.Value(60.0 if each == seen % 5 else 0.0) for each in range(5)]

    return gpt


def says(salt: int, block_size: int, asked: str) -> None:
    """Make a model that is sure of each token a probe."""

    @probe(12, "sample", asked)
    def ask(g: Program) -> Answer:
        config = g.Config(5, 1, 6, 2, block_size)
        params: dict[str, Any] = {}
        with g.replaced("gpt", speaker(g, params, config, salt)):
            return g.sample(params, config, Draws([]))


says(2, 4, "a model that is sure of BOS at once; a block of 4")
says(4, 8, "a model that is sure of 3, 3, 1, then BOS; a block of 8")
says(1, 4, "a model that is sure of 2, 3, 2, 0; a block of 4")


def draws(temperature: str) -> None:
    """Make a model that is never sure, and dice that fall evenly, a probe."""
    falls = [(i + 0.5) / 24 for i in range(24)]
    asked = f"logits 0, 0.5, 1, -0.5 each time, temperature {temperature or '0.5 by default'}"

    @probe(12, "sample", f"{asked}; rng.random() is 1/48, 3/48, 5/48, ...")
    def ask(g: Program) -> Answer:
        config, given = g.Config(5, 1, 6, 2, 24), [float(t) for t in temperature.split()]
        logits = (0.0, 0.5, 1.0, -0.5, -60.0)
        with g.replaced("gpt", lambda *_: [g.Value(z) for z in logits]):
            return g.sample({}, config, Draws(falls), *given)


draws("1")
draws("2")
draws("")

for asked in (
    "256, 256, 8, 8",
    "1, 127, 8, 8",
    "1, 128, 8, 8",
    "3, 128, 8, 8",
    "-1, 128, 8, 8",
    "-3, 128, 8, 8",
    "-5, 100, 8, 8",
    "2000, 3000, 8, 8",
    "-2000, 3000, 8, 8",
    "32767, 257, 8, 8",
    "32767, 32767, 8, 8",
    "-32768, 256, 8, 8",
    "-32768, 32767, 8, 8",
    "24, -24, 4, 4",
    "100, 100, 4, 4",
    "-3, 5, 4, 0",
):
    expression(12, f"fixed_mul({asked})")


# ---- Lesson 13: examples -------------------------------------------------------------------------
expression(13, "sft_weights([2, 0, 2], 0)")
expression(13, "sft_weights([2, 0, 1, 2], 1)")
expression(13, "sft_weights([2, 0, 1, 1, 0, 2], 1)")
expression(13, "sft_weights([2, 0, 1, 1, 0, 2], 4)")
expression(13, "sft_weights([9, 4, 12, 12, 0, 7, 4, 5, 9], 5)")


@probe(13, "sft_weights", "the sum of sft_weights of documents of 4 to 8 tokens, 2 of them given")
def _sums(g: Program) -> Answer:
    return [sum(g.sft_weights([4, *range(n), 4], 2)) for n in range(2, 7)]


def weighs(tokens: list[int], weights: list[float]) -> None:
    """Make a loss with weights a probe."""

    @probe(13, "weighted_loss", f"2 layers, 6 wide; tokens {tokens}, weights {weights}")
    def ask(g: Program) -> Answer:
        model, given = Model.of(g, 2, 6, 2), list(weights)
        result = g.weighted_loss(model.params, model.config, tokens, given)
        return {"loss": result.data, "weights afterwards": given} | model.gradients(result)


weighs([4, 4], [1.0])
weighs([4, 1, 4], [0.5, 0.5])
weighs([4, 1, 4], [0.0, 1.0])
weighs([4, 2, 0, 3, 4], [0.0, 0.0, 0.5, 0.5])
weighs([4, 1, 4], [2.0, 0.0])
weighs([4, 3, 1, 4], [-1.0, -1.0, -1.0])


# ---- Lesson 14: rewards --------------------------------------------------------------------------
expression(14, "forbid_unfinished([1.0], [True])")
expression(14, "forbid_unfinished([1.0, 1.0], [True, False])")
expression(14, "forbid_unfinished([3.0, 1.0, 2.0], [False, True, True])")
expression(14, "forbid_unfinished([-2.0, -3.0, -1.0], [True, True, False])")
expression(14, "forbid_unfinished([-2.0, -1.0, -3.0], [False, True, False])")
expression(14, "forbid_unfinished([5.0, 4.0], [False, False])")
expression(14, "advantages([1.0, 0.0], [0.0, 0.0], 0.5)")
expression(14, "advantages([1.0, 1.0], [0.0, 0.0], 0.5)")
expression(14, "advantages([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], 0.5)")
expression(14, "advantages([0.0, 0.0], [2.0, 0.0], 0.5)")
expression(14, "advantages([1.0, 0.0, 1.0], [3.0, -1.0, 0.5], 0.0)")
expression(14, "advantages([1.0, 0.0, 1.0], [3.0, -1.0, 0.5], 0.2)")


@probe(14, "advantages", "the sum of advantages([1, 4, 2, 0], [2, -1, 0, 3], 0.1)")
def _nothing_is_won(g: Program) -> Answer:
    return sum(g.advantages([1.0, 4.0, 2.0, 0.0], [2.0, -1.0, 0.0, 3.0], 0.1))


@probe(14, "advantages", "the rewards, after advantages and forbid_unfinished have read them")
def _rewards(g: Program) -> Answer:
    rewards = [1.0, 0.0, 2.0]
    g.advantages(rewards, [1.0, 0.0, -1.0], 0.5)
    g.forbid_unfinished(rewards, [True, False, False])
    return rewards


# ---- Lesson 15: preferences ----------------------------------------------------------------------
for function in ("dpo_loss", "dpo_weights"):
    for asked in (
        "0.0, 0.0, 1.0",
        "0.0, 0.0, 0.1",
        "2.0, -1.0, 1.0",
        "-1.0, 2.0, 1.0",
        "-50.0, -120.0, 0.1",
        "-3.0, -3.0, 0.5",
        "1000.0, -1000.0, 1.0",
        "-1000.0, 1000.0, 1.0",
    ):
        expression(15, f"{function}({asked})")


@probe(15, "dpo_weights", "the slopes of dpo_loss at 1.5, -0.5, beta 0.3, measured by a nudge")
def _nudged(g: Program) -> Answer:
    h, at = 1e-4, (1.5, -0.5)
    found = []
    for i in range(2):
        up, down = ([x + s * h * (i == j) for j, x in enumerate(at)] for s in (1, -1))
        found.append(round((g.dpo_loss(*up, 0.3) - g.dpo_loss(*down, 0.3)) / (2 * h), 6))
    return {"slopes": found, "weights": [round(x, 6) for x in g.dpo_weights(*at, 0.3)]}


# ---- Lesson 16: subwords -------------------------------------------------------------------------
expression(16, "merge([], (1, 2), 256)")
expression(16, "merge([1, 2], (1, 2), 256)")
expression(16, "merge([2, 1, 3], (1, 2), 256)")
expression(16, "merge([1, 2, 3, 1, 2], (1, 2), 256)")
expression(16, "merge([5, 5, 5], (5, 5), 256)")
expression(16, "merge([5, 5, 5, 5], (5, 5), 256)")
expression(16, "merge([1, 1, 2, 2], (1, 2), 256)")


@probe(16, "merge", "a word [1, 2, 3], after merge has read it")
def _word(g: Program) -> Answer:
    word = [1, 2, 3]
    g.merge(word, (1, 2), 256)
    return word


# What was learned from "aab", "abab" and the like: a b first, then a ab, then ab ab, then b c.
MERGES = {(0, 1): (0, 256), (0, 256): (1, 257), (256, 256): (2, 258), (1, 2): (3, 259)}
# Of a vocabulary whose numbers were given out in another order than the merges were learned.
SHUFFLED = {(0, 1): (0, 400), (1, 2): (1, 300), (300, 3): (2, 350)}


def encodes(word: list[int], merges: dict[tuple[int, int], tuple[int, int]], note: str) -> None:
    """Make a word to encode a probe."""

    @probe(16, "bpe_encode", f"{word}, {note}")
    def ask(g: Program) -> Answer:
        given, known = list(word), dict(merges)
        result = g.bpe_encode(given, known)
        kept = given == word and known == merges
        return {"tokens": result, "what was given": "as before" if kept else "changed"}


encodes([], MERGES, "any merges")
encodes([3], MERGES, "any merges")
encodes([0, 1], {}, "no merges")
encodes([0, 1], MERGES, "a b learned first")
encodes([1, 0, 1, 3, 0, 1], MERGES, "a b learned first")
encodes([0, 0, 1], MERGES, "a b learned first, then a ab")
encodes([0, 1, 0, 1], MERGES, "a b learned first, then ab ab")
encodes([0, 1, 2], MERGES, "a b learned first, b c last")
encodes([0, 1, 2], {(1, 2): (0, 256), (0, 1): (1, 257)}, "b c learned first, then a b")
encodes([2, 0, 0, 1, 1, 2, 0, 1, 0, 1, 3], MERGES, "four merges")
encodes([1, 2, 0, 1, 2, 3], SHUFFLED, "a b learned first (400), then b c (300), then bc d (350)")
encodes([1, 2, 3, 3], SHUFFLED, "b c (300), then bc d (350)")
