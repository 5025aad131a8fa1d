"""The recorder: what it says happened did happen, and it leaves no trace of itself."""

import ast
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

import microgpt
from microgpt import gpt, xray
from microgpt.checkpoint import Checkpoint
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import initial_state
from microgpt.engines.scalar import ScalarEngine
from microgpt.xray import zoom
from microgpt.xray.graph import runs, unrun
from microgpt.xray.nudge import nudge
from microgpt.xray.positions import locate
from microgpt.xray.recorder import Recorder, load
from microgpt.xray.trace import PARTS, Trace
from tests.conftest import EMMA, LETTERS

SOURCE = Path(gpt.__file__).read_text("utf-8")
ROOT = Path(__file__).parent.parent
OPS = ("parameter", "+", "*", "**", "add", "dot", "exp", "log", "relu")
TINY = GPTConfig(n_layer=2, n_embd=4, n_head=2, block_size=5, vocab_size=27)


def model(config: GPTConfig = TINY, seed: int = 1) -> Checkpoint:
    state = initial_state(config, random.Random(seed))
    return Checkpoint(config, LETTERS, {name: 4 * array for name, array in state.items()})


def scalar(held: Checkpoint) -> ScalarEngine:
    return ScalarEngine(held.config, held.state, Adam())


def edited(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new, 1)


@pytest.fixture(scope="module")
def emma() -> Trace:
    """Return gpt.py before training, watched as it learns from emma."""
    return xray.record("emma")


# -- what happened ---------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [GPTConfig(), TINY])
def test_numbers_are_those_of_gpt(config: GPTConfig) -> None:
    held = model(config)
    trace = xray.record("emma", held)
    engine = scalar(held)
    assert trace.loss == engine.loss([EMMA])
    inspected = engine.inspect(EMMA[:-1])
    positions = locate(trace)

    def numbers(found: Any) -> list[float]:
        return [trace.data[node] for node in unrun(found)]

    for t, position in enumerate(positions):
        assert (position["token"], position["pos"]) == (EMMA[t], t)
        assert numbers(position["logits"]) == inspected["logits"][t].tolist()
        assert numbers(position["probs"]) == inspected["probs"][t].tolist()
        surprise = -math.log(inspected["probs"][t][EMMA[t + 1]])
        assert numbers(position["surprise"]) == pytest.approx([surprise], rel=1e-12)
        for layer in range(config.n_layer):
            assert numbers(position["hidden"][layer]) == inspected["hidden"][layer, t].tolist()
            for head in range(config.n_head):
                weights = inspected["attention"][layer, head, t, : t + 1]
                assert numbers(position["attention"][layer][head]) == weights.tolist()
        for layer in range(config.n_layer + 1):
            assert numbers(position["residual"][layer]) == inspected["residual"][layer, t].tolist()


def test_gradients_and_adam_are_those_of_gpt() -> None:
    held = model()
    trace = xray.record("emma", held, learning_rate=0.02)
    engine = scalar(held)
    grads = trace.part("grads")["params"]
    for name, array in engine.gradients([EMMA]).items():
        assert grads[name] == array.tolist()
    engine.train([[EMMA]], [0.02])
    adam, state = trace.part("adam"), engine.state()
    assert (adam["step"], adam["lr"]) == (0, 0.02)
    for name, _ in TINY.shapes():
        assert adam["data"][name] == state[name].tolist()
        assert adam["m"][name] == state[f"adam.m.{name}"].tolist()
        assert adam["v"][name] == state[f"adam.v.{name}"].tolist()
        assert trace.part("params")[name] == held.state[name].tolist()
    later = xray.record("emma", Checkpoint(TINY, LETTERS, state), learning_rate=0.02)
    engine.train([[EMMA]], [0.02])
    assert later.part("adam")["step"] == 1
    assert later.part("adam")["data"]["wte"] == engine.state()["wte"].tolist()


def test_one_event_for_each_statement(emma: Trace) -> None:
    """At one position, gpt() runs its statements in their order."""
    first = next(i for i, call in enumerate(emma.calls) if call.fn == "gpt")
    lines = [e.line for e in emma.events if e.call == first]
    start = emma.functions["gpt"][0]
    tree = ast.parse(SOURCE)
    (function,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "gpt")
    statements = [n for n in ast.walk(function) if isinstance(n, ast.stmt)][2:]  # not the docstring
    loop = next(n for n in statements if isinstance(n, ast.For))
    expected = sorted(n.lineno for n in statements)
    expected.insert(-1, loop.lineno)  # it also finds that there is no layer left
    assert lines == expected
    assert start < lines[0]
    assert lines[-1] == emma.functions["gpt"][1]
    assert {call.fn for call in emma.calls} == {
        *("loss", "gpt", "rmsnorm", "linear", "attention", "softmax", "backward", "adam")
    }


