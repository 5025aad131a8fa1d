"""A model from inside, as the page draws it: every head of every layer, and what each would say.

The same picture for a model of 4,192 numbers and for one of 134 million; see published.py.
"""

import math
from collections.abc import Sequence
from operator import mul
from typing import Any

from microgpt.documents import surprises
from microgpt.model import Model
from microgpt.sampling import Sampling, probabilities

DIGITS = 6  # after the point: an eye sees fewer, and a published model has many numbers
LIKELIEST = 30  # tokens: all letters of most alphabets
Guess = tuple[str, float]  # a token's text and its probability


def picture(
    tokens: list[str],
    losses: Sequence[float],
    seen: dict[str, Any],
    guesses: Sequence[Sequence[Sequence[Guess]]],
) -> dict[str, Any]:
    """Return what the page draws of a text.

    Args:
        tokens: the texts of its T tokens, "" for BOS, and where it is known, what comes last.
        losses: the surprise at each token but the first (nats).
        seen: what an engine's inspect returned.
        guesses: (n_layer + 1, T, some), the logit lens: the likeliest tokens to come next if the
            model ended there.

    Returns:
        these, and attention (n_layer, n_head, T, t + 1), what each position takes from those so
        far; sizes (n_layer + 1, T), the root mean square of the residual stream.
    """
    heads = [
        [[_short(row[: t + 1]) for t, row in enumerate(head)] for head in layer]
        for layer in seen["attention"].tolist()
    ]
    sizes = [_short([_size(x) for x in stream]) for stream in seen["residual"].tolist()]
    return {
        "tokens": tokens,
        "losses": _short(losses),
        "attention": heads,
        "guesses": guesses,
        "sizes": sizes,
    }


def stream(seen: dict[str, Any], pos: int) -> list[list[float]]:
    """Return (n_layer + 1, n_embd): the residual stream at one position.

    Raises:
        ValueError: there is no such position.
    """
    residual = seen["residual"].tolist()
    if type(pos) is not int or not 0 <= pos < len(residual[0]):
        raise ValueError(f"the position is {pos!r}; it must be 0 to {len(residual[0]) - 1}")
    return [_short(layer[pos]) for layer in residual]


def of_names(model: Model, ids: Sequence[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the picture of a name (its token ids), and what the engine's inspect returned."""
    bos = model.tokenizer.bos
    tokens = [bos, *ids, bos][: model.config.block_size + 1]
    seen = model.engine.inspect(tokens[:-1])
    lm_head = model.checkpoint.state["lm_head"].tolist()
    guesses = [
        [_likeliest(model, [sum(map(mul, row, x)) for row in lm_head]) for x in layer]
        for layer in seen["residual"].tolist()
    ]
    texts = [_text(model, token) for token in tokens]
    losses = surprises(seen["logits"].tolist(), tokens)
    return picture(texts, losses, seen, guesses), seen


def _likeliest(model: Model, logits: Sequence[float]) -> list[Guess]:
    probs = probabilities(logits, Sampling(1.0))
    best = sorted(range(len(probs)), key=lambda token: -probs[token])[:LIKELIEST]
    return [(_text(model, token), round(probs[token], DIGITS)) for token in best]


def _text(model: Model, token: int) -> str:
    return "" if token == model.tokenizer.bos else model.tokenizer.decode([token])


def _size(x: Sequence[float]) -> float:
    return math.sqrt(sum(map(mul, x, x)) / len(x))


def _short(numbers: Sequence[float]) -> list[float]:
    return [round(x, DIGITS) for x in numbers]
