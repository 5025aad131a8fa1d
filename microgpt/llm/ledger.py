"""What a transformer costs, in one set of formulas: parameters, FLOPs, bytes, seconds.

FLOPs are those of matrix products alone: a multiplication and an addition for each weight, as
Kaplan et al. 2020 count them (arXiv 2001.08361, section 2.1), and those of attention. Norms,
activations, softmax and biases are left out: their share falls as a model gets wider.
"""

import math
from collections.abc import Iterator

from microgpt.llm.architecture import Architecture

PARTS = ("token embedding", "positions", "attention", "MLP", "experts", "norms", "lm_head")
# Bytes a weight. A format of 4 bits has scales beside it: MXFP4 comes to 4.25 bits with them.
WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "4 bits": 0.5}
CACHE_BYTES = 2  # a number of the KV cache, in bfloat16
# Training with Adam, bytes a parameter (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1):
# weights and gradients in 2 bytes; float32 weights, m and v in 4. All in float32 is 16 as well.
ADAM_BYTES = 2 + 2 + 4 + 4 + 4
BACKWARD = 2  # forward passes: one for d loss / d inputs, one for d loss / d weights
CHINCHILLA = 20  # tokens a parameter, about (Hoffmann et al. 2022, arXiv 2203.15556, table 3)


def part(name: str) -> str:
    """Return which of PARTS a parameter of `Architecture.shapes` belongs to."""
    matrix = name.removesuffix(".bias").rpartition(".")[2]
    if matrix in ("attn_norm", "mlp_norm", "embedding_norm", "final_norm"):
        return "norms"
    kinds = {"wte": "token embedding", "wpe": "positions", "lm_head": "lm_head", "mlp": "MLP"}
    kinds |= dict.fromkeys(("router", "experts", "shared"), "experts")
    return kinds.get(matrix.partition("_")[0], kinds.get(matrix, "attention"))


def parameters(architecture: Architecture) -> dict[str, int]:
    """Return how many parameters each of PARTS has; a tied lm_head is the token embedding."""
    counted = dict.fromkeys(PARTS, 0)
    for name, shape in architecture.shapes():
        counted[part(name)] += math.prod(shape)
    return counted


def active(architecture: Architecture) -> int:
    """Return how many parameters take part in a token's forward pass: all but idle experts.

    Both embeddings count whole, though a token reads one row of the first. Reports that leave that
    table out give less, by vocab_size * n_embd.
    """
    return sum(used for _, _, used in _used(architecture))


def multiplied(architecture: Architecture) -> int:
    """Return how many weights a token is multiplied by: all but gains, biases and lookups."""
    return sum(
        used
        for name, dimensions, used in _used(architecture)
        if dimensions > 1
        and not name.endswith(".bias")
        and (name not in ("wte", "wpe") or (name == "wte" and architecture.tied))
    )


def _used(architecture: Architecture) -> Iterator[tuple[str, int, int]]:
    """Yield each parameter's name, its dimensions, and how many of its numbers a token uses."""
    for name, shape in architecture.shapes():
        used = math.prod(shape)
        if ".experts_" in name:
            assert architecture.experts
            used = used // shape[0] * architecture.experts.n_used
        yield name, len(shape), used


def forward_flops(architecture: Architecture, context: int) -> float:
    """Return the FLOPs of one token's forward pass as it sees `context` positions, its own too."""
    windows = _windows(architecture)
    return _flops(architecture, sum(min(context, window or context) for window in windows))


def training_flops(architecture: Architecture, context: int) -> float:
    """Return the FLOPs of learning from one token: the mean over `context` tokens in a row."""
    windows = _windows(architecture)
    seen = sum(_mean_seen(context, min(context, window or context)) for window in windows)
    return (1 + BACKWARD) * _flops(architecture, seen)


def _flops(architecture: Architecture, seen: float) -> float:
    """Return a token's FLOPs, if it sees so many positions, summed over the layers."""
    latent, head_dim = architecture.latent, architecture.head_dim
    scores_and_mix = head_dim + (latent.value_dim if latent else head_dim)  # numbers a position
    return 2 * multiplied(architecture) + 2 * architecture.n_head * scores_and_mix * seen


def _mean_seen(tokens: int, window: int) -> float:
    """Return the mean of min(t, window) over t = 1 ... tokens."""
    return (window * (window + 1) / 2 + (tokens - window) * window) / tokens


def _windows(architecture: Architecture) -> list[int | None]:
    return [architecture.window(layer) for layer in range(architecture.n_layer)]


def weight_bytes(architecture: Architecture) -> dict[str, float]:
    """Return the bytes of all weights in each format of WEIGHT_BYTES."""
    return {name: size * architecture.n_params for name, size in WEIGHT_BYTES.items()}


def cache_bytes(architecture: Architecture, context: int) -> int:
    """Return the bytes of the KV cache in bfloat16 after `context` tokens.

    A layer with a window keeps the last ones alone; latent attention keeps its short vector.
    """
    if latent := architecture.latent:
        numbers = latent.kv_rank + latent.rope_dim
    else:
        numbers = 2 * architecture.n_kv_head * architecture.head_dim
    kept = sum(min(context, window or context) for window in _windows(architecture))
    return CACHE_BYTES * numbers * kept


def adam_bytes(architecture: Architecture) -> int:
    """Return the bytes that training by Adam holds: weights, gradients, m, v; no activations."""
    return ADAM_BYTES * architecture.n_params


def chinchilla_tokens(architecture: Architecture) -> int:
    """Return how many tokens the Chinchilla rule asks for; of experts, the active ones count."""
    return CHINCHILLA * active(architecture)


def training_seconds(
    architecture: Architecture, tokens: float, context: int, flops_per_second: float
) -> float:
    """Return how long it takes to learn from so many tokens at a sustained speed."""
    return tokens * training_flops(architecture, context) / flops_per_second