def test_names_values_and_cache_growth(emma: Trace) -> None:
    pairs = [(emma.calls[e.call].fn, n, s) for e in emma.events for n, s in e.set.items()]
    (q, *_) = (seen for fn, name, seen in pairs if (fn, name) == ("gpt", "q"))
    assert q["shape"] == [16]
    assert len(emma.numbers(q)) == 16
    grown = [name for fn, name, _ in pairs if fn == "gpt" and name.startswith("keys")]
    assert grown == [f"keys[0][{t}]" for t in range(5)]
    by = {(emma.calls[e.call].fn, name) for e in emma.events for name in e.set}
    assert ("adam", "m[0]") in by
    assert ("adam", "v[1]") in by
    assert ("loss", "return") in by
    assert ("softmax", "largest") in by
    linear = [call for call in emma.calls if call.fn == "linear"]
    assert linear[0].args["w"] == {"param": "layer0.attn_wq"}
    assert emma.depth(emma.calls.index(linear[0])) == 2
    for i, call in enumerate(emma.calls):
        for e in range(*call.events):
            assert i in emma.path(emma.events[e].call)


def test_loops_over_thousands_are_counted(emma: Trace) -> None:
    assert emma.graph
    skipped = {e.line: e.skipped for e in emma.events if e.skipped}
    text = {line: emma.code(line) for line in skipped}
    (adam,) = (n for line, n in skipped.items() if text[line].startswith("for i, p"))
    assert adam == 4192 - 2
    (backward,) = (n for line, n in skipped.items() if text[line].startswith("for value"))
    assert backward == len(emma.graph.steps) - 1 - 4


def test_every_round_can_be_had_and_is_what_the_parts_say() -> None:
    held = model(GPTConfig(n_layer=1, n_embd=2, n_head=1, block_size=2, vocab_size=27))
    few, every = xray.record("b", held), xray.record("b", held, every_round=True)
    assert every.graph
    assert every.adam

    def rows(trace: Trace, *, loops: bool) -> list[tuple[int, dict[str, Any]]]:
        return [
            (e.line, e.set)
            for e in trace.events
            if (trace.calls[e.call].fn in ("backward", "adam")) is loops
        ]

    assert rows(every, loops=False) == rows(few, loops=False)
    assert not any(e.skipped for e in every.events)
    inside = rows(every, loops=True)
    for event in few.events:
        if event.skipped and not few.code(event.line).startswith("for child"):  # the outer loops
            shown = [line for line, _ in rows(few, loops=True)].count(event.line)
            assert shown + event.skipped == [line for line, _ in inside].count(event.line)
    written: list[tuple[int, float]] = []
    grads: dict[int, float] = {}
    for step in every.graph.steps[1:]:
        for child, grad in step.flows:
            if grad != grads.get(child, 0):
                written.append((child, grad))
            grads[child] = grad
    (line,) = (i for i, text in enumerate(SOURCE.split("\n"), 1) if "child.grad +=" in text)
    seen = [held["child"] for at, held in inside if at == line and held]
    assert [(held["nodes"][0][0], held["grad"]) for held in seen] == written
    named = {name: held.get("value") for _, now in inside for name, held in now.items()}
    for which in "mv":
        for i, moment in enumerate(every.adam[which]):
            assert named.get(f"{which}[{i}]", 0) == moment


