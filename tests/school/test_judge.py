"""The checks of the school: what they reject, what they accept, and what they say."""

import ast
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.school import fingerprints
from microgpt.school.answers import plain, same
from microgpt.school.course import Lesson, lessons
from microgpt.school.judge import Verdict, judge, recognise
from microgpt.school.mistakes import Mistake, mistakes
from microgpt.school.probes import PROBES, probes
from microgpt.school.program import reference

ROOT = Path(__file__).parents[2]
NUMBERS = [lesson.number for lesson in lessons()]
WORST = ["None", "math.nan", "[[[]]]", "'x' * 10**6", "10**5000", "object()", "(yield)", "print"]


def stubs(body: str, only: set[str]) -> str:
    """Return the reference with another body in some of its functions."""

    class Empty(ast.NodeTransformer):
        inside = ""

        def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
            self.inside = f"{node.name}."
            self.generic_visit(node)
            self.inside = ""
            return node

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
            if self.inside + node.name in only:
                node.body = ast.parse(body).body
            return node

    return ast.unparse(Empty().visit(ast.parse(reference())))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_reference_passes(number: int) -> None:
    verdict = judge(reference(), number)
    assert verdict == Verdict(number, verdict.total, verdict.total)
    assert verdict.total >= 6


@pytest.mark.parametrize("lesson", lessons(), ids=lambda each: each.name)
def test_what_is_not_written_fails(lesson: Lesson) -> None:
    for source in ("", "pass", "# def encode(doc, alphabet): ..."):
        failure = judge(source, lesson.number).failure
        assert failure
        assert failure.expected == f"a definition of {lesson.writes[0]}"
    for body in ("raise NotImplementedError", "pass"):
        for name in lesson.writes:
            verdict = judge(stubs(body, {name}), lesson.number)
            assert verdict.failure, (body, name)
            assert verdict.mistake is None, (body, name)
        assert verdict.passed < verdict.total
    verdict = judge(stubs("raise NotImplementedError", set(lesson.writes)), lesson.number)
    assert verdict.failure
    assert verdict.failure.got.startswith("it is not written yet")


# ---- Known mistakes ------------------------------------------------------------------------------


def test_there_are_enough_mistakes_and_each_has_its_words() -> None:
    assert len(mistakes()) >= 120
    assert len({each.id for each in mistakes()}) == len(mistakes())
    others = [each for each in mistakes() if not each.like]
    assert len(others) >= 120
    assert len({each.says for each in others}) >= len(others) - 4  # "Every token is at 0"
    for each in mistakes():
        assert 15 < len(each.says) < 200
        assert each.says[-1] in ".?"
        for _, new in each.patch:
            assert new.strip() not in each.says or len(new) < 8


def test_every_patch_applies_to_the_reference() -> None:
    for each in mistakes():
        assert each.program() != reference()


def test_a_lesson_asks_only_what_has_been_taught() -> None:
    for lesson in lessons():
        later = {name for each in lessons()[lesson.number :] for name in each.writes}
        assert judge(stubs("raise RuntimeError", later), lesson.number).failure is None


def test_each_probe_has_a_name_of_its_own() -> None:
    assert len({fingerprints.asked(probe) for probe in PROBES}) == len(PROBES)


@pytest.fixture(scope="module")
def computed() -> dict[str, fingerprints.Fingerprint]:
    return fingerprints.compute()


def test_the_committed_fingerprints_are_those_of_the_patches(
    computed: dict[str, fingerprints.Fingerprint],
) -> None:
    committed = fingerprints.fingerprints()
    assert committed.keys() == computed.keys(), "run python -m microgpt.school.fingerprints"
    for name in computed:
        assert same(committed[name], plain(computed[name])), (
            f"{name}: run python -m microgpt.school.fingerprints"
        )


