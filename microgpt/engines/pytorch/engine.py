"""The PyTorch engine behind the protocol: documents in, a batch of tensors through heart.py."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from microgpt.arrays import Array, State
from microgpt.checkpoint import check_state
from microgpt.config import Adam, GPTConfig, whole
from microgpt.documents import (
    MOST_LOSS,
    Batch,
    Document,
    Weights,
    check_batch,
    check_context,
    check_tokens,
    check_training,
    diverged,
)
from microgpt.engines.base import process
from microgpt.engines.pytorch import distributed, tensors
from microgpt.engines.pytorch.heart import GPT
from microgpt.engines.pytorch.tensors import padded


class PyTorchEngine:
    """Runs and trains a model in PyTorch.

    Args:
        dtype: float32, or float64 to follow gpt.py to the last digits.
        device: cpu, cuda, cuda:1, mps; the fastest there is, if None.
        autocast: compute matrix products in bfloat16; weights and optimizer stay in dtype.
        compile: let torch.compile fuse the model; the first steps take longer.
        fsdp: where many processes train it, each holds a shard of it, not a copy.
        micro_batch: documents that go through at once; a larger batch is accumulated. All if None.

    Raises:
        ValueError: an option is not one there is, or the model does not fit the memory.
    """

    def __init__(
        self,
        config: GPTConfig,
        state: State,
        optimizer: Adam,
        dtype: str = "float32",
        device: str | None = None,
        autocast: bool = False,
        compile: bool = False,
        fsdp: bool = False,
        micro_batch: int | None = None,
    ) -> None:
        if micro_batch is not None:
            micro_batch = whole("micro_batch", micro_batch, least=1)
        self.config, self.optimizer = config, optimizer
        self._options = (dtype, device, autocast, compile, fsdp, micro_batch)
        self._device, self._dtype = tensors.device(device), tensors.dtype(dtype)
        self._autocast, self._fsdp, self._micro_batch = autocast, fsdp, micro_batch
        try:
            self._gpt = GPT(config).to(self._device, self._dtype)
        except (RuntimeError, TypeError) as error:  # out of memory; no float64 on MPS
            raise ValueError(f"the model cannot be held: {error}") from None
        self._forward: Any = torch.compile(self._gpt, dynamic=True) if compile else self._gpt
        self._is_spread = False
        self._optimize()
        self.load(state)

    def _optimize(self) -> None:
        """Give the optimizer the parameters that there are now."""
        self._parameters = dict(self._gpt.named_parameters())
        self._adam = torch.optim.AdamW(
            self._parameters.values(),
            betas=(self.optimizer.beta1, self.optimizer.beta2),
            eps=self.optimizer.eps,
            weight_decay=self.optimizer.weight_decay,
        )

    def _spread(self) -> None:
        """Train with the other processes, where there are some, from the next step on."""
        if self._is_spread or process().size == 1:
            return
        state = self.state()
        distributed.join(self._device)
        distributed.agree_on([asdict(self.config), asdict(self.optimizer), *self._options])
        self._forward = distributed.spread(self._forward, self._device, self._fsdp)
        self._is_spread = True
        self._optimize()
        self.load(state)

    def load(self, state: State) -> None:
        check_state(self.config, state)
        largest = torch.finfo(self._dtype).max
        for name, array in state.items():
            if (np.abs(array.astype(float)) > largest).any():
                raise ValueError(f"tensor {name} holds numbers past the largest of this dtype")
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(distributed.like(self._tensor(state[name]), p))
                m, v = (
                    self._tensor(state.get(f"adam.{which}.{name}", np.zeros(p.shape)))
                    for which in "mv"
                )
                self._adam.state[p] = {
                    "step": torch.tensor(float(state.get("adam.t", 0))),
                    "exp_avg": distributed.like(m, p),
                    "exp_avg_sq": distributed.like(v, p),
                }
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        return PyTorchEngine, (self.config, self.state(), self.optimizer, *self._options)

    def state(self) -> dict[str, Array]:
        with distributed.peers():
            return {name: _array(tensor) for name, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        """Return the state as this process holds it."""
        ordered = [(name, self._parameters[name]) for name, _ in self.config.shapes()]
        tensors: dict[str, Tensor] = dict(ordered)
        for which, its in (("m", "exp_avg"), ("v", "exp_avg_sq")):
            tensors |= {f"adam.{which}.{name}": self._adam.state[p][its] for name, p in ordered}
        return tensors | {"adam.t": self._adam.state[ordered[0][1]]["step"]}

    def save(self, folder: str, metadata: Mapping[str, str]) -> None:
        distributed.save(Path(folder), self._tensors(), metadata)

    def any_of(self, flags: Sequence[bool]) -> list[bool]:
        self._spread()
        return distributed.any_of(flags)

    def reset(self) -> None:
        c = self.config
        nothing = torch.empty(1, c.n_head, 0, c.head_dim, device=self._device, dtype=self._dtype)
        self._pasts = [[nothing, nothing] for _ in range(c.n_layer)]

    @torch.inference_mode()
    def step(self, token_id: int) -> Array:
        check_tokens(self.config, [token_id])
        check_context(self.config, self._pasts[0][0].shape[2] + 1)
        logits = self._gpt(torch.tensor([[int(token_id)]], device=self._device), self._pasts)
        return _array(logits[0, 0]).astype(float)

    @torch.inference_mode()
    def inspect(self, tokens: Document) -> dict[str, Array]:
        check_tokens(self.config, tokens)
        count = len(tokens)
        check_context(self.config, count)
        x = self._gpt.embed(torch.tensor([[*map(int, tokens)]], device=self._device))
        later = torch.ones(count, count, dtype=torch.bool, device=self._device).triu(1)
        attention, hidden, residual = [], [], [x]
        for layer in self._gpt.layers:
            q, k, _ = layer.queries_keys_values(x)
            scores = q @ k.transpose(-1, -2) / self.config.head_dim**0.5
            attention.append(scores.masked_fill(later, -torch.inf).softmax(-1))
            hidden.append(layer.units(x + layer.attention(x)))
            x = layer(x)
            residual.append(x)
        logits = F.linear(x, self._gpt.lm_head)[0]
        return {
            "logits": _array(logits).astype(float),
            "probs": _array(logits.softmax(-1)).astype(float),
            "attention": _array(torch.cat(attention)).astype(float),
            "residual": _array(torch.cat(residual)).astype(float),
            "hidden": _array(torch.cat(hidden)).astype(float),
        }

    def train(
        self,
        batches: Sequence[Batch],
        learning_rates: Sequence[float],
        weights: Sequence[Weights | None] | None = None,
    ) -> list[float]:
        check_training(self.config, batches, learning_rates, weights)
        given = zip(batches, learning_rates, weights or [None] * len(batches), strict=True)
        losses = []
        for batch, lr, w in given:
            with distributed.peers():
                losses.append(self._backward(batch, w))
            self._adam.param_groups[0]["lr"] = float(lr)
            self._adam.step()
        return losses

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        check_batch(self.config, batch, weights)
        with torch.no_grad(), distributed.peers():
            parts = self._losses(batch, weights or self._means(batch), len(batch))
            return _finite(sum(loss for loss, _ in parts))

    def losses(self, batch: Batch) -> list[list[float]]:
        check_batch(self.config, batch)
        with torch.no_grad(), distributed.peers():
            parts = [*self._losses(batch, self._means(batch), len(batch))]
        _finite(sum(loss for loss, _ in parts))
        counts = [min(len(tokens) - 1, self.config.block_size) for tokens in batch]
        return [row.tolist() for row in torch.split(torch.cat([read for _, read in parts]), counts)]

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        check_batch(self.config, batch, weights)
        self._backward(batch, weights)
        grads = {name: self._parameters[name].grad for name, _ in self.config.shapes()}
        return {
            name: _array(grad).astype(float) for name, grad in grads.items() if grad is not None
        }

    def _backward(self, batch: Batch, weights: Weights | None) -> float:
        """Leave the gradient of a batch's loss in the parameters' grad; return the loss."""
        self._spread()
        self._adam.zero_grad()
        share = distributed.share(batch, weights or self._means(batch))
        mean = 0.0
        for loss, _ in self._losses(*share, len(batch)):
            mean += _finite(distributed.total(loss.detach()))
            torch.autograd.backward(loss * process().size)  # they take the mean of their sums
        return mean

    def _means(self, batch: Batch) -> Weights:
        """Return the weights that make a document's loss the mean over its positions."""
        counts = [min(len(tokens) - 1, self.config.block_size) for tokens in batch]
        return [[1 / count] * count for count in counts]

    def _losses(self, batch: Batch, weights: Weights, of: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each micro-batch, its part of the loss, and -log p of all its positions (N).

        The loss is of a batch of so many documents; it is infinite where a probability is below
        what a float64 holds.
        """
        size = self._micro_batch or len(batch)
        for start in range(0, len(batch), size):
            part = slice(start, start + size)
            tokens, counts = padded(self.config, batch[part], self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
                logits = self._forward(tokens[:, :-1])
            there = torch.arange(tokens.shape[1] - 1, device=self._device) < counts[:, None]
            read = F.cross_entropy(
                logits[there].to(self._dtype), tokens[:, 1:][there], reduction="none"
            )
            share = self._tensor([float(w) for row in weights[part] for w in row])
            worst = read.detach().max()
            yield torch.where(worst <= MOST_LOSS, read @ share / of, torch.inf), read

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, device=self._device, dtype=self._dtype)


def _array(tensor: Tensor) -> Array:
    return distributed.whole(tensor.detach()).cpu().numpy().copy()


def _finite(loss: Tensor | float) -> float:
    """Return a loss as a number; raises ValueError where it is infinite or NaN."""
    if not math.isfinite(number := float(loss)):
        raise diverged()
    return number