# -- the graph -------------------------------------------------------------------------------------
def test_flows_follow_the_chain_rule(emma: Trace) -> None:
    graph = emma.graph
    assert graph
    turns = graph.turns
    assert len(turns) == len(graph.steps) - 1, "each Value has one turn"
    for node in turns:
        for child in graph.children[node]:
            assert child in turns or not graph.children[child]
            assert turns[node] < turns.get(child, len(graph.steps)), "a child waits for its parents"
    for k, step in enumerate(graph.steps[1:], 1):
        assert step.node is not None
        assert step.grad == graph.grad(step.node), "its gradient is complete at its turn"
        received = dict.fromkeys(graph.children[step.node], 0.0)
        for child, local_grad in zip(
            graph.children[step.node], graph.local_grads[step.node], strict=True
        ):
            received[child] += local_grad * step.grad
        for child, got in received.items():
            added = graph.grad(child, k) - graph.grad(child, k - 1)
            assert added == pytest.approx(got, rel=1e-9, abs=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    held = model()
    trace = xray.record("emma", held)
    engine = scalar(held)
    rng = random.Random(0)
    for name, (rows, columns) in TINY.shapes():
        r, c = rng.randrange(rows), rng.randrange(columns)
        losses = []
        for h in (1e-5, -1e-5):
            state = {n: a.copy() for n, a in held.state.items()}
            state[name][r, c] += h
            engine.load(state)
            losses.append(engine.loss([EMMA]))
        slope = (losses[0] - losses[1]) / 2e-5
        assert trace.part("grads")["params"][name][r][c] == pytest.approx(slope, abs=1e-7)


def test_why_this_order() -> None:
    """In b = a + a; c = b + b the turn of b comes when its gradient is complete."""
    trace = xray.record_lines("a = Value(3.0)\nb = a + a\nc = b + b\nc.backward()")
    assert trace.graph
    assert [trace.name(node) for node in range(3)] == ["a", "b", "c"]
    steps = [(s.node, s.grad, s.flows) for s in trace.graph.steps]
    assert steps == [
        (None, None, [(2, 1)]),
        (2, 1, [(1, 1), (1, 2)]),
        (1, 2, [(0, 2), (0, 4)]),
    ]
    assert trace.graph.ops == ["value", "+", "+"]
    assert not trace.error
    assert trace.loss is None


def test_hears_gradients_of_any_backward(emma: Trace) -> None:
    """Without slots, with another order, gradients re-read for each child: the same sums."""
    source = edited('    __slots__ = ("data", "grad", "_children", "_local_grads")\n', "")
    start = source.index("        order, seen, stack")
    end = source.index("def add(values)")
    source = (
        source[:start]
        + """        order, seen = [], set()
        def build(value):
            if value not in seen:
                seen.add(value)
                for child in value._children:
                    build(child)
                order.append(value)
        build(self)
        self.grad = 1
        for value in reversed(order):
            for child, local_grad in zip(value._children, value._local_grads):
                child.grad += local_grad * value.grad

"""
        + source[end:]
    )
    other = xray.record_source(source, "emma")
    assert other.error is None
    assert other.graph
    assert emma.graph
    assert len(other.graph.turns) == len(emma.graph.turns)
    for node in range(len(emma.data)):
        assert other.graph.grad(node) == pytest.approx(emma.graph.grad(node), rel=1e-9, abs=1e-15)


# -- the file stays as it is -----------------------------------------------------------------------
def test_leaves_everything_as_it_was() -> None:
    held = model()
    before = {name: array.copy() for name, array in held.state.items()}
    slot, names, traced = vars(gpt.Value)["grad"], dict(vars(gpt)), sys.gettrace()
    xray.record("emma", held)
    with pytest.raises(ValueError, match="two tokens"):
        xray.record([26], held)
    with pytest.raises(ValueError, match="it may be loss, backward, adam"):
        xray.record("emma", held, until="all")  # type: ignore[arg-type]
    error = xray.record_source(edited("self.grad = 1\n", "self.grad = 1 / 0\n"), "emma").error
    assert error
    assert error["message"] == "ZeroDivisionError: division by zero"
    assert vars(gpt.Value)["grad"] is slot
    assert dict(vars(gpt)) == names
    assert sys.gettrace() is traced
    for name, array in before.items():
        np.testing.assert_array_equal(held.state[name], array)


def test_class_value_is_restored_even_where_tracing_was_ended() -> None:
    loaded = load(edited("self.grad = 1\n", "self.grad = 1; sys.settrace(None)\n"))
    slot, number = vars(loaded.value)["grad"], loaded.value(1.0)
    Recorder(loaded).run((number * 2).backward)
    assert vars(loaded.value)["grad"] is slot
    assert number.grad == 2


def test_recordings_take_turns(emma: Trace) -> None:
    slot = vars(gpt.Value)["grad"]
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(xray.record, "emma") for _ in range(3)]
        assert all(job.result() == emma for job in jobs)
    assert vars(gpt.Value)["grad"] is slot


def test_hears_no_other_thread(emma: Trace) -> None:
    done = Event()

    def train() -> None:
        engine = scalar(model())
        while not done.is_set():
            engine.gradients([EMMA])

    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(train)
        try:
            assert xray.record("emma") == emma
        finally:
            done.set()
        training.result()


def test_takes_a_model_in_any_form(tmp_path: Path) -> None:
    held = model()
    held.save(tmp_path / "m.safetensors")
    traces = [
        xray.record("ana", form)
        for form in (held, tmp_path / "m.safetensors", microgpt.Model(held, "scalar"))
    ]
    assert all(trace == traces[0] for trace in traces)
    assert traces[0] == xray.record([26, 0, 13, 0, 26], held)


