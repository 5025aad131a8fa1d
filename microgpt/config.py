"""The sizes of a model (GPTConfig) and the settings of its optimizer (Adam)."""

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


def whole(name: str, value: Any, least: int) -> int:
    """Return a whole number of any type (int, np.int64, ...) as an int.

    Raises:
        ValueError: it is something else, or less than `least`.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= least:
        return int(value)
    raise ValueError(f"{name} is {value!r}; it must be a whole number, {least} or more")


def number(name: str, value: Any) -> float:
    """Return a real number of any type (int, float, np.float32, ...) as a float.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{name} is {value!r}; it must be a number")


@dataclass(frozen=True)
class GPTConfig:
    """The sizes of a model; every function of gpt.py takes one.

    Raises:
        ValueError: a size is not a positive integer, or n_embd is not a multiple of n_head.
    """

    vocab_size: int = 27  # tokens: the characters, and BOS as the last
    n_layer: int = 1  # blocks of attention and MLP, one after another
    n_embd: int = 16  # width of the residual stream
    n_head: int = 4  # attention heads; each takes n_embd / n_head of the width
    block_size: int = 16  # positions the model can see: the longest context

    def __post_init__(self) -> None:
        for field in fields(self):
            size = whole(field.name, getattr(self, field.name), least=1)
            object.__setattr__(self, field.name, size)
        if self.n_embd % self.n_head:
            raise ValueError(
                f"n_embd {self.n_embd} cannot be shared among {self.n_head} heads; "
                "make n_embd a multiple of n_head"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def n_params(self) -> int:
        """How many numbers the model learns."""
        return sum(math.prod(shape) for _, shape in self.shapes())

    def shapes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Yield each parameter's name and shape (outputs, inputs), in the order of gpt.init."""
        n = self.n_embd
        yield "wte", (self.vocab_size, n)
        yield "wpe", (self.block_size, n)
        yield "lm_head", (self.vocab_size, n)
        for i in range(self.n_layer):
            for name in ("attn_wq", "attn_wk", "attn_wv", "attn_wo"):
                yield f"layer{i}.{name}", (n, n)
            yield f"layer{i}.mlp_fc1", (4 * n, n)
            yield f"layer{i}.mlp_fc2", (n, 4 * n)


@dataclass(frozen=True)
class Adam:
    """The settings of the optimizer: Adam (Kingma & Ba 2015, algorithm 1), AdamW with a decay.

    Raises:
        ValueError: a beta is outside [0, 1), eps is not positive, or weight_decay is negative.
    """

    beta1: float = 0.85  # how much of the smoothed gradient is kept each step
    beta2: float = 0.99  # the same for its square
    eps: float = 1e-8  # keeps the division finite where gradients are zero
    weight_decay: float = 0.0  # a step takes lr times this of each weight (AdamW)

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, number(field.name, getattr(self, field.name)))
        for name, beta in (("beta1", self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} is {beta!r}; it must be at least 0 and less than 1")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"eps is {self.eps!r}; it must be a small positive number")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay!r}; it must be 0 or more")
