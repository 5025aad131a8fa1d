"""The heart: that it is one short file which runs alone, and that what it computes is right.

It has four outside oracles: the published losses and names, central differences, differentiation
by a complex step, and PyTorch.
"""

import ast
import cmath
import gc
import math
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import gpt
from microgpt.gpt import Config, Value
from tests.conftest import Web

SOURCE = Path(gpt.__file__)
WORLD = SOURCE.parent / "data" / "names.txt"
SMALL = Config(vocab_size=5, n_layer=2, n_embd=4, n_head=2, block_size=4)
PUBLISHED_SIZES = Config(vocab_size=27, n_layer=1, n_embd=16, n_head=4, block_size=16)

COMPONENTS = "Dataset Tokenizer Autograd Architecture Training Inference"

numbers = st.floats(-10, 10)


def vectors(size: int) -> st.SearchStrategy[list[Value]]:
    return st.lists(numbers.map(Value), min_size=size, max_size=size)


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed (make test TORCH=1)")


def data(values: Sequence[Value]) -> list[float]:
    return [v.data for v in values]


# ---- One file ------------------------------------------------------------------------------------


def test_it_is_short_enough_to_read() -> None:
    lines = SOURCE.read_text("utf-8").splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 100


def test_the_six_components_stand_in_order() -> None:
    lines = SOURCE.read_text("utf-8").splitlines()
    banners = [line.split()[2].strip(":") for line in lines if line.startswith("# ---- ")]
    assert banners == COMPONENTS.split()