# -- edited files ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("x = rmsnorm(x)", "x = rmsnorm(y)", "x = rmsnorm(y)", "NameError"),
        ("return linear(x, params[", "sys.exit(3, params[", "sys.exit", "TypeError"),
        ("return linear(x, params[", "sys.exit(params[", "sys.exit", "SystemExit"),
        ('params["lm_head"]', 'params["head"]', "return linear(x", "KeyError: 'head'"),
    ],
)
def test_an_error_ends_the_trace(old: str, new: str, line: str, message: str) -> None:
    trace = xray.record_source(edited(old, new), "emma")
    assert trace.error
    assert trace.loss is None
    assert message in trace.error["message"]
    assert trace.error["fn"] == "gpt"
    assert trace.code(trace.error["line"]).startswith(line)
    assert (
        trace.events[-2].line == trace.error["line"]
    )  # in gpt(); the last is loss(), which called
    assert str(trace).splitlines()[2].startswith(f"it stopped in line {trace.error['line']}, gpt()")
    json.loads(trace.to_json(["graph"]))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def gpt(:", "line 1 of the source is not Python"),
        ("import no_such_module", "the source stops with ModuleNotFoundError"),
        ("x = 1", "no class Value"),
        ("raise SystemExit(1)", "the source stops with SystemExit: 1"),
        (SOURCE.replace("def init", "def begin"), r"init\(\) or Value stops with AttributeError"),
    ],
)
def test_a_source_that_cannot_be_loaded(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        xray.record_source(source, "emma")


def test_parameters_of_an_edited_init_are_drawn() -> None:
    source = edited(
        "    return {name: [[Value",
        '    shapes["bias"] = (1, n)\n    return {name: [[Value',
    ).replace('linear(x, params["lm_head"])', 'linear(x, params["lm_head"] + params["bias"])')
    trace = xray.record_source(source, "emma", model(GPTConfig()))
    assert ("bias", [1, 16], 4192) in trace.params
    assert trace.first == 4208
    assert len([*unrun(locate(trace)[0]["logits"])]) == 28


def test_values_made_before_the_run_have_a_node() -> None:
    source = edited("def gpt(", "ONE = Value(1.0)\n\ndef gpt(").replace(
        "x = rmsnorm(x)\n    for i", "x = [a * ONE for a in rmsnorm(x)]\n    for i"
    )
    trace = xray.record_source(source, "ann")
    assert trace.graph
    one = next(n for n, op in enumerate(trace.graph.ops) if op == "value")
    assert trace.data[one] == 1.0
    assert len(trace.graph.parents[one]) == 4 * 16
    assert trace.graph.grad(one) != 0
    assert Trace.from_dict(json.loads(trace.to_json(PARTS, None))) == trace


def test_a_file_without_loss_or_with_plain_numbers_for_it() -> None:
    trace = xray.record_source(edited("def loss(", "def cost("), "ann")
    assert trace.error
    assert str(trace).splitlines()[2].startswith("it stopped: AttributeError")
    assert trace._repr_html_()
    trace = xray.record_source(edited(".log())", ".log().data)"), "ann")
    assert trace.error
    assert locate(trace)[0]["surprise"] == []
    assert trace._repr_html_()


def test_an_endless_loop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microgpt.xray.recorder.MOST", 1000)
    source = edited(
        "    x = rmsnorm(x)\n    for i", "    while True:\n        i = 0\n        i = 1\n    for i"
    )
    trace = xray.record_source(source, "emma")
    assert trace.error
    assert trace.error["message"].startswith("RuntimeError: more than 1,000 statements ran")
    assert trace.calls[0].events == [0, len(trace.events)]
    assert "it stopped in line" in str(trace)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("token_id", "token"),
        ("pos_id", "place"),
        ("surprises", "losses"),
        ("attention", "attend"),
        ("softmax", "normalize"),
        ("mlp_fc2", "down"),
        ("gpt(params", "predict(params"),
        ("def linear(x, w): return [dot(row, x)", "def linear(v, w): return [dot(row, v)"),
        (".log())", ".log() * 1)"),
    ],
)
def test_a_file_that_uses_other_names(old: str, new: str) -> None:
    held = model()
    other = xray.record_source(SOURCE.replace(old, new), "ann", held)
    assert other.error is None
    assert other.loss is not None
    assert str(other)
    assert other._repr_html_()
    assert zoom.document(other)["loss"]
    assert str(xray.diff(xray.record("ann", held), other))
    assert json.loads(other.to_json(PARTS))