def test_every_mistake_is_recognised_and_no_other(
    computed: dict[str, fingerprints.Fingerprint],
) -> None:
    for mistake in mistakes():
        names = [fingerprints.asked(probe) for probe in probes(mistake.lesson)]
        answers = {name: (computed["right"] | computed[mistake.id])[name] for name in names}
        deciding = {fingerprints.asked(probe) for probe in PROBES if probe.decides}
        assert computed[mistake.id].keys() & deciding, f"{mistake.id} passes"
        assert recognise(answers, mistake.lesson) == mistake
        alike = [
            other.id
            for other in mistakes()
            if other.lesson == mistake.lesson and same(computed[other.id], computed[mistake.id])
        ]
        assert alike == [mistake.id]


@pytest.mark.parametrize(
    "mistake", random.Random(1).sample(mistakes(), 16), ids=lambda mistake: mistake.id
)
def test_the_judge_names_a_mistake(mistake: Mistake) -> None:
    verdict = judge(mistake.program(), mistake.lesson)
    assert verdict.failure
    assert verdict.mistake == mistake


def test_of_two_mistakes_the_first_is_named() -> None:
    by_id = {mistake.id: mistake for mistake in mistakes()}
    for first, second in (("V1", "V5"), ("D3", "S6"), ("R1", "G9"), ("P2", "N1"), ("T1", "T10")):
        source = reference()
        for old, new in by_id[first].patch + by_id[second].patch:
            source = source.replace(old, new)
        verdict = judge(source, by_id[first].lesson)
        assert verdict.mistake == by_id[first]


def test_half_a_lesson_with_a_mistake_in_it_is_recognised() -> None:
    source = "def encode(doc, alphabet): return [*map(alphabet.index, doc), len(alphabet)]\n"
    source += "def decode(tokens, alphabet):\n    raise NotImplementedError\n"
    verdict = judge(source, 1)
    assert verdict.mistake
    assert verdict.mistake.id == "T1"


def test_a_stub_is_not_in_the_way_of_what_is_written() -> None:
    """flat() comes first in lesson 10; of loss() there is something to say before it is written."""
    stub = stubs("raise NotImplementedError", {"flat"})
    verdict = judge(stub, 10)
    assert verdict.unwritten
    assert verdict.advice == "No mistake so far."
    wrong = stub.replace("probs[tokens[pos_id + 1]]", "probs[tokens[pos_id]]")
    verdict = judge(wrong, 10)
    assert not verdict.unwritten
    assert verdict.advice.startswith("L5: ")


def test_a_plain_number_in_place_of_a_value_is_called_that() -> None:
    source = reference() + "\ndef linear(x, w): return [sum(v.data for v in x) for row in w]\n"
    failure = judge(source, 6).failure
    assert failure
    assert failure.got == "result [a float, not a Value, a float, not a Value]"
    source = reference().replace("(n * self.data ** (n - 1),)", "n * self.data ** (n - 1)")
    failure = judge(source, 4).failure
    assert failure
    assert failure.got.startswith("TypeError: _local_grads is a number")


# ---- Right, but different ------------------------------------------------------------------------