def test_it_imports_the_standard_library_alone() -> None:
    for node in ast.walk(ast.parse(SOURCE.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert {name.name.split(".")[0] for name in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert str(node.module).split(".")[0] in sys.stdlib_module_names


def test_importing_it_defines_and_does_nothing_else(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); import gpt"
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == (b"", b"", [])
    docstring, *body = ast.parse(SOURCE.read_text("utf-8")).body
    assert isinstance(docstring, ast.Expr)
    only_when_run = body.pop()
    assert isinstance(only_when_run, ast.If)
    assert "__name__ == '__main__'" in ast.unparse(only_when_run.test)
    definitions = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef)
    assert [ast.unparse(node) for node in body if not isinstance(node, definitions)] == []


# ---- Running alone, and on which documents -------------------------------------------------------


def run_first_lines(folder: Path, *arguments: str, count: int = 4) -> list[str]:
    """Run a Python command line in a folder, and end it when it has printed some lines."""
    with subprocess.Popen(
        [sys.executable, "-u", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(count)]
        process.kill()
    return lines


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder that holds a copy of gpt.py and nothing else."""
    shutil.copy(SOURCE, tmp_path / "gpt.py")
    return tmp_path


def publish_at(url: str, folder: Path) -> None:
    """Let the copy of gpt.py in a folder fetch its list from another address."""
    source = SOURCE.read_text("utf-8")
    assert gpt.PUBLISHED in source
    (folder / "gpt.py").write_text(source.replace(gpt.PUBLISHED, url), "utf-8")


@pytest.mark.parametrize(
    "arguments",
    [("gpt.py",), ("gpt.py", "names.txt"), ("-I", "-S", "gpt.py")],
    ids=" ".join,
)
def test_it_runs_alone_beside_a_list(alone: Path, arguments: tuple[str, ...]) -> None:
    shutil.copy(WORLD, alone / "names.txt")
    lines = run_first_lines(alone, *arguments)
    assert lines[0] == "names.txt: 18994 documents, 26 characters, 4192 parameters\n"
    assert [line[:24] for line in lines[1:]] == [f"step    {i} / 1000 | loss " for i in (1, 2, 3)]


def test_a_file_named_goes_before_the_list_here(alone: Path) -> None:
    (alone / "names.txt").write_text("emma\n")
    (alone / "other.txt").write_text("ada\nbob\n")
    lines = run_first_lines(alone, "gpt.py", "other.txt")
    assert lines[0] == "other.txt: 2 documents, 4 characters, 3488 parameters\n"


def test_the_list_here_goes_before_the_one_beside_it(alone: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "names.txt").write_text("emma\n")
    (alone / "data").mkdir()
    (alone / "data" / "names.txt").write_text("ada\nbob\n")
    assert run_first_lines(here, str(alone / "gpt.py"))[0].startswith("names.txt: 1 ")


def test_the_list_beside_it_goes_before_the_published_one(alone: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (alone / "data").mkdir()
    (alone / "data" / "names.txt").write_text("ada\nbob\n")
    line = run_first_lines(here, str(alone / "gpt.py"))[0]
    assert line.startswith(f"{alone / 'data' / 'names.txt'}: 2 documents")
    assert list(here.iterdir()) == []


def test_with_nothing_at_hand_it_fetches_the_published_list(alone: Path, web: Web) -> None:
    web.pages["/names.txt"] = b"emma\nolivia\nava\n"
    publish_at(f"{web.url}/names.txt", alone)
    first = run_first_lines(alone, "gpt.py")
    assert first[0] == "names.txt: 3 documents, 7 characters, 3584 parameters\n"
    assert (alone / "names.txt").read_bytes() == web.pages.pop("/names.txt")
    assert run_first_lines(alone, "gpt.py") == first  # from the file, for the page is gone


def fails_in_one_line(folder: Path, *arguments: str) -> str:
    """Run gpt.py; return the one line that it must print before it ends with exit code 2."""
    done = subprocess.run(
        [sys.executable, "gpt.py", *arguments], cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("gpt.py: ")
    assert done.stderr.endswith("give UTF-8 text, one a line\n")
    return done.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} {gpt.__file__} {WORLD} | head -2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


def test_ctrl_c_ends_it_without_a_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, gpt.__file__, WORLD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, said) == (130, "")


def test_no_network_is_one_line(alone: Path, web: Web) -> None:
    for url in (f"{web.url}/gone.txt", "http://127.0.0.1:9/names.txt"):
        publish_at(url, alone)
        assert url in fails_in_one_line(alone)
        assert [path.name for path in alone.iterdir()] == ["gpt.py"]


def test_a_download_that_breaks_is_one_line(alone: Path, web: Web) -> None:
    web.pages["/names.txt"] = b"emma\nolivia\n"
    web.cut_short = True
    publish_at(f"{web.url}/names.txt", alone)
    assert "IncompleteRead" in fails_in_one_line(alone)
    assert [path.name for path in alone.iterdir()] == ["gpt.py"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no documents"),
        (b"\xef\xbb\xbf\n \r\n\t\n", "no documents"),
        (b"\xff\xfee\x00m\x00", "utf-8"),
        ("café".encode("latin-1"), "utf-8"),
        (None, "No such file"),
    ],
    ids=["empty", "blank", "utf-16", "latin-1", "missing"],
)
def test_a_file_without_documents_is_one_line(
    alone: Path, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (alone / "list.txt").write_bytes(content)
    line = fails_in_one_line(alone, "list.txt")
    assert "list.txt" in line
    assert reason in line


def test_a_folder_is_one_line(alone: Path) -> None:
    assert str(alone) in fails_in_one_line(alone, str(alone))


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        (b"\xef\xbb\xbfemma\nava", ["emma", "ava"]),
        (b"emma\r\nava\r\n\r\n", ["emma", "ava"]),
        (b" emma \n\n\n\tava", ["emma", "ava"]),
        ("Zoë\n李明\nÅsa Bjørk\n".encode(), ["Zoë", "李明", "Åsa Bjørk"]),
        ("a\u2028b\x0bc\x85d\re\n".encode(), ["a\u2028b\x0bc\x85d", "e"]),
        (b"emma\nemma\n", ["emma", "emma"]),
    ],
    ids=["BOM", "CRLF", "blanks", "Unicode", "only CR and LF end a line", "duplicates"],
)
def test_documents_are_lines(tmp_path: Path, content: bytes, documents: list[str]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    assert gpt.read(path) == documents


@pytest.mark.parametrize(
    "text", ["a", "李明", "emma " * 20, "a\nbb\n" + "c" * 1000], ids=["1", "2", "long", "mixed"]
)
def test_any_document_trains_and_samples(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, "utf-8")
    assert gpt.main([str(path)], steps=3) is None
    first, *steps = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert f"{len(text.splitlines())} documents, {len(set(text) - {chr(10)})} char" in first
    assert [line[:21] for line in steps[:3]] == [f"step    {i} / 3 | loss " for i in (1, 2, 3)]
    names = steps[3:]
    assert len(names) == 20
    assert all(len(name) <= 16 and set(name) <= set(text) for name in names)


# ---- What it prints ------------------------------------------------------------------------------

LOSSES = (
    "3.3660 3.4243 3.1778 3.0664 3.2209 2.9452 3.2894 3.3245 2.8990 3.2229 2.7964 2.9345 3.0544"
)
NAMES = (
    "kamon ann karai jaire vialan karia yeran anna areli kaina konna keylen liole alerin earan "
    "lenne kana lara alela anton"
)

# Runs its arguments and says how much memory they took at most, in KiB. A process of its own, since
# the figure of a process starts at that of the process which started it: pytest is a large one.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(peak // 1024 if sys.platform == "darwin" else peak, file=sys.stderr)
sys.exit(code)
"""


HERE = f"{sys.version_info.major}.{sys.version_info.minor}"  # this Python
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def find_python(version: str) -> str | None:
    """Return the CPython of a version on this machine: this one, on the path, or pyenv's."""
    if version == HERE:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for candidate in (f"python{version}", *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))):
        code = "import sys; print(sys.implementation.name, *sys.version_info[:2])"
        if found := shutil.which(candidate):
            said = subprocess.run([found, "-c", code], capture_output=True, text=True).stdout
            if said.split() == ["cpython", *version.split(".")]:
                return found
    return None


@pytest.mark.parametrize(
    "version", [HERE, *(pytest.param(v, marks=pytest.mark.slow) for v in VERSIONS if v != HERE)]
)
def test_the_published_list_gives_the_published_losses_and_names(
    published: Path, version: str
) -> None:
    if not (python := find_python(version)):
        pytest.skip(f"there is no CPython {version} on this machine")
    command = [sys.executable, "-c", MEASURE, python, str(SOURCE), str(published)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    first, *lines = run.stdout.split("\n")
    assert first.endswith("names.txt: 32033 documents, 26 characters, 4192 parameters")
    expected = [f"step {i:4d} / 1000 | loss {loss}" for i, loss in enumerate(LOSSES.split(), 1)]
    assert lines[:13] == expected
    assert lines[1000:] == [*NAMES.split(), ""]
    last = [float(line.split()[-1]) for line in lines[950:1000]]
    assert sum(last) / 50 == pytest.approx(2.3233, abs=5e-5)
    assert int(run.stderr) < 80_000, "KiB at most: the graph of a step must be gone by the next"


WORLD_LOSSES = (
    "3.4894 3.0854 3.1056 3.3361 3.4551 3.0998 2.6561 2.7542 3.1647 2.7656 3.6177 3.5827 2.5019 "
    "3.1744 3.0191 2.5900 3.4377 3.1350 3.1147 2.5907"
)
WORLD_NAMES = (
    "a,,sebg,sel,iasli,aiaai,sagriia,sasi,ifi,iai,ka,yarid,narnii,nai,ai,saili,aai,scssw,nar,vase"
)


def test_the_built_in_list_gives_its_losses_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    gpt.main([str(WORLD)], steps=20)
    _, *lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert [line.split()[-1] for line in lines[:20]] == WORLD_LOSSES.split()
    assert lines[20:] == WORLD_NAMES.split(",")


# ---- Tokenizer -----------------------------------------------------------------------------------


def test_emma_is_the_tokens_of_the_mission() -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    assert gpt.encode("emma", alphabet) == [26, 4, 12, 12, 0, 26]
    assert gpt.decode([4, 12, 12, 0], alphabet) == "emma"


@given(st.text())
def test_decode_is_the_inverse_of_encode(text: str) -> None:
    alphabet = "".join(sorted(set(text)))
    bos, *tokens, end = gpt.encode(text, alphabet)
    assert bos == end == len(alphabet)
    assert gpt.decode(tokens, alphabet) == text


# ---- Autograd ------------------------------------------------------------------------------------
# The operations are tried in random programs. One program runs on Values, complex numbers and
# tensors alike: x is the list of numbers so far, an operation makes the next of x[i] and x[j]. A
# complex step gives derivatives to the last digit: f'(x) = Im f(x + ih) / h, with an h so small
# that no other term counts (Squire & Trapp 1998, eq. 6).

STEP = 1e-30


def exp(x: Any) -> Any:
    return cmath.exp(x) if isinstance(x, complex) else x.exp()


def log(x: Any) -> Any:
    return cmath.log(x) if isinstance(x, complex) else x.log()


def relu(x: Any) -> Any:
    return (x if x.real > 0 else 0j) if isinstance(x, complex) else x.relu()


def add(x: list[Any]) -> Any:
    return gpt.add(x) if isinstance(x[0], Value) else sum(x)


def dot(a: list[Any], b: list[Any]) -> Any:
    if isinstance(a[0], Value):
        return gpt.dot(a, b)
    return sum(x * y for x, y in zip(a, b, strict=True))


OPERATIONS: dict[str, Callable[[list[Any], int, int], Any]] = {
    "a + b": lambda x, i, j: x[i] + x[j],
    "a + 1.5": lambda x, i, j: x[i] + 1.5,
    "2 + a": lambda x, i, j: 2 + x[i],
    "a - b": lambda x, i, j: x[i] - x[j],
    "a - 0.5": lambda x, i, j: x[i] - 0.5,
    "3 - a": lambda x, i, j: 3 - x[i],
    "-a": lambda x, i, j: -x[i],
    "a * b": lambda x, i, j: x[i] * x[j],
    "a * -0.7": lambda x, i, j: x[i] * -0.7,
    "3 * a": lambda x, i, j: 3 * x[i],
    "a / b": lambda x, i, j: x[i] / x[j],
    "a / 4": lambda x, i, j: x[i] / 4,
    "2 / a": lambda x, i, j: 2 / x[i],
    "a ** 2": lambda x, i, j: x[i] ** 2,
    "a ** -1": lambda x, i, j: x[i] ** -1,
    "a ** 0.5": lambda x, i, j: x[i] ** 0.5,
    "a ** -1.5": lambda x, i, j: x[i] ** -1.5,
    "exp": lambda x, i, j: exp(x[i]),
    "log": lambda x, i, j: log(x[i]),
    "relu": lambda x, i, j: relu(x[i]),
    "add": lambda x, i, j: add([x[i], x[j], *x]),
    "dot": lambda x, i, j: dot([x[i], *x], [x[j], *reversed(x)]),
}
DIVIDES_BY = {"a / b": 1, "2 / a": 0, "a ** -1": 0}  # which of i and j must not be 0
POSITIVE = {"log", "a ** 0.5", "a ** -1.5"}  # where x[i] must be more than 0
Program = list[tuple[str, int, int]]


@st.composite
def programs(draw: st.DrawFn) -> tuple[list[float], Program]:
    """Draw inputs and operations on them, all of which are defined and stay of sane size."""
    inputs = draw(st.lists(st.floats(-3, 3), min_size=1, max_size=4))
    x: list[Any] = [complex(number) for number in inputs]
    program: Program = []
    for _ in range(draw(st.integers(1, 10))):
        place = st.integers(0, len(x) - 1)
        name, i, j = draw(st.sampled_from(list(OPERATIONS))), draw(place), draw(place)
        divisor = x[(i, j)[DIVIDES_BY[name]]] if name in DIVIDES_BY else 1
        if abs(divisor) < 0.1 or (name in POSITIVE and x[i].real < 0.1):
            continue
        if name == "relu" and 0 < abs(x[i]) < 1e-3:  # so near its corner, rounding decides
            continue
        result = OPERATIONS[name](x, i, j)
        if abs(result) < 10:
            program.append((name, i, j))
            x.append(result)
    return inputs, program


def run_program(inputs: Sequence[Any], program: Program) -> Any:
    """Run a program and return the sum of all its numbers, so that each of them counts."""
    x = list(inputs)
    for name, i, j in program:
        x.append(OPERATIONS[name](x, i, j))
    return add(x)


def run_on_values(inputs: list[float], program: Program) -> tuple[float, list[float]]:
    values = [Value(number) for number in inputs]
    result = run_program(values, program)
    result.backward()
    return result.data, [v.grad for v in values]


def close(expected: Sequence[float]) -> Any:
    """Compare numbers that cancel in part: what counts is an error beside the largest of them."""
    return pytest.approx(expected, rel=1e-9, abs=1e-9 * max(1.0, *map(abs, expected)))


@given(programs())
def test_values_and_gradients_are_those_of_a_complex_step(
    drawn: tuple[list[float], Program],
) -> None:
    inputs, program = drawn
    expected = []
    for i in range(len(inputs)):
        stepped = [complex(x, STEP * (i == j)) for j, x in enumerate(inputs)]
        expected.append(run_program(stepped, program).imag / STEP)
    result, grads = run_on_values(inputs, program)
    assert result == pytest.approx(run_program([complex(x) for x in inputs], program).real)
    assert grads == close(expected)


@given(programs())
def test_values_and_gradients_are_those_of_pytorch(
    torch: Any, drawn: tuple[list[float], Program]
) -> None:
    inputs, program = drawn
    tensors = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    expected = run_program(tensors, program)
    expected.backward()
    result, grads = run_on_values(inputs, program)
    assert result == pytest.approx(expected.item())
    assert grads == close([t.grad.item() for t in tensors])


def test_a_gradient_is_added_to_what_is_there() -> None:
    x = Value(3.0)
    (x * x).backward()
    (x * x).backward()
    assert x.grad == 12


def test_a_value_used_twice_gathers_both_gradients_before_it_passes_them_on() -> None:
    x = Value(2.0)
    y = x * x  # 4
    z = y.exp() * y + y  # y reaches z by three ways of different length
    z.backward()
    assert y.grad == pytest.approx(4 * math.exp(4) + math.exp(4) + 1)
    assert x.grad == pytest.approx(y.grad * 4)


def test_backward_is_not_recursive() -> None:
    x = Value(1.0)
    y = x
    for _ in range(100_000):
        y = y + x
    y.backward()
    assert x.grad == 100_001


def test_a_graph_is_freed_with_its_loss_and_without_the_collector() -> None:
    params = gpt.init(SMALL, random.Random(0))
    gc.collect()
    gc.disable()
    try:
        before = sum(type(thing) is Value for thing in gc.get_objects())
        loss = gpt.loss(params, SMALL, [4, 0, 1, 2, 4])
        loss.backward()
        assert sum(type(thing) is Value for thing in gc.get_objects()) > before + 100
        del loss
        assert sum(type(thing) is Value for thing in gc.get_objects()) == before
    finally:
        gc.enable()


# ---- Architecture --------------------------------------------------------------------------------


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=30), st.floats(-300, 300))
def test_softmax_is_a_distribution_that_only_differences_decide(
    logits: list[float], shift: float
) -> None:
    probs = data(gpt.softmax([Value(z) for z in logits]))
    assert sum(probs) == pytest.approx(1)
    assert all(p > 0 for p in probs)
    in_order = sorted(range(len(logits)), key=logits.__getitem__)
    assert [probs[i] for i in in_order] == sorted(probs)
    shifted = data(gpt.softmax([Value(z + shift) for z in logits]))
    assert shifted == pytest.approx(probs, rel=1e-9)


