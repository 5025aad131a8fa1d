"""Small architectures, one for each family and its bricks, with random parameters."""

import random
from collections.abc import Callable
from typing import Any

from microgpt.config import GPTConfig
from microgpt.gpt import Value
from microgpt.llm.architecture import Architecture, Experts, RoPE, Stretch

SIZES: dict[str, Any] = {
    "vocab_size": 11,
    "n_layer": 2,
    "n_embd": 8,
    "n_head": 4,
    "n_kv_head": 2,
    "head_dim": 4,
    "n_hidden": 6,
    "block_size": 12,
}
LLAMA: dict[str, Any] = SIZES | {
    "activation": "silu",
    "gated": True,
    "norm": "gained rms",
    "rope": RoPE(100.0),
}
STRETCH = Stretch(factor=4.0, low=1.0, high=4.0, original=32)
MIXTURE = Experts(n_expert=4, n_used=2, n_hidden=5)
ARCHITECTURES = {
    "heart": Architecture.of(GPTConfig(vocab_size=11, n_layer=2, n_embd=8, block_size=12)),
    "gpt2": Architecture(
        **SIZES | {"n_kv_head": 4, "head_dim": 2},
        activation="gelu",
        norm="layer",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=True,
    ),
    "llama": Architecture(**LLAMA),
    "stretched": Architecture(**LLAMA | {"rope": RoPE(100.0, STRETCH)}, tied=True),
    "qwen2": Architecture(**LLAMA, qkv_bias=True),
    "qwen3": Architecture(**LLAMA | {"head_dim": 6}, qk_norm=True, norm_eps=1e-6),
    "mistral": Architecture(**LLAMA, windows=(3, None)),
    "mixtral": Architecture(**LLAMA, experts=MIXTURE),
    "qwen3_moe": Architecture(
        **LLAMA, qk_norm=True, experts=Experts(4, 2, 5, n_dense=1, renormalize=False)
    ),
}


def draw(config: Architecture, seed: int = 1) -> dict[str, Any]:
    """Return random parameters by name, as numbers in lists: gains near 1, no bias 0."""
    rng = random.Random(seed)

    def array(shape: tuple[int, ...], mean: float) -> Any:
        if not shape:
            return rng.gauss(mean, 0.4)
        return [array(shape[1:], mean) for _ in range(shape[0])]

    return {name: array(shape, float(name.endswith("norm"))) for name, shape in config.shapes()}


def nested(function: Callable[[Any], Any], numbers: Any) -> Any:
    """Return the same lists in lists, with a function applied to each number."""
    if isinstance(numbers, list):
        return [nested(function, item) for item in numbers]
    return function(numbers)


def values(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as Values."""
    return {name: nested(Value, array) for name, array in numbers.items()}
