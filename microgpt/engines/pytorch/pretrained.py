"""The engine of any architecture in PyTorch: the twins of the bricks behind the protocol."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgpt.arrays import Array
from microgpt.documents import Document, check_context, check_tokens
from microgpt.engines.pytorch.bricks import Cache, forward
from microgpt.llm.architecture import Architecture


class PyTorchBricksEngine:
    """Runs a model in float32, or in float64 where its parameters are."""

    def __init__(self, config: Architecture, params: Mapping[str, NDArray[np.floating]]) -> None:
        self.config = config
        self._params = {name: torch.tensor(array) for name, array in params.items()}
        self.reset()

    def reset(self) -> None:
        """Forget the tokens seen."""
        self._pos, self._cache = 0, Cache()

    @torch.inference_mode()
    def step(self, token_id: int) -> Array:
        """Read one token; return the logits (vocab_size,) of the next."""
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pos + 1)
        logits = forward(self._params, self.config, torch.tensor([int(token_id)]), self._cache)
        self._pos += 1
        return np.asarray(logits[0].double())

    @torch.inference_mode()
    def inspect(self, tokens: Document) -> dict[str, Array]:
        """Return what Engine.inspect does; `hidden` where every layer has one MLP."""
        check_tokens(self.config, tokens)
        check_context(self.config, len(tokens))
        seen: dict[str, list[Tensor]] = {}

        def note(name: str, x: Tensor) -> None:
            seen.setdefault(name, []).append(x)

        logits = forward(self._params, self.config, torch.tensor([*tokens]), watch=note)
        if self.config.experts:
            seen.pop("hidden", None)
        found = {name: np.asarray(torch.stack(xs).double()) for name, xs in seen.items()}
        probs = np.asarray(logits.double().softmax(-1))
        return found | {"logits": np.asarray(logits.double()), "probs": probs}