def test_softmax_survives_logits_beyond_the_range_of_exp() -> None:
    assert data(gpt.softmax([Value(1e6), Value(0.0), Value(-1e6)])) == [1, 0, 0]


@given(st.lists(numbers, min_size=1, max_size=30), st.floats(0.1, 100))
def test_rmsnorm_keeps_the_direction_and_sets_the_size(x: list[float], scale: float) -> None:
    mean_square = sum(xi * xi for xi in x) / len(x)
    normed = data(gpt.rmsnorm([Value(xi) for xi in x]))
    assert normed == pytest.approx([xi / math.sqrt(mean_square + 1e-5) for xi in x])
    if mean_square * min(1, scale) ** 2 > 100:  # so large that the 1e-5 does not show
        assert sum(y * y for y in normed) / len(x) == pytest.approx(1)
        scaled = data(gpt.rmsnorm([Value(xi * scale) for xi in x]))
        assert scaled == pytest.approx(normed, abs=1e-6)


@st.composite
def attentions(draw: st.DrawFn) -> tuple[list[Value], list[list[Value]], list[list[Value]]]:
    """Draw a query (4,), and keys and values (T, 4), for two heads of two numbers each."""
    count = draw(st.integers(1, 5))
    tokens = st.lists(vectors(4), min_size=count, max_size=count)
    return draw(vectors(4)), draw(tokens), draw(tokens)


