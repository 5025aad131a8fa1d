"""The twins of llm/bricks.py: each function of that name there, over tensors of all T positions.

Read the two side by side. A vector there is the last axis here, the loop over tokens the one before
it, the loop over heads one more.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from microgpt.llm.architecture import Architecture
from microgpt.llm.bricks import frequencies

Params = Mapping[str, Tensor]  # by the names and in the shapes of Architecture.shapes
Watch = Callable[[str, Tensor], None]
Cache = dict[int, tuple[Tensor, Tensor]]  # of a layer: keys, values (..., n_kv_head, T, head_dim)


def ignore(name: str, x: Tensor) -> None:
    """Look at nothing."""


def gained_rmsnorm(x: Tensor, gain: Tensor | None, eps: float) -> Tensor:
    """Scale vectors to a mean square of 1, then each number by its gain."""
    return F.rms_norm(x, x.shape[-1:], gain, eps)


def norm(x: Tensor, params: Params, name: str, config: Architecture) -> Tensor:
    """Return vectors under the norm of that name; the heart's has no parameters."""
    if config.norm == "layer":
        gain, bias = params[name], params[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], gain, bias, config.norm_eps)
    return gained_rmsnorm(x, params.get(name), config.norm_eps)


def affine(x: Tensor, params: Params, name: str) -> Tensor:
    """Return x times the matrix of that name, and its bias added where there is one."""
    return F.linear(x, params[name], params.get(f"{name}.bias"))


def gelu(z: Tensor) -> Tensor:
    """Return GPT-2's activation."""
    return F.gelu(z, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "silu": F.silu, "gelu": gelu}


def hidden(x: Tensor, params: Params, name: str, config: Architecture) -> Tensor:
    """Return the MLP's units, activated."""
    activation, h = ACTIVATIONS[config.activation], affine(x, params, f"{name}_fc1")
    if config.gated:
        return activation(affine(x, params, f"{name}_gate")) * h
    return activation(h)


def experts(x: Tensor, params: Params, layer: str, config: Architecture) -> Tensor:
    """Mix what the likeliest experts say of each x, each by its probability."""
    assert config.experts is not None
    probs = F.linear(x, params[f"{layer}router"]).softmax(-1)
    shares, best = probs.topk(config.experts.n_used)
    if config.experts.renormalize:
        shares = shares / shares.sum(-1, keepdim=True)
    mix, names = torch.zeros_like(x), ("gate", "fc1", "fc2") if config.gated else ("fc1", "fc2")
    every = torch.compiler.is_exporting()  # no graph that is written down depends on the numbers
    for e in range(config.experts.n_expert) if every else best.unique().tolist():
        one = {f"_{m}": params[f"{layer}experts_{m}"][e] for m in names}
        share = (shares * (best == e)).sum(-1, keepdim=True)
        if every:
            mix = mix + share * affine(hidden(x, one, "", config), one, "_fc2")
            continue
        visits = (best == e).any(-1)  # each expert reads the tokens that visit it, together
        mix[visits] += share[visits] * affine(hidden(x[visits], one, "", config), one, "_fc2")
    return mix


def turns(count: int, seen: int, config: Architecture, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin (count, half) of the angles at the last `count` positions, in float64."""
    assert config.rope is not None
    freqs = torch.tensor(frequencies(config.rope, config.head_dim), dtype=torch.float64)
    angles = torch.arange(seen)[seen - count :, None] * freqs
    return angles.cos().to(like), angles.sin().to(like)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + half]) of every head by its position's angle."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def heads(x: Tensor, head_dim: int) -> Tensor:
    """Return (..., heads, T, head_dim) of vectors (..., T, heads * head_dim)."""
    return x.unflatten(-1, (-1, head_dim)).transpose(-2, -3)


def visible(count: int, seen: int, window: int | None, device: torch.device) -> Tensor:
    """Return (count, seen) of bool: which positions each of the last `count` attends to."""
    position = torch.arange(seen, device=device)
    behind = position[seen - count :, None] - position
    return (behind >= 0) & (behind < (window or seen))


def attention_weights(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """Return (..., n_head, T, S): how much each position takes from each that it sees."""
    k = k.repeat_interleave(q.shape[-3] // k.shape[-3], dim=-3)
    return (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf).softmax(-1)


def forward(
    params: Params,
    config: Architecture,
    tokens: Tensor,
    cache: Cache | None = None,
    watch: Watch = ignore,
) -> Tensor:
    """Return the logits (..., T, vocab_size) after each of the tokens (..., T).

    Args:
        params: by the names of config.shapes.
        config: which bricks there are.
        tokens: those that follow the ones in the cache.
        cache: keys and values of the tokens so far, by layer; empty at first, it grows.
        watch: called with the name and the value of what there is to look at.
    """
    cache, eps = {} if cache is None else cache, config.norm_eps
    seen = tokens.shape[-1] + (cache[0][0].shape[-2] if cache else 0)
    x = params["wte"][tokens]
    if config.rope:
        cos, sin = turns(tokens.shape[-1], seen, config, x)
    else:
        x = x + params["wpe"][seen - tokens.shape[-1] : seen]
    if config.embedding_norm:
        x = norm(x, params, "embedding_norm", config)
    for i in range(config.n_layer):
        layer = f"layer{i}."
        watch("residual", x)
        h = norm(x, params, f"{layer}attn_norm", config)
        q, k, v = (heads(affine(h, params, f"{layer}attn_w{w}"), config.head_dim) for w in "qkv")
        if config.qk_norm:
            q = gained_rmsnorm(q, params[f"{layer}q_norm"], eps)
            k = gained_rmsnorm(k, params[f"{layer}k_norm"], eps)
        if config.rope:
            q, k = turn(q, cos, sin), turn(k, cos, sin)
        if i in cache:
            k, v = torch.cat((cache[i][0], k), dim=-2), torch.cat((cache[i][1], v), dim=-2)
        cache[i] = k, v
        mask = visible(tokens.shape[-1], seen, config.window(i), x.device)
        if watch is not ignore:
            watch("attention", attention_weights(q, k, mask))
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        h = h.transpose(-2, -3).flatten(-2)
        x = x + affine(h, params, f"{layer}attn_wo")
        h = norm(x, params, f"{layer}mlp_norm", config)
        if f"{layer}router" in params:
            h = experts(h, params, layer, config)
        else:
            h = hidden(h, params, f"{layer}mlp", config)
            watch("hidden", h)
            h = affine(h, params, f"{layer}mlp_fc2")
        x = x + h
    watch("residual", x)
    if config.final_norm:
        x = norm(x, params, "final_norm", config)
    return F.linear(x, params["wte" if config.tied else "lm_head"])