def test_changes_in_place_are_seen() -> None:
    source = edited(
        "    x = rmsnorm(x)\n    for i",
        "    x = rmsnorm(x)\n    x[3] = x[0]\n    x[1].data = 5.0\n"
        '    params["wte"][2][1].data = 7.0\n    for i',
    )
    trace = xray.record_source(source, "emma", until="loss")
    sets = [e.set for e in trace.events if trace.calls[e.call].fn == "gpt"][:5]
    assert sets[2].keys() == {"x"}
    assert trace.numbers(sets[2]["x"])[3] == trace.data[sets[1]["x"]["nodes"][0][0]]
    assert sets[3]["x[1]"]["data"] == 5.0
    assert sets[4]["wte[2][1]"]["data"] == 7.0


def test_statements_of_many_lines_and_many_on_a_line() -> None:
    source = edited(
        "    x = rmsnorm(x)\n    for i",
        "    x = [\n        a + 0\n        for a in\n        x\n    ]; n = 0\n"
        "    for a in x: n += 1\n    while n > 14:\n        n -= 1\n    for i",
    )
    trace = xray.record_source(source, "emma", until="loss")
    events = [e for e in trace.events if trace.calls[e.call].fn == "gpt"]
    start = trace.functions["gpt"][0] + 2
    assert [e.line - start for e in events[1:8]] == [1, 6, 7, 8, 7, 8, 7]
    assert set(events[1].set) == {"x", "n"}
    assert events[2].set["n"] == {"shape": [], "value": 16}


# -- one schema ------------------------------------------------------------------------------------
def test_a_short_name_is_light() -> None:
    assert len(xray.record("emily", model(GPTConfig())).to_json()) < 50_000


def test_json_gives_back_the_trace(emma: Trace, tmp_path: Path) -> None:
    assert Trace.from_dict(json.loads(emma.to_json(PARTS, digits=None))) == emma
    emma.save(tmp_path / "t.json", ["graph", "source"])
    loaded = Trace.load(tmp_path / "t.json")
    assert loaded.events[7].set == emma.events[7].set
    assert loaded.graph
    assert emma.graph
    assert loaded.graph.children == emma.graph.children
    assert loaded.loss == emma.loss
    assert loaded.data[-1] == float(f"{emma.data[-1]:.4g}")
    assert json.loads(loaded.to_json()) == json.loads(emma.to_json())