@given(attentions())
def test_attention_takes_the_same_share_of_every_number_of_a_head(
    drawn: tuple[list[Value], list[list[Value]], list[list[Value]]],
) -> None:
    q, keys, values = drawn
    mix = data(gpt.attention(q, keys, values, n_head=2))
    for head in (slice(0, 2), slice(2, 4)):
        fits = [sum(a.data * b.data for a, b in zip(q[head], k[head], strict=True)) for k in keys]
        powers = [math.exp((fit - max(fits)) / math.sqrt(2)) for fit in fits]
        shares = [power / sum(powers) for power in powers]
        for place in range(head.start, head.stop):
            column = [v[place].data for v in values]
            assert mix[place] == pytest.approx(sum(map(float.__mul__, shares, column)), abs=1e-9)
            assert min(column) - 1e-9 <= mix[place] <= max(column) + 1e-9


@given(attentions(), st.randoms())
def test_attention_does_not_see_the_order_of_tokens(
    drawn: tuple[list[Value], list[list[Value]], list[list[Value]]], rng: random.Random
) -> None:
    q, keys, values = drawn
    order = list(range(len(keys)))
    rng.shuffle(order)
    shuffled = gpt.attention(q, [keys[i] for i in order], [values[i] for i in order], n_head=2)
    assert data(shuffled) == pytest.approx(data(gpt.attention(q, keys, values, 2)), abs=1e-9)


