"""The engine of any architecture in PyTorch: the twins of the bricks behind the protocol."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from microgpt.arrays import Array
from microgpt.config import Adam
from microgpt.documents import (
    Batch,
    Document,
    check_batch,
    check_context,
    check_tokens,
    check_training,
    diverged,
)
from microgpt.engines.pytorch import tensors
from microgpt.engines.pytorch.bricks import Cache, forward
from microgpt.llm.architecture import Architecture

AT_ONCE = 256  # tokens that go through together: their logits are a matrix of so many rows


class PyTorchBricksEngine:
    """Runs and trains a model of any architecture.

    Args:
        dtype: float32, float64 or bfloat16; that of the parameters, if None.
        device: cpu, cuda, cuda:1, mps; the fastest there is, if None.

    Raises:
        ValueError: an option is not one there is, or the model does not fit the memory.
    """

    def __init__(
        self,
        config: Architecture,
        params: Mapping[str, NDArray[np.floating]],
        dtype: str | None = None,
        device: str | None = None,
    ) -> None:
        self.config = config
        self._device = tensors.device(device)
        kind = None if dtype is None else tensors.dtype(dtype, tensors.READ)
        try:
            self._params = {
                name: torch.tensor(array, dtype=kind, device=self._device)
                for name, array in params.items()
            }
        except (RuntimeError, TypeError) as error:  # out of memory; no float64 on MPS
            raise ValueError(f"the model cannot be held: {error}") from None
        self._adam: torch.optim.Optimizer | None = None  # until there is something to learn
        self.reset()

    def reset(self) -> None:
        """Forget the tokens seen."""
        self._pos, self._cache = 0, Cache()

    def step(self, token_id: int) -> Array:
        """Read one token; return the logits (vocab_size,) of the next."""
        return self.read([token_id])

    @torch.inference_mode()
    def read(self, tokens: Document) -> Array:
        """Read tokens, many at once; return the logits (vocab_size,) after the last."""
        check_tokens(self.config, tokens)
        check_context(self.config, self._pos + len(tokens))
        for part in self._tensor(tokens).split(AT_ONCE):
            logits = forward(self._params, self.config, part, self._cache)
        self._pos += len(tokens)
        return _array(logits[-1])

    @torch.inference_mode()
    def inspect(self, tokens: Document) -> dict[str, Array]:
        """Return what Engine.inspect does; `hidden` where every layer has one MLP."""
        check_tokens(self.config, tokens)
        check_context(self.config, len(tokens))
        seen: dict[str, list[Tensor]] = {}

        def note(name: str, x: Tensor) -> None:
            seen.setdefault(name, []).append(x)

        logits = forward(self._params, self.config, self._tensor(tokens), watch=note).cpu().double()
        if self.config.experts:
            seen.pop("hidden", None)
        found = {name: _array(torch.stack(xs)) for name, xs in seen.items()}
        return found | {"logits": _array(logits), "probs": _array(logits.softmax(-1))}

    def train(self, batches: Sequence[Batch], learning_rates: Sequence[float]) -> list[float]:
        """Take one Adam step a batch; return each batch's loss before its step (nats/token)."""
        check_training(self.config, batches, learning_rates, None)
        adam = self._learning()
        losses = []
        for batch, lr in zip(batches, learning_rates, strict=True):
            adam.zero_grad()
            loss = self._loss(batch)
            losses.append(loss.item())
            if not np.isfinite(losses[-1]):
                raise diverged()
            torch.autograd.backward(loss)
            adam.param_groups[0]["lr"] = float(lr)
            adam.step()
        self.reset()  # what it saw before, it saw as another model
        return losses

    @torch.inference_mode()
    def loss(self, batch: Batch) -> float:
        """Return the loss of a batch (nats/token)."""
        check_batch(self.config, batch)
        return self._loss(batch).item()

    def state(self) -> dict[str, Array]:
        """Return copies of the parameters."""
        return {name: _array(p) for name, p in self._params.items()}

    def _learning(self) -> torch.optim.Optimizer:
        """Return gpt.py's optimizer; from its first step on, the parameters have gradients."""
        if self._adam is None:
            params, adam = [p.requires_grad_() for p in self._params.values()], Adam()
            self._adam = torch.optim.Adam(params, betas=(adam.beta1, adam.beta2), eps=adam.eps)
        return self._adam

    def _loss(self, batch: Batch) -> Tensor:
        """Return the mean over documents of the mean over their positions of -log p."""
        tokens, counts = tensors.padded(self.config, batch, self._device)
        logits = forward(self._params, self.config, tokens[:, :-1])
        read = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
        there = torch.arange(read.shape[1], device=self._device) < counts[:, None]
        return ((read * there).sum(-1) / counts).mean()

    def _tensor(self, tokens: Document) -> Tensor:
        return torch.tensor([*map(int, tokens)], device=self._device)


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy().copy()