RIGHT = {
    "the largest logit as a Value": (
        6,
        "def softmax(logits):\n"
        "    largest = max(logits, key=lambda z: z.data)\n"
        "    exps = [(z - largest).exp() for z in logits]\n"
        "    return [e / add(exps) for e in exps]\n",
    ),
    "dot by * and +": (
        6,
        "def dot(a, b):\n"
        "    total = Value(0.0)\n"
        "    for x, y in zip(a, b): total = total + x * y\n"
        "    return total\n",
    ),
    "constants become Values": (
        4,
        "def plus(self, other):\n"
        "    other = other if isinstance(other, Value) else Value(other)\n"
        "    return Value(self.data + other.data, [self, other], [1.0, 1.0])\n"
        "Value.__add__ = Value.__radd__ = plus\n",
    ),
    "relu returns its operand": (
        4,
        "def relu(self): return self if self.data > 0 else Value(0)\nValue.relu = relu\n",
    ),
    "backward by recursion": (
        5,
        "def backward(self):\n"
        "    order, seen = [], set()\n"
        "    def visit(value):\n"
        "        if value in seen: return\n"
        "        seen.add(value)\n"
        "        for child in value._children: visit(child)\n"
        "        order.append(value)\n"
        "    visit(self)\n"
        "    self.grad = 1\n"
        "    for value in reversed(order):\n"
        "        for child, local_grad in zip(value._children, value._local_grads):\n"
        "            child.grad += local_grad * value.grad\n"
        "Value.backward = backward\n",
    ),
    "the mean by a factor": (
        10,
        "def loss(params, config, tokens):\n"
        "    n, kv = min(config.block_size, len(tokens) - 1), cache(config)\n"
        "    logits = [gpt(params, config, tokens[i], i, *kv) for i in range(n)]\n"
        "    return sum(-softmax(z)[t].log() for z, t in zip(logits, tokens[1:])) * (1 / n)\n",
    ),
    "the temperature as a power": (
        12,
        "def sample(params, config, rng, temperature=0.5):\n"
        "    kv, tokens = cache(config), [config.vocab_size - 1]\n"
        "    while len(tokens) <= config.block_size:\n"
        "        logits = gpt(params, config, tokens[-1], len(tokens) - 1, *kv)\n"
        "        weights = [p.data ** (1 / temperature) for p in softmax(logits)]\n"
        "        tokens += rng.choices(range(config.vocab_size), weights)\n"
        "        if tokens[-1] == tokens[0]: return tokens[1:-1]\n"
        "    return tokens[1:]\n",
    ),
    "no cache while sampling, and dice of its own": (
        12,
        "def sample(params, config, rng, temperature=0.5):\n"
        "    tokens = [config.vocab_size - 1]\n"
        "    for _ in range(config.block_size):\n"
        "        kv = cache(config)\n"
        "        for i, t in enumerate(tokens): logits = gpt(params, config, t, i, *kv)\n"
        "        probs, r, token = softmax([z / temperature for z in logits]), rng.random(), 0\n"
        "        while token < len(probs) - 1 and r >= sum(p.data for p in probs[:token + 1]):\n"
        "            token += 1\n"
        "        if token == tokens[0]: break\n"
        "        tokens.append(token)\n"
        "    return tokens[1:]\n",
    ),
    "gpt called again for each token": (
        9,
        "def recompute(params, config, tokens):\n"
        "    kv = cache(config)\n"
        "    for i, t in enumerate(tokens): logits = gpt(params, config, t, i, *kv)\n"
        "    return logits\n",
    ),
    "a dictionary of characters": (
        1,
        "def encode(doc, alphabet):\n"
        "    ids = {c: i for i, c in enumerate(alphabet)}\n"
        "    return (len(ids), *(ids[c] for c in doc), len(ids))\n",
    ),
    "weights from the end": (
        13,
        "def sft_weights(tokens, given):\n"
        "    weights = [0] * (len(tokens) - 1)\n"
        "    for i in range(given, len(weights)): weights[i] = 1 / (len(weights) - given)\n"
        "    return weights\n",
    ),
    "the surprise of each guess by subtraction": (
        13,
        "def weighted_loss(params, config, tokens, weights):\n"
        "    keys, values = cache(config)\n"
        "    total = 0\n"
        "    for i, (a, b) in enumerate(zip(tokens, tokens[1:])):\n"
        "        guess = softmax(gpt(params, config, a, i, keys, values))[b]\n"
        "        if weights[i]: total = total - guess.log() * weights[i]\n"
        "    return total\n",
    ),
    "each document beside the others": (
        14,
        "def advantages(rewards, ratios, beta):\n"
        "    paid, gained = [r - beta * q for r, q in zip(rewards, ratios)], []\n"
        "    for i, r in enumerate(paid):\n"
        "        others = paid[:i] + paid[i + 1:]\n"
        "        gained.append(r - sum(others) / len(others))\n"
        "    return gained\n",
    ),
    "the mean, scaled": (
        14,
        "def advantages(rewards, ratios, beta):\n"
        "    paid = [r - beta * q for r, q in zip(rewards, ratios)]\n"
        "    n, mean = len(paid), sum(paid) / len(paid)\n"
        "    return [(r - mean) * n / (n - 1) for r in paid]\n",
    ),
    "two forms of the sigmoid": (
        15,
        "def dpo_loss(chosen, rejected, beta):\n"
        "    z = beta * (chosen - rejected)\n"
        "    if z < 0: return math.log(1 + math.exp(z)) - z\n"
        "    return math.log(1 + math.exp(-z))\n",
    ),
    "all merges in the order of learning": (
        16,
        "def bpe_encode(word, merges):\n"
        "    for pair, (rank, token) in sorted(merges.items(), key=lambda m: m[1][0]):\n"
        "        word = merge(word, pair, token)\n"
        "    return word\n",
    ),
    "merge by index": (
        16,
        "def merge(word, pair, token):\n"
        "    i, merged = 0, []\n"
        "    while i < len(word):\n"
        "        found = tuple(word[i:i + 2]) == tuple(pair)\n"
        "        merged.append(token if found else word[i])\n"
        "        i += 2 if found else 1\n"
        "    return merged\n",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_but_different_passes(name: str) -> None:
    lesson, source = RIGHT[name]
    for number in {lesson, 7, 8, 10, 12} - {n for n in (7, 8, 10) if n < lesson}:
        assert judge(reference() + "\n" + source, number).failure is None


# ---- Not a mistake that is known -----------------------------------------------------------------


def test_the_smallest_input_that_shows_it_is_named() -> None:
    source = "def slope(f, x, h=1e-5): return 2 * (f(x + h) - f(x - h)) / h + 1"
    verdict = judge(source, 3)
    assert verdict.mistake is None
    assert verdict.failure
    assert verdict.failure.input == "slope(lambda x: 3 * x, 2.0, 1.0)"
    assert (verdict.failure.expected, verdict.failure.got) == ("3", "13")


def test_numbers_that_hardly_differ_are_shown_to_the_digit_that_does() -> None:
    failure = judge(
        "def slope(f, x, h=1e-5): return (f(x + h) - f(x - h)) / (2 * h) + 3e-5", 3
    ).failure
    assert failure
    assert (failure.expected, failure.got) == ("3", "3.00003")


def test_an_earlier_lesson_that_fails_is_named() -> None:
    source = reference().replace("(other.data, self.data)", "(self.data, other.data)")
    verdict = judge(source, 7)
    assert verdict.failure
    assert (verdict.mistake, verdict.earlier) == (None, 4)
    assert "own lesson 4" in verdict.advice


def test_an_earlier_lesson_is_named_only_if_it_is_to_blame() -> None:
    source = reference().replace("child.grad += local_grad * grad", "child.grad = 0")
    source += "\ndef fixed_mul(a, b, m, n): return 7\n"
    assert judge(source, 5).failure
    verdict = judge(source, 12)
    assert verdict.failure
    assert verdict.earlier is None
    assert verdict.advice.startswith("Not a mistake we know")


def test_what_a_learner_has_not_written_comes_from_the_heart() -> None:
    source = reference()
    own = source[source.index("def attention") : source.index("def gpt")]
    assert judge(own, 7).failure is None
    value = source[source.index("class Value") : source.index("    def __repr__")]
    assert judge(value + own, 7).failure is None  # lesson 5 begun, lesson 4 not
    with_stub = own + "\ndef softmax(logits):\n    'Later.'\n    raise NotImplementedError\n"
    assert judge(with_stub, 7).failure is None


def test_a_missing_import_is_missing() -> None:
    source = reference()
    own = source[source.index("def adam") : source.index("# ---- Inference")]
    failure = judge(own, 11).failure
    assert failure
    assert failure.got.startswith("NameError: name 'math' is not defined, line 7 of mygpt.py")
    assert judge(own, 11).advice.startswith("Python stopped there")
    assert judge("import math\n" + own, 11).failure is None


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("def encode(:", "SyntaxError: .+, line 1 of mygpt.py"),
        ("\n1 / 0", "ZeroDivisionError: division by zero, line 2 of mygpt.py"),
        ("raise SystemExit(3)", "SystemExit: 3, line 1 of mygpt.py"),
        ("input('Your name? ')", "EOFError: EOF when reading a line, line 1 of mygpt.py"),
        ("x = '\0'", "(SyntaxError|ValueError): .+ null bytes"),
        (
            "def f(): f()\nf()",
            "RecursionError: .+, line 1 of mygpt.py",
        ),
        ("(" * 300 + ")" * 300, "SyntaxError: .+, line 1 of mygpt.py"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(source: str, got: str) -> None:
    failure = judge(source, 1).failure
    assert failure
    assert failure.what == "mygpt.py"
    assert re.fullmatch(got, failure.got)
    assert "before that line is mended" in judge(source, 1).advice or "null" in failure.got


@pytest.mark.parametrize("value", WORST)
def test_any_answer_is_an_answer(value: str) -> None:
    for lesson in lessons()[WORST.index(value) % 3 :: 3]:
        source = reference()
        for name in lesson.writes:
            source += f"\ndef {name.rpartition('.')[2]}(*_): return {value}\n"
            if "." in name:
                source += f"{name} = {name.rpartition('.')[2]}\n"
        verdict = judge(source, lesson.number)
        assert verdict.failure
        assert len(json.dumps(verdict.to_json())) < 3000


HOSTILE = [
    "x = []; x.append(x)\ndef encode(*_): return x",
    "class Quit(BaseException):\n def __str__(self): raise self\ndef encode(*_): raise Quit",
    "def encode(*_): raise SystemExit",
    "def encode(*_): raise GeneratorExit",
    "class L(list):\n def __iter__(self): raise KeyError\ndef encode(*_): return L([1])",
    "def encode(*_): return encode(*_)",
    "import sys\ndef encode(*_): sys.stdin = sys.stdout = None",
    "len = list = max = isinstance = None\ndef encode(*_): return 1",
    "from microgpt import gpt\ngpt.Value = None\ndef encode(*_): return gpt.Value()",
    "encode = 3",
    "class encode: pass",
]


@pytest.mark.parametrize("source", HOSTILE)
def test_a_hostile_file_gets_a_verdict(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from microgpt import gpt

    monkeypatch.setattr(gpt, "Value", gpt.Value)  # put back afterwards
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    verdict = judge(source + "\ndef decode(*_): return ''", 1)
    assert verdict.failure
    assert verdict.mistake is None


def test_the_command_prints_the_verdict_alone() -> None:
    source = "print('hello')\ndef encode(doc, alphabet): print('again')\ndef decode(*_): pass"
    done = subprocess.run(
        [sys.executable, "-m", "microgpt.school.judge", "1"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    verdict = json.loads(done.stdout)
    assert (verdict["passed"], verdict["lesson"], verdict["mistake"]) == (0, 1, None)
    assert verdict["failure"]["got"] == "None"
    assert done.stderr.startswith("hello\nagain\n")


IN_A_BROWSER = """
import random
from microgpt.school.judge import judge
from microgpt.school.mistakes import mistakes
from microgpt.school.program import reference
for lesson in range(1, 17):
    assert judge(reference(), lesson).failure is None, lesson
for mistake in random.Random(2).sample(mistakes(), 8):
    assert judge(mistake.program(), mistake.lesson).mistake == mistake, mistake
print("judged")
"""


def test_a_browsers_python_judges_the_same(tmp_path: Path) -> None:
    if not (ROOT / "tests" / "node_modules" / "pyodide").exists():
        pytest.skip("pyodide is not installed: npm install --prefix tests")
    (tmp_path / "program.py").write_text(IN_A_BROWSER, "utf-8")
    done = subprocess.run(
        ["node", ROOT / "tests" / "pyodide.mjs", tmp_path / "program.py"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "judged\n", done.stderr


def test_the_judge_needs_the_standard_library_alone() -> None:
    code = "import sys, microgpt.school.judge as j; j.judge('', 1); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