def test_parameters_are_drawn_in_order_row_by_row() -> None:
    params = gpt.init(SMALL, random.Random(1))
    shapes = {name: (len(matrix), len(matrix[0])) for name, matrix in params.items()}
    layer = {"attn_wq": (4, 4), "attn_wk": (4, 4), "attn_wv": (4, 4), "attn_wo": (4, 4)}
    layer |= {"mlp_fc1": (16, 4), "mlp_fc2": (4, 16)}
    expected = {"wte": (5, 4), "wpe": (4, 4), "lm_head": (5, 4)}
    expected |= {f"layer{i}.{name}": shape for i in (0, 1) for name, shape in layer.items()}
    assert list(shapes.items()) == list(expected.items())
    rng = random.Random(1)
    drawn = [rng.gauss(0, 0.08) for _ in range(sum(rows * n for rows, n in shapes.values()))]
    assert data(gpt.flat(params)) == drawn
    assert len(gpt.flat(gpt.init(PUBLISHED_SIZES, random.Random(42)))) == 4192


def test_a_model_of_zeros_knows_nothing() -> None:
    params = gpt.init(SMALL, random.Random(0))
    for p in gpt.flat(params):
        p.data = 0.0
    assert gpt.loss(params, SMALL, [4, 0, 1, 4]).data == pytest.approx(math.log(5))


