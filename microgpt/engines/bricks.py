"""The engine of any architecture, in Python numbers: the bricks over floats, token by token."""

from collections.abc import Mapping
from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt import gpt
from microgpt.arrays import Array
from microgpt.documents import Document, check_context, check_tokens
from microgpt.llm import floats
from microgpt.llm.architecture import Architecture


class BricksEngine:
    """Runs a model in plain numbers: no tensors, no arrays of numpy in the forward pass."""

    def __init__(self, config: Architecture, params: Mapping[str, NDArray[np.floating]]) -> None:
        self.config = config
        self._params = floats.rows(params)
        self._forward = floats.read().forward
        self.reset()

    def reset(self) -> None:
        """Forget the tokens seen."""
        self._pos, (self._keys, self._values) = 0, gpt.cache(self.config)

    def step(self, token_id: int) -> Array:
        """Read one token; return the logits (vocab_size,) of the next."""
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        logits = self._forward(
            self._params, self.config, token_id, self._pos, self._keys, self._values
        )
        self._pos += 1
        return np.array(logits)

    def inspect(self, tokens: Document) -> dict[str, Array]:
        """Return what Engine.inspect does; `hidden` where every layer has one MLP."""
        check_tokens(self.config, tokens)
        check_context(self.config, len(tokens))
        seen: dict[str, list[Any]] = {"attention": [], "residual": [], "hidden": []}
        forward = _watching(seen, self.config, self._params)
        keys, values = gpt.cache(self.config)
        logits = np.array(
            [
                forward(self._params, self.config, token, pos, keys, values)
                for pos, token in enumerate(tokens)
            ]
        )
        exps = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return {
            "logits": logits,
            "probs": exps / exps.sum(axis=-1, keepdims=True),
            "attention": self._attention(seen["attention"], len(tokens)),
            "residual": np.array(seen["residual"])
            .reshape(len(tokens), -1, self.config.n_embd)
            .swapaxes(0, 1),
        } | self._hidden(seen["hidden"], len(tokens))

    def _attention(self, rows: list[list[float]], count: int) -> Array:
        """Return (n_layer, n_head, T, T) of rows noted token by token, a window's the last ones."""
        attention = np.zeros((count, self.config.n_layer, self.config.n_head, count))
        for i, weights in enumerate(rows):
            pos, head = divmod(i, self.config.n_layer * self.config.n_head)
            place = divmod(head, self.config.n_head)
            attention[pos][place][pos + 1 - len(weights) : pos + 1] = weights
        return attention.transpose(1, 2, 0, 3)

    def _hidden(self, rows: list[list[float]], count: int) -> dict[str, Array]:
        if self.config.experts:
            return {}
        return {"hidden": np.array(rows).reshape(count, self.config.n_layer, -1).swapaxes(0, 1)}


def _watching(seen: dict[str, list[Any]], config: Architecture, params: Any) -> Any:
    """Return forward, the same code, calling functions that also note what passes through them."""
    plain = floats.read()

    def noting(logits: list[float]) -> list[float]:
        seen["attention"].append(plain.softmax(logits))
        return seen["attention"][-1]  # type: ignore[no-any-return]

    def norm(x: list[float], params: Any, name: str, config: Architecture) -> Any:
        if name.endswith(("attn_norm", "final_norm")):
            seen["residual"].append(list(x))
        return plain.norm(x, params, name, config)

    def affine(x: list[float], params: Any, name: str) -> Any:
        if name.endswith("mlp_fc2"):
            seen["hidden"].append(list(x))
        return plain.affine(x, params, name)

    def linear(x: list[float], w: Any) -> Any:
        if not config.final_norm and w is params["wte" if config.tied else "lm_head"]:
            seen["residual"].append(list(x))
        return plain.linear(x, w)

    words = vars(plain) | {"softmax": noting}  # for the heart's attention alone
    attention = FunctionType(gpt.attention.__code__, words)
    return floats.read(attention=attention, norm=norm, affine=affine, linear=linear).forward
