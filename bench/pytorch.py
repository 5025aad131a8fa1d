"""Measure the PyTorch engine beside a plain loop in nanoGPT's style: tokens a second.

    python -m bench.pytorch [--out FILE.json]

Both train the same model on the same windows in turn, a step each, in one process; the medians of
the steps count, and a step's first rounds do not. A model of ten million parameters as it is, a
small one under torch.compile. On the fastest device that there is.
"""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench import report
from microgpt import engines
from microgpt.arrays import State
from microgpt.config import Adam, GPTConfig
from microgpt.engines.base import initial_state

ROUNDS, FIRST = 12, 3  # steps that are measured, after some that are not
LR = 1e-3
CASES: dict[str, tuple[GPTConfig, int, bool]] = {  # sizes, windows a step, torch.compile
    "ten million": (GPTConfig(65, n_layer=6, n_embd=384, n_head=6, block_size=256), 12, False),
    "compiled": (GPTConfig(65, n_layer=2, n_embd=64, n_head=4, block_size=64), 12, True),
}


class Block(nn.Module):
    """Attention and MLP as nanoGPT writes them; the norm and the activation are gpt.py's."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, n = config.n_head, config.n_embd
        self.c_attn, self.c_proj = nn.Linear(n, 3 * n, bias=False), nn.Linear(n, n, bias=False)
        self.c_fc, self.mlp_proj = nn.Linear(n, 4 * n, bias=False), nn.Linear(4 * n, n, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = self.c_attn(F.rms_norm(x, (c,), eps=1e-5)).split(c, dim=2)
        q, k, v = (z.view(b, t, self.n_head, c // self.n_head).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))
        h: Tensor = x + self.mlp_proj(F.relu(self.c_fc(F.rms_norm(x, (c,), eps=1e-5))))
        return h


class Plain(nn.Module):
    """The same model with PyTorch's modules; forward returns the loss."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Begin where the engine does."""
        layers: list[tuple[Any, tuple[str, ...]]] = [
            (self.wte, ("wte",)),
            (self.wpe, ("wpe",)),
            (self.lm_head, ("lm_head",)),
        ]
        block: Any
        for i, block in enumerate(self.blocks):
            layers += [
                (block.c_attn, tuple(f"layer{i}.attn_w{which}" for which in "qkv")),
                (block.c_proj, (f"layer{i}.attn_wo",)),
                (block.c_fc, (f"layer{i}.mlp_fc1",)),
                (block.mlp_proj, (f"layer{i}.mlp_fc2",)),
            ]
        for layer, names in layers:
            layer.weight.copy_(torch.cat([torch.tensor(state[name]) for name in names]))

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        x = F.rms_norm(x, x.shape[-1:], eps=1e-5)
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(x)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def initial(config: GPTConfig) -> State:
    """Return the same first weights for both, of standard deviation 0.02 as GPT-2's."""
    state = initial_state(config, random.Random(1))
    return {name: array * (0.02 / 0.08) for name, array in state.items()}


def plain(config: GPTConfig, batch: int, compiled: bool, device: str) -> Callable[[Any], float]:
    """Return a step of the plain loop."""
    model = Plain(config)
    model.load(initial(config))
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=(0.9, 0.99), weight_decay=0.0)
    forward = torch.compile(model) if compiled else model

    def step(windows: list[list[int]]) -> float:
        data = torch.tensor(windows, device=device)
        loss = forward(data[:, :-1], data[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.item())

    return step


def ours(config: GPTConfig, batch: int, compiled: bool, device: str) -> Callable[[Any], float]:
    """Return a step of the engine."""
    engine = engines.create_trainable(
        "pytorch", config, initial(config), Adam(0.9, 0.99), device=device, compile=compiled
    )
    return lambda windows: engine.train([windows], [LR])[0]


def compare(config: GPTConfig, batch: int, compiled: bool, device: str) -> dict[str, Any]:
    """Return the tokens a second of both, step by step in turn."""
    rng = random.Random(2)
    steps = {name: make(config, batch, compiled, device) for name, make in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    losses: dict[str, float] = {}
    for _ in range(FIRST + ROUNDS):
        windows = [rng.choices(range(config.vocab_size), k=config.block_size + 1)] * batch
        for name in rng.sample([*steps], len(steps)):
            began = time.perf_counter()
            losses[name] = steps[name](windows)  # a number: the device has finished
            seconds[name].append(time.perf_counter() - began)
    taken = {name: statistics.median(each[FIRST:]) for name, each in seconds.items()}
    return {
        "n_params": config.n_params,
        "windows": batch,
        "block_size": config.block_size,
        "tokens_per_second": {
            name: round(batch * config.block_size / each) for name, each in taken.items()
        },
        "times_as_slow": round(taken["engine"] / taken["plain loop"], 3),
        "losses": losses,
    }


WAYS = {"engine": ours, "plain loop": plain}


def measure() -> dict[str, Any]:
    """Return all that is measured, as JSON."""
    cuda, threads = torch.cuda.is_available(), torch.get_num_threads()
    device = "cuda" if cuda else "cpu"
    return {
        "machine": torch.cuda.get_device_name() if cuda else f"CPU, {threads} threads",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "cases": {name: compare(*case, device) for name, case in CASES.items()},
    }


if __name__ == "__main__":
    report(measure, __file__, __doc__)
