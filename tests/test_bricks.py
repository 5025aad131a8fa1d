"""The bricks: the heart without them, the derivative by differences, and the tensors of PyTorch."""

from __future__ import annotations  # bricks.pyi has a name for the type checker alone

import ast
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from microgpt import gpt
from microgpt.config import GPTConfig
from microgpt.gpt import Value
from microgpt.llm import bricks
from microgpt.llm.architecture import Architecture
from tests.architectures import ARCHITECTURES, draw, nested, values

TOKENS = [10, 3, 3, 7, 0, 10, 2]
SOURCE = Path(bricks.__file__)


def loss(params: bricks.Params, config: Architecture, tokens: list[int]) -> Value:
    """Return gpt.loss of a model with bricks."""
    keys, values = gpt.cache(config)
    surprises = []
    for pos, (token, target) in enumerate(pairwise(tokens)):
        logits = bricks.forward(params, config, token, pos, keys, values)
        surprises.append(-gpt.softmax(logits)[target].log())
    return gpt.add(surprises) / len(surprises)


def leaves(array: Any) -> Iterator[Any]:
    """Yield the numbers of lists in lists."""
    if isinstance(array, list):
        for item in array:
            yield from leaves(item)
    else:
        yield array


@pytest.fixture(params=ARCHITECTURES)
def config(request: pytest.FixtureRequest) -> Architecture:
    return ARCHITECTURES[request.param]


def test_the_chapter_is_short() -> None:
    lines = SOURCE.read_text("utf-8").splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 100
    functions = [f for f in ast.parse("\n".join(lines)).body if isinstance(f, ast.FunctionDef)]
    sizes = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno}
    assert sizes.pop("forward") <= 30, "the model that puts them together"
    assert max(sizes.values()) <= 10, sizes


def test_without_a_brick_it_is_the_heart() -> None:
    """Number for number, and so are the gradients."""
    config = GPTConfig(vocab_size=11, n_layer=2, n_embd=8, block_size=12)
    mine, hearts = (values(draw(Architecture.of(config))) for _ in range(2))
    ours, theirs = loss(mine, Architecture.of(config), TOKENS), gpt.loss(hearts, config, TOKENS)
    assert ours.data == theirs.data
    ours.backward()
    theirs.backward()
    for mine_p, hearts_p in zip(leaves([*mine.values()]), leaves([*hearts.values()]), strict=True):
        assert mine_p.grad == pytest.approx(hearts_p.grad, rel=1e-12, abs=1e-15)


def test_gradients_are_finite_differences(config: Architecture) -> None:
    """Of the whole model, in a random direction for all of its parameters."""
    params, width = values(draw(config)), 1e-5
    loss(params, config, TOKENS).backward()
    numbers = list(leaves([*params.values()]))
    direction = list(leaves([*draw(config, seed=2).values()]))
    slope = sum(p.grad * d for p, d in zip(numbers, direction, strict=True))
    losses = []
    for shift in (width, -2 * width):
        for p, d in zip(numbers, direction, strict=True):
            p.data += shift * d
        losses.append(loss(params, config, TOKENS).data)
    assert slope == pytest.approx((losses[0] - losses[1]) / (2 * width), rel=1e-6)


def test_forward_and_gradients_are_the_tensors(config: Architecture) -> None:
    torch = pytest.importorskip("torch")
    from microgpt.engines.pytorch import bricks as twins

    numbers = draw(config)
    params = values(numbers)
    tensors = {
        name: torch.tensor(array, dtype=torch.float64, requires_grad=True)
        for name, array in numbers.items()
    }
    logits = twins.forward(tensors, config, torch.tensor(TOKENS[:-1]))
    keys, cache = gpt.cache(config)
    ours = [
        [z.data for z in bricks.forward(params, config, token, pos, keys, cache)]
        for pos, token in enumerate(TOKENS[:-1])
    ]
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), logits, rtol=0, atol=1e-12)
    torch.nn.functional.cross_entropy(logits, torch.tensor(TOKENS[1:])).backward()
    loss(params, config, TOKENS).backward()
    for name, tensor in tensors.items():
        gradient = torch.tensor(nested(lambda p: float(p.grad), params[name]), dtype=torch.float64)
        torch.testing.assert_close(gradient, tensor.grad, rtol=0, atol=1e-12, msg=name)


def test_the_tensors_grow_by_their_cache(config: Architecture) -> None:
    """Token by token is all at once, with a batch of them."""
    torch = pytest.importorskip("torch")
    from microgpt.engines.pytorch import bricks as twins

    params = {name: torch.tensor(array).double() for name, array in draw(config).items()}
    tokens, cache = torch.tensor([TOKENS, TOKENS[::-1]]), {}  # type: ignore[var-annotated]
    parts = [twins.forward(params, config, part, cache) for part in tokens.split([3, 1, 3], dim=1)]
    whole = twins.forward(params, config, tokens)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-12)


BRICKS: dict[str, Callable[[list[Value]], list[Value]]] = {
    "relu": lambda x: [bricks.relu(z) for z in x],
    "silu": lambda x: [bricks.silu(z) for z in x],
    "gelu": lambda x: [bricks.gelu(z) for z in x],
    "layernorm": lambda x: bricks.layernorm(x[:4], x[4:8], x[8:12], 1e-5),
    "gained_rmsnorm": lambda x: bricks.gained_rmsnorm(x[:6], x[6:], 1e-5),
    "turn": lambda x: bricks.turn(x, [0.3, 1.0, 2.0, 3.0, 4.0, 5.0]),
    "grouped_attention": lambda x: bricks.grouped_attention(
        x[:4], [x[4:6], x[6:8]], [x[8:10], x[10:]], 2, 1
    ),
}


@pytest.mark.parametrize("name", BRICKS)
def test_each_brick_has_the_derivative_of_its_differences(name: str) -> None:
    numbers = [0.3, -1.2, 2.0, 0.01, -0.4, 1.1, 0.7, -0.6, 0.9, -2.2, 1.5, 0.2]
    shares = [0.5, -1.0, 0.25, 2.0, -0.5, 1.5, 0.1, -0.2, 1.0, 0.3, -0.7, 0.6]

    def summed(x: list[Value]) -> Value:
        return gpt.add([z * s for z, s in zip(BRICKS[name](x), shares, strict=False)])

    x = [Value(number) for number in numbers]
    summed(x).backward()
    for i, xi in enumerate(x):
        ends = []
        for width in (1e-5, -1e-5):
            moved = [Value(n + width * (i == j)) for j, n in enumerate(numbers)]
            ends.append(summed(moved).data)
        assert xi.grad == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


def test_activations_far_out_are_finite() -> None:
    for z in (-1e4, 1e4):
        for activation in bricks.ACTIVATIONS.values():
            x = Value(z)
            y = activation(x)
            y.backward()
            assert (y.data, x.grad) == (max(z, 0), float(z > 0))