def test_numbers_that_json_does_not_have() -> None:
    source = edited("    x = rmsnorm(x)\n    for i", '    x[0] = x[0] * float("nan")\n    for i')
    trace = xray.record_source(source, "emma")
    saved = json.loads(trace.to_json(["grads"]))
    assert "nan" in saved["data"]
    assert math.isnan(Trace.from_dict(saved).data[saved["first"] + saved["data"].index("nan")])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"format": "microgpt xray 2"}', '{"format": "microgpt xray 1"}']
)
def test_a_file_that_is_no_trace(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(ValueError, match="not a trace that microgpt can use"):
        Trace.load(tmp_path / "t.json")


def test_parts_that_are_not_there(emma: Trace) -> None:
    with pytest.raises(ValueError, match="it has source, params, grads, adam, graph"):
        emma.to_json(["weights"])
    with pytest.raises(ValueError, match="record until adam"):
        xray.record("emma", until="backward").part("adam")
    light = Trace.from_dict(emma.to_dict())
    with pytest.raises(ValueError, match="save it with graph"):
        zoom.document(light)


def test_the_docs_name_every_field(emma: Trace) -> None:
    text = (ROOT / "docs" / "xray.md").read_text("utf-8")
    saved = emma.to_dict(PARTS)
    fields = [*saved, *saved["positions"][0], *PARTS, *saved["parts"]["graph"]]
    shown = zoom.document(emma)
    fields += [*shown, *shown["positions"][0], *zoom.value(emma, 0)]
    fields += zoom.operations(emma, 1)["operations"][0]
    for field in fields:
        assert re.search(rf"\b{field}\b", text), f"docs/xray.md does not name {field}"
    kept = Trace.load(ROOT / "docs" / "xray-emma.json")
    assert (kept.tokens, kept.source) == (EMMA, SOURCE), "run `make docs`"


@given(st.lists(st.none() | st.integers(0, 30)))
def test_runs_keep_every_node(nodes: list[int | None]) -> None:
    found = runs(nodes)
    assert [*unrun(found)] == [n for n in nodes if n is not None]
    assert found.count(None) == nodes.count(None)


@limits(max_examples=10)
@given(
    st.builds(
        lambda layers, heads, dim, block: GPTConfig(27, layers, heads * dim, heads, block),
        *(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.integers(1, 6)),
    ),
    st.text(LETTERS, max_size=8),
)
def test_any_model_and_document(config: GPTConfig, document: str) -> None:
    held = model(config)
    trace = xray.record(document, held)
    tokens = [26, *map(LETTERS.index, document), 26]
    assert trace.loss == scalar(held).loss([tokens])
    assert len(locate(trace)) == min(config.block_size, len(document) + 1)
    assert Trace.from_dict(json.loads(trace.to_json(PARTS, None))) == trace
    assert max(map(len, str(trace).splitlines())) <= 80


# -- the same everywhere ---------------------------------------------------------------------------
ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
from microgpt import xray
source = open(sys.argv[2], encoding="utf-8").read()
trace = xray.record_source(source, "ann")
print(trace.to_json(xray.trace.PARTS, 3))
str(trace), trace._repr_html_(), xray.diff(trace, xray.record("ann"))
assert "numpy" not in sys.modules and "microgpt.checkpoint" not in sys.modules
"""


def pythons() -> list[str]:
    """Return the interpreters at hand: this one, and others from 3.11 on."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [sys.executable]
    for minor in range(11, 15):
        if minor != sys.version_info.minor:
            installed = sorted(versions.glob(f"3.{minor}.*/bin/python"))
            found += [str(p) for p in installed[-1:]] or [
                p for p in [shutil.which(f"python3.{minor}")] if p
            ]
    return found


def test_the_same_trace_on_every_python_from_the_standard_library_alone(tmp_path: Path) -> None:
    """Isolated, without site-packages: so also in a browser's Python."""
    package = tmp_path / "microgpt"
    shutil.copytree(ROOT / "microgpt" / "xray", package / "xray", ignore=lambda *_: {"__pycache__"})
    (package / "__init__.py").touch()
    for name in ("gpt.py", "config.py", "files.py", "tokenizer.py"):
        shutil.copy(ROOT / "microgpt" / name, package)
    source = edited(
        "    x = rmsnorm(x)\n    for i",
        "    x = [\n        Value(0.5) + a\n        for a in\n        x\n    ]; n = 0\n"
        "    try:\n        n = 1 / 0\n    except ZeroDivisionError:\n        n = (lambda k: k)(\n"
        "            3)\n    for a in x: n += 1\n    while n > 14 and (\n            n > 0):\n"
        "        n -= 1\n    for i",
    )
    (tmp_path / "edited.py").write_text(source, "utf-8")
    (tmp_path / "run.py").write_text(ELSEWHERE, "utf-8")
    printed = {}
    for python in pythons():
        words = [str(tmp_path / "run.py"), str(tmp_path), str(tmp_path / "edited.py")]
        done = subprocess.run(
            [python, "-I", "-S", *words], capture_output=True, text=True, check=True
        )
        printed[python] = [json.loads(line) for line in done.stdout.splitlines()]
    if len(printed) == 1:
        pytest.skip("there is no other Python from 3.11 on to compare with")
    here = printed.pop(sys.executable)
    for other in printed.values():
        _assert_alike(other, here)


def _assert_alike(a: Any, b: Any) -> None:
    """Compare JSON data: the same but for the last digit of a number."""
    assert type(a) is type(b)
    if isinstance(a, float):
        assert a == pytest.approx(b, rel=2e-3, abs=1e-12)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            _assert_alike(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _assert_alike(x, y)
    else:
        assert a == b


# -- to look at ------------------------------------------------------------------------------------
def test_text_says_what_the_model_could_not_see() -> None:
    held = model(GPTConfig(n_layer=1, n_embd=4, n_head=2, block_size=5))
    lines = str(xray.record("annabelle", held)).splitlines()
    assert lines[1] == "the model can see 5 characters and not what follows: 'elle'"
    assert "can see" not in str(xray.record("annab", held))


def test_text_fits_a_terminal(emma: Trace) -> None:
    text = str(emma)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("emma | loss 3.2252 nats/token")
    assert 'return linear(x, params["lm_head"])' in text
    assert "layer 0 head 3" in text


class Tags(HTMLParser):
    """Checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_html_is_whole_and_escaped() -> None:
    held = Checkpoint(
        GPTConfig(vocab_size=4), "<&a", initial_state(GPTConfig(vocab_size=4), random.Random(1))
    )
    tags = Tags()
    tags.feed(xray.record("<a&", held)._repr_html_())
    assert not tags.open
    assert "<" in tags.words
    assert "<a& | loss" in " ".join(tags.words)


# -- one expression at a time ----------------------------------------------------------------------
def test_zoom_shows_the_whole_graph_thirty_values_at_a_time(emma: Trace) -> None:
    assert emma.graph
    seen: set[int] = set()

    def look(node: int) -> None:
        """Go from a Value to all that it was computed from."""
        stack = [node]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            start, more = 0, 1
            while more:
                shown = zoom.around(emma, node, start=start)
                assert 1 + len(shown["children"]) + len(shown["parents"]) <= zoom.WINDOW
                stack += [child["node"] for child in shown["children"]]
                start, more = start + len(shown["children"]), shown["more_children"]

    whole = zoom.document(emma)
    look(whole["loss"]["node"])
    assert whole["steps"] == len(emma.graph.steps)
    passed_on = [flow[0] for step in emma.graph.steps for flow in step.flows]
    assert seen == set(passed_on)
    assert len(whole["positions"]) == 5
    assert sum(p["surprise"]["data"] for p in whole["positions"]) / 5 == pytest.approx(emma.loss)


def test_zoom_says_why_no_gradient_reaches_a_value(emma: Trace) -> None:
    assert emma.graph
    without = [n for n in range(emma.first, len(emma.data)) if n not in emma.graph.turns]
    reasons = {n: zoom.value(emma, n).get("silent") for n in without}
    hidden = [n for p in locate(emma) for runs in p["hidden"] for n in unrun(runs)]
    dead = sum(emma.data[n] == 0 for n in hidden)
    before = [n for n in reasons if reasons[n] == "relu" and emma.name(n).startswith("h[")]
    assert len(before) == dead > 0
    assert all(emma.data[n] <= 0 for n in before)
    probs = [n for p in locate(emma) for n in unrun(p["probs"])]
    unused = [n for n in reasons if reasons[n] == "unused"]
    assert set(unused) < set(probs)  # those of wrong answers
    assert len(unused) == len(probs) - len(locate(emma))
    assert not [n for n in emma.graph.turns if "silent" in zoom.value(emma, n)]


def test_a_nudge_moves_the_loss_by_the_gradient(emma: Trace) -> None:
    """A finite difference of gpt.py itself, for Values of every kind: the oracle of backward()."""
    assert emma.graph
    chosen = random.Random(1).sample(range(emma.first, len(emma.data)), 40)
    chosen += [next(n for n, op in enumerate(emma.graph.ops) if op == kind) for kind in OPS]
    for node in chosen:
        moved = nudge(emma, node, 6)
        assert moved["loss"] == emma.loss
        slope = (moved["nudged"] - moved["loss"]) / moved["epsilon"]
        assert slope == pytest.approx(emma.graph.grad(node), rel=1e-4, abs=1e-6), emma.name(node)


def test_a_nudged_parameter_is_one_of_another_model() -> None:
    held = model()
    trace = xray.record("emma", held)
    name, (_, columns), start = trace.params[4]
    state = {key: array.copy() for key, array in held.state.items()}
    state[name][1, 2] += 0.1
    moved = nudge(trace, start + columns + 2, 1)
    assert moved["nudged"] == scalar(Checkpoint(held.config, LETTERS, state)).loss([EMMA])
    assert moved["nudged"] != moved["loss"]


def test_what_cannot_be_nudged_is_refused(emma: Trace) -> None:
    with pytest.raises(ValueError, match="must be from 1 to 9"):
        nudge(emma, 0, 10)
    with pytest.raises(IndexError):
        nudge(emma, len(emma.data), 2)
    other = xray.record_source(edited("x = rmsnorm(x)", "x = rmsnorm(x) "), "emma")
    with pytest.raises(ValueError, match=r"only gpt\.py itself"):
        nudge(other, 0, 2)


def test_zoom_finds_the_first_step_on_each_statement(emma: Trace) -> None:
    assert emma.graph
    steps = zoom.document(emma)["statements"]
    assert steps == sorted(set(steps))
    nodes = [emma.graph.steps[step].node for step in steps]
    code = [emma.code(zoom.around(emma, node)["line"]) for node in nodes if node is not None]
    assert code[0].startswith("return add(surprises)")
    appended = [row for row in code if row.startswith("surprises.append")]
    assert len(appended) == len(locate(emma))


def test_zoom_goes_from_operation_to_value(emma: Trace) -> None:
    place = zoom.document(emma)["positions"][2]
    operations = zoom.operations(emma, place["call"])["operations"]
    first = zoom.expression(emma, operations[0]["event"])["values"][0]["node"]
    last = [*unrun(locate(emma)[2]["logits"])][-1]
    assert sum(row["values"] for row in operations) == last + 1 - first
    (attention,) = (row for row in operations if "attention(" in row["code"])
    inner = zoom.operations(emma, attention["calls"][0])
    assert inner["fn"] == "attention"
    assert len(inner["operations"]) == 8
    row = next(row for row in operations if row["names"] == ["q"])
    q = zoom.expression(emma, row["event"])["values"]
    assert [value["name"] for value in q] == [f"q[{i}]" for i in range(16)]
    dot = zoom.around(emma, q[3]["node"])
    names = [child["name"] for child in dot["children"][:4]]
    assert names == ["layer0.attn_wq[3][0]", "h[0]", "layer0.attn_wq[3][1]", "h[1]"]
    assert sum(
        a["data"] * b["data"]
        for part in (zoom.around(emma, q[3]["node"], start=s) for s in (0, len(dot["children"])))
        for a, b in zip(part["children"][::2], part["children"][1::2], strict=True)
    ) == pytest.approx(dot["data"])
    turn = zoom.turn(emma, dot["turn"])
    assert turn["node"]["node"] == dot["node"]
    assert turn["node"]["grad"] == dot["grad"]
    early = zoom.around(emma, dot["node"], step=dot["turn"] - 1)
    assert early["children"][0]["flow"] is None
    assert early["grad"] == dot["grad"]
    assert dot["children"][0]["flow"] == dot["children"][0]["local_grad"] * dot["grad"]
    with pytest.raises(ValueError, match="there is no step"):
        zoom.turn(emma, 10**6)


# -- where two runs part ---------------------------------------------------------------------------
def test_diff_of_equal_runs(emma: Trace) -> None:
    found = xray.diff(emma, xray.record("emma"))
    assert not found
    assert str(found).startswith("the two runs agree")
    commented = xray.record_source(
        SOURCE.replace("\ndef softmax", "\n\n# a note\n\ndef softmax"), "emma"
    )
    assert not xray.diff(emma, commented), "lines may move"


def test_diff_finds_an_edited_line(emma: Trace) -> None:
    found = xray.diff(emma, xray.record_source(edited("head_dim**0.5", "head_dim"), "emma"))
    assert found.line_a
    assert found.line_b
    assert found.number
    assert found.number.at_b
    assert "head_dim**0.5" in found.line_a.code
    assert "/ head_dim for" in found.line_b.code
    assert (found.number.name, found.number.at_b.fn) == ("largest", "softmax")
    assert found.number.a == pytest.approx(2 * (found.number.b or 0))


def test_diff_finds_an_inserted_line(emma: Trace) -> None:
    source = edited("    x = rmsnorm(x)\n    for i", "    x = rmsnorm(x)\n    n = 1\n    for i")
    found = xray.diff(emma, xray.record_source(source, "emma"))
    assert found.line_b
    assert found.line_b.code == "n = 1"
    assert found.number is None
    shifted = xray.diff(
        emma, xray.record_source(source.replace("n = 1", "x = x[1:] + x[:1]"), "emma")
    )
    assert shifted.number
    assert shifted.number.at_b
    assert shifted.number.at_b.fn == "rmsnorm"


def test_diff_finds_what_an_inserted_line_changes(emma: Trace) -> None:
    source = edited(
        "    return linear(x, params", "    x[0] = x[0] + 1\n    return linear(x, params"
    )
    found = xray.diff(emma, xray.record_source(source, "emma"))
    assert found.line_b
    assert found.line_b.code == "x[0] = x[0] + 1"
    assert found.number
    assert found.number.at_b
    assert (found.number.name, found.number.at_b.fn) == ("return[0]", "linear")


def test_diff_finds_another_gradient(emma: Trace) -> None:
    source = edited(
        "def relu(self): return Value(self.data, (self,), (1,))",
        "def relu(self): return Value(self.data, (self,), (2,))",
    )
    found = xray.diff(emma, xray.record_source(source, "emma"))
    assert found.line_a is None
    assert found.number
    assert found.number.name.endswith(".grad")
    assert found.number.b == pytest.approx(2 * (found.number.a or 0))
    lost = xray.record_source(edited("child.grad += local", "child.grad = local"), "emma")
    found = xray.diff(emma, lost)
    assert found.line_b
    assert found.line_b.fn == "backward"
    assert found.number
    assert found.number.name.endswith(".grad")


def test_diff_of_two_models(emma: Trace) -> None:
    found = xray.diff(emma, xray.record("emma", model(GPTConfig())))
    assert found.line_a is None
    assert found.number
    assert found.number.name == "x[0]"