def test_a_token_is_appended_to_the_cache_of_every_layer() -> None:
    params, (keys, values) = gpt.init(SMALL, random.Random(0)), gpt.cache(SMALL)
    for pos_id, token_id in enumerate([4, 0, 2]):
        logits = gpt.gpt(params, SMALL, token_id, pos_id, keys, values)
        assert len(logits) == SMALL.vocab_size
        for cache in (keys, values):
            assert [[len(token) for token in layer] for layer in cache] == [[4] * (pos_id + 1)] * 2


# ---- The whole model's gradient ------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [[4, 4], [4, 0, 3, 3, 1, 2, 0, 4]], ids=["shortest", "cut"])
def test_the_gradient_of_the_loss_is_that_of_central_differences(tokens: list[int]) -> None:
    params, h = gpt.init(SMALL, random.Random(5)), 1e-5
    gpt.loss(params, SMALL, tokens).backward()
    for p in gpt.flat(params):
        at = p.data
        p.data = at + h
        above = gpt.loss(params, SMALL, tokens).data
        p.data = at - h
        below = gpt.loss(params, SMALL, tokens).data
        p.data = at
        assert p.grad == pytest.approx((above - below) / (2 * h), rel=1e-5, abs=1e-8)


def pytorch_loss(torch: Any, w: dict[str, Any], config: Config, tokens: list[int]) -> Any:
    """The model said again in matrices: all positions at once, and a mask for the future."""
    tokens = tokens[: config.block_size + 1]
    count, head_dim = len(tokens) - 1, config.n_embd // config.n_head

    def norm(x: Any) -> Any:
        return x * torch.rsqrt((x * x).mean(1, keepdim=True) + 1e-5)

    def split(x: Any) -> Any:  # (T, n_embd) -> (n_head, T, head_dim)
        return x.view(count, config.n_head, head_dim).transpose(0, 1)

    x = norm(w["wte"][tokens[:-1]] + w["wpe"][:count])
    future = torch.ones(count, count, dtype=torch.bool).triu(1)
    for i in range(config.n_layer):
        h = norm(x)
        q, k, v = (split(h @ w[f"layer{i}.attn_w{which}"].T) for which in "qkv")
        fits = (q @ k.transpose(1, 2) / head_dim**0.5).masked_fill(future, -torch.inf)
        mix = (fits.softmax(2) @ v).transpose(0, 1).reshape(count, config.n_embd)
        x = x + mix @ w[f"layer{i}.attn_wo"].T
        x = x + (norm(x) @ w[f"layer{i}.mlp_fc1"].T).relu() @ w[f"layer{i}.mlp_fc2"].T
    targets = torch.tensor(tokens[1:])
    return torch.nn.functional.cross_entropy(x @ w["lm_head"].T, targets)


