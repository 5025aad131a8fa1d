"""The PyTorch engine behind the protocol: documents in, a batch of tensors through heart.py."""

from collections.abc import Iterator, Sequence
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
from microgpt.engines.pytorch.heart import GPT

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class PyTorchEngine:
    """Runs and trains a model in PyTorch.

    Args:
        dtype: float32, or float64 to follow gpt.py to the last digits.
        device: cpu, cuda, cuda:1, mps; the fastest there is, if None.
        autocast: compute matrix products in bfloat16; weights and optimizer stay in dtype.
        compile: let torch.compile fuse the model; the first steps take longer.
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
        micro_batch: int | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
        if micro_batch is not None:
            micro_batch = whole("micro_batch", micro_batch, least=1)
        self.config, self.optimizer = config, optimizer
        self._options = (dtype, device, autocast, compile, micro_batch)
        self._device, self._dtype = _device(device), DTYPES[dtype]
        self._autocast, self._micro_batch = autocast, micro_batch
        try:
            self._gpt = GPT(config).to(self._device, self._dtype)
        except RuntimeError as error:  # also out of memory
            raise ValueError(f"the model cannot be held: {error}") from None
        self._forward = torch.compile(self._gpt, dynamic=True) if compile else self._gpt
        self._parameters = dict(self._gpt.named_parameters())
        self._adam = torch.optim.AdamW(
            self._parameters.values(),
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
        )
        self.load(state)

    def load(self, state: State) -> None:
        check_state(self.config, state)
        largest = torch.finfo(self._dtype).max
        for name, array in state.items():
            if (np.abs(array.astype(float)) > largest).any():
                raise ValueError(f"tensor {name} holds numbers past the largest of this dtype")
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(self._tensor(state[name]))
                m, v = (state.get(f"adam.{which}.{name}", np.zeros(p.shape)) for which in "mv")
                self._adam.state[p] = {
                    "step": torch.tensor(float(state.get("adam.t", 0))),
                    "exp_avg": self._tensor(m),
                    "exp_avg_sq": self._tensor(v),
                }
        self.reset()

    def __reduce__(self) -> tuple[Any, ...]:
        return PyTorchEngine, (self.config, self.state(), self.optimizer, *self._options)

    def state(self) -> dict[str, Array]:
        ordered = [(name, self._parameters[name]) for name, _ in self.config.shapes()]
        state = {name: _array(p) for name, p in ordered}
        for which, its in (("m", "exp_avg"), ("v", "exp_avg_sq")):
            state |= {
                f"adam.{which}.{name}": _array(self._adam.state[p][its]) for name, p in ordered
            }
        step = self._adam.state[self._gpt.wte]["step"]
        return state | {"adam.t": np.array(float(step))}

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
            losses.append(self._backward(batch, w))
            self._adam.param_groups[0]["lr"] = float(lr)
            self._adam.step()
        return losses

    def loss(self, batch: Batch, weights: Weights | None = None) -> float:
        check_batch(self.config, batch, weights)
        with torch.inference_mode():
            return sum(loss.item() for loss, _ in self._losses(batch, weights))

    def losses(self, batch: Batch) -> list[list[float]]:
        check_batch(self.config, batch)
        with torch.inference_mode():
            flat = torch.cat([read for _, read in self._losses(batch, None)])
        counts = [min(len(tokens) - 1, self.config.block_size) for tokens in batch]
        return [row.tolist() for row in torch.split(flat, counts)]

    def gradients(self, batch: Batch, weights: Weights | None = None) -> dict[str, Array]:
        check_batch(self.config, batch, weights)
        self._backward(batch, weights)
        grads = {name: self._parameters[name].grad for name, _ in self.config.shapes()}
        return {
            name: _array(grad).astype(float) for name, grad in grads.items() if grad is not None
        }

    def _backward(self, batch: Batch, weights: Weights | None) -> float:
        """Leave the gradient of a batch's loss in the parameters' grad; return the loss."""
        self._adam.zero_grad()
        mean = 0.0
        for loss, _ in self._losses(batch, weights):
            torch.autograd.backward(loss)
            mean += loss.item()
        return mean

    def _losses(self, batch: Batch, weights: Weights | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, for each micro-batch, its part of the loss, and -log p of all its positions (N).

        Raises:
            ValueError: the loss is not finite, or a probability below what a float64 holds.
        """
        size = self._micro_batch or len(batch)
        for start in range(0, len(batch), size):
            part = slice(start, start + size)
            tokens, counts = self._padded(batch[part])
            if weights is None:
                rows = [[1 / n] * n for n in counts.tolist()]
            else:
                rows = [[*map(float, row)] for row in weights[part]]
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
                logits = self._forward(tokens[:, :-1])
            there = torch.arange(tokens.shape[1] - 1, device=self._device) < counts[:, None]
            read = F.cross_entropy(
                logits[there].to(self._dtype), tokens[:, 1:][there], reduction="none"
            )
            loss = read @ self._tensor([w for row in rows for w in row]) / len(batch)
            if not (loss.isfinite() and (read <= MOST_LOSS).all()):
                raise diverged()
            yield loss, read

    def _padded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the tokens of documents (B, T + 1), and how many positions each has (B)."""
        cut = [[*map(int, tokens[: self.config.block_size + 1])] for tokens in batch]
        longest = max(map(len, cut))
        tokens = [row + [0] * (longest - len(row)) for row in cut]
        counts = [len(row) - 1 for row in cut]
        return torch.tensor(tokens, device=self._device), torch.tensor(counts, device=self._device)

    def _tensor(self, numbers: Any) -> Tensor:
        return torch.tensor(numbers, device=self._device, dtype=self._dtype)


def _device(name: str | None) -> torch.device:
    """Return the device of that name, or the fastest there is."""
    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"device is {name!r}, which is not here ({line}); try cpu") from None
    return device


def _array(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().copy()
