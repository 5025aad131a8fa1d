"""gpt.py's model as PyTorch tensors; read it beside `gpt` there. No line of backward: torch has it.

B documents of T tokens go through at once, each position looking at itself and those before it.
Parameters have gpt.py's names and shapes, (outputs, inputs).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from microgpt.config import GPTConfig


def rmsnorm(x: Tensor) -> Tensor:
    """Scale each vector to a mean square of 1."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-5)


class Layer(nn.Module):
    """Attention, then an MLP; each is added to the stream."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, n = config.n_head, config.n_embd
        self.attn_wq = nn.Parameter(torch.empty(n, n))
        self.attn_wk = nn.Parameter(torch.empty(n, n))
        self.attn_wv = nn.Parameter(torch.empty(n, n))
        self.attn_wo = nn.Parameter(torch.empty(n, n))
        self.mlp_fc1 = nn.Parameter(torch.empty(4 * n, n))
        self.mlp_fc2 = nn.Parameter(torch.empty(n, 4 * n))

    def heads(self, x: Tensor, w: Tensor) -> Tensor:
        """Return linear(x, w), each head by itself: (B, n_head, T, head_dim)."""
        return F.linear(x, w).view(*x.shape[:-1], self.n_head, -1).transpose(1, 2)

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = rmsnorm(x)
        return self.heads(h, self.attn_wq), self.heads(h, self.attn_wk), self.heads(h, self.attn_wv)

    def attention(self, x: Tensor, past: list[Tensor] | None = None) -> Tensor:
        """Return what attention adds to the stream (B, T, n_embd).

        Args:
            x: the stream (B, T, n_embd); T is 1 where there is a past.
            past: keys and values of the tokens before, to which this one's are appended.
        """
        q, k, v = self.queries_keys_values(x)
        if past is not None:
            past[:] = (torch.cat(pair, 2) for pair in zip(past, (k, v), strict=True))
            k, v = past
        mix = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        return F.linear(mix.transpose(1, 2).flatten(2), self.attn_wo)

    def units(self, x: Tensor) -> Tensor:
        """Return the MLP's units after their ReLU (B, T, 4 n_embd)."""
        return F.linear(rmsnorm(x), self.mlp_fc1).relu()

    def forward(self, x: Tensor, past: list[Tensor] | None = None) -> Tensor:
        x = x + self.attention(x, past)
        return x + F.linear(self.units(x), self.mlp_fc2)


class GPT(nn.Module):
    """The model: tokens (B, T) -> logits (B, T, vocab_size)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.wte = nn.Parameter(torch.empty(config.vocab_size, config.n_embd))
        self.wpe = nn.Parameter(torch.empty(config.block_size, config.n_embd))
        self.lm_head = nn.Parameter(torch.empty(config.vocab_size, config.n_embd))
        self.layers = [Layer(config) for _ in range(config.n_layer)]
        for i, layer in enumerate(self.layers):
            self.add_module(f"layer{i}", layer)

    def embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Return the stream before the first layer; `first` is the position of the first token."""
        return rmsnorm(F.embedding(tokens, self.wte) + self.wpe[first : first + tokens.shape[-1]])

    def forward(self, tokens: Tensor, pasts: list[list[Tensor]] | None = None) -> Tensor:
        first = pasts[0][0].shape[2] if pasts else 0
        x = self.embed(tokens, first)
        for i, layer in enumerate(self.layers):
            x = layer(x, pasts[i] if pasts else None)
        return F.linear(x, self.lm_head)