@pytest.mark.parametrize("config", [SMALL, PUBLISHED_SIZES], ids=["2 layers", "published"])
@pytest.mark.parametrize("tokens", [[4, 4], [4, 0, 3, 3, 1, 2, 0, 4]], ids=["shortest", "long"])
def test_the_gradient_of_the_loss_is_that_of_pytorch(
    torch: Any, config: Config, tokens: list[int]
) -> None:
    params = gpt.init(config, random.Random(3))
    w = {
        name: torch.tensor([data(row) for row in rows], dtype=torch.float64, requires_grad=True)
        for name, rows in params.items()
    }
    expected = pytorch_loss(torch, w, config, tokens)
    expected.backward()
    loss = gpt.loss(params, config, tokens)
    loss.backward()
    assert loss.data == pytest.approx(expected.item(), rel=1e-12)
    for name, rows in params.items():
        grads = [p.grad for row in rows for p in row]
        assert grads == pytest.approx(w[name].grad.flatten().tolist(), rel=1e-9, abs=1e-15), name


# ---- Training ------------------------------------------------------------------------------------


def test_adam_moves_as_its_paper_says() -> None:
    grads = [[0.5, -2.0, 0.0], [1.5, 1.0, 0.0], [-0.1, 3.0, 1e-9]]
    params = [Value(1.0), Value(-1.0), Value(0.25)]
    m, v = [0.0] * 3, [0.0] * 3
    expected = data(params)
    for step, row in enumerate(grads):
        for p, grad in zip(params, row, strict=True):
            p.grad = grad
        gpt.adam(params, m, v, step, lr=0.01)
        assert [p.grad for p in params] == [0, 0, 0]
        for i in range(3):  # Kingma & Ba 2015, algorithm 1, its sums written out
            t = step + 1
            mean = sum(0.15 * 0.85 ** (t - 1 - k) * grads[k][i] for k in range(t)) / (1 - 0.85**t)
            square = sum(0.01 * 0.99 ** (t - 1 - k) * grads[k][i] ** 2 for k in range(t))
            expected[i] -= 0.01 * mean / (math.sqrt(square / (1 - 0.99**t)) + 1e-8)
        assert data(params) == pytest.approx(expected, rel=1e-12)


# ---- Inference -----------------------------------------------------------------------------------


def test_a_sample_ends_at_bos_or_where_the_model_ends() -> None:
    params, rng = gpt.init(SMALL, random.Random(0)), random.Random(0)
    samples = [gpt.sample(params, SMALL, rng, temperature=1.0) for _ in range(60)]
    assert {len(tokens) for tokens in samples} == {0, 1, 2, 3, 4}
    assert {token for tokens in samples for token in tokens} == {0, 1, 2, 3}


def test_a_low_temperature_takes_the_likeliest_token() -> None:
    params, tokens = gpt.init(SMALL, random.Random(2)), [4]
    keys, values = gpt.cache(SMALL)
    for pos_id in range(SMALL.block_size):
        logits = data(gpt.gpt(params, SMALL, tokens[-1], pos_id, keys, values))
        tokens.append(logits.index(max(logits)))
        if tokens[-1] == 4:
            break
    likeliest = [token for token in tokens if token != 4]
    assert gpt.sample(params, SMALL, random.Random(0), temperature=1e-4) == likeliest


def test_samples_are_drawn_from_the_probabilities_of_their_temperature() -> None:
    config = SMALL._replace(block_size=1)  # a document is one token: its share is its probability
    params, rng = gpt.init(config, random.Random(7)), random.Random(7)
    for p in gpt.flat(params):
        p.data *= 20  # a model with opinions
    keys, values = gpt.cache(config)
    logits = data(gpt.gpt(params, config, 4, 0, keys, values))
    powers = [math.exp(z / 2.0) for z in logits]
    drawn = [(gpt.sample(params, config, rng, temperature=2.0) or [4])[0] for _ in range(2000)]
    for token, power in enumerate(powers):
        assert drawn.count(token) / 2000 == pytest.approx(power / sum(powers), abs=0.04)
