"""The sizes and switches that describe any decoder-only transformer, the heart among them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, Self

from microgpt.config import GPTConfig, number, whole

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stretch:
    """Llama 3.1's stretch of RoPE: slow turns are slowed by a factor, fast ones are kept."""

    factor: float  # how much slower the slowest pairs turn
    low: float  # pairs with fewer turns than this in the original context are slowed
    high: float  # those with more are kept; between the two lies a ramp
    original: int  # the context of pretraining, in positions


@dataclass(frozen=True)
class RoPE:
    """Rotary positions (Su et al. 2021): pairs of q and k are turned by an angle."""

    theta: float  # pair i turns by theta ** (-2i / head_dim) a position
    stretch: Stretch | None = None


@dataclass(frozen=True)
class Experts:
    """A mixture of experts: a router sends each token to a few of many MLPs."""

    n_expert: int  # MLPs in a layer to choose among
    n_used: int  # how many of them a token passes through
    n_hidden: int  # width inside one of them
    n_shared: int = 0  # more of that width that every token passes through, as one MLP
    n_dense: int = 0  # layers at the bottom that keep one plain MLP
    renormalize: bool = True  # the chosen experts' shares are scaled to the sum 1

    def __post_init__(self) -> None:
        for name in ("n_expert", "n_used", "n_hidden"):
            whole(name, getattr(self, name), least=1)
        for name in ("n_shared", "n_dense"):
            whole(name, getattr(self, name), least=0)
        if self.n_used > self.n_expert:
            raise ValueError(f"n_used is {self.n_used}; there are {self.n_expert} experts")


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2): keys and values come from one short vector."""

    q_rank: int  # width that queries pass through
    kv_rank: int  # width of the vector that is cached in place of keys and values
    rope_dim: int  # dimensions of a head that RoPE turns; their key is shared by all heads
    value_dim: int  # width of a head's value; head_dim is that of its query and key

    def __post_init__(self) -> None:
        for field in fields(self):
            whole(field.name, getattr(self, field.name), least=1)


@dataclass(frozen=True)
class Architecture:
    """A decoder-only transformer. The defaults are the heart's mechanism.

    Raises:
        ValueError: a size is not a positive integer, or two of them disagree.
    """

    vocab_size: int
    n_layer: int
    n_embd: int  # width of the residual stream
    n_head: int  # attention heads: of queries
    n_kv_head: int  # heads of keys and values, each shared by n_head / n_kv_head query heads
    head_dim: int  # width of one head of queries and keys
    n_hidden: int  # width inside the MLP
    block_size: int  # positions: the longest context
    activation: Literal["relu", "gelu", "silu"] = "relu"  # gelu: GPT-2's, by tanh
    gated: bool = False  # the MLP is down(activation(gate x) * up x); with silu: SwiGLU
    norm: Literal["rms", "gained rms", "layer"] = "rms"  # rms: the heart's, without a gain
    norm_eps: float = 1e-5
    embedding_norm: bool = False  # a norm after the embeddings
    final_norm: bool = True  # a norm before lm_head
    qk_norm: bool = False  # a gained RMSNorm on each head of q and k, before RoPE
    qkv_bias: bool = False
    out_bias: bool = False  # of attention's output
    mlp_bias: bool = False  # of the MLP, or of router and experts
    tied: bool = False  # lm_head is wte
    rope: RoPE | None = None  # None: learned positions, wpe
    windows: tuple[int | None, ...] = ()  # each layer's: how many positions back attention sees,
    # itself included; None: all of them; (): that in every layer
    sinks: bool = False  # a learned logit a head that takes attention away from all positions
    experts: Experts | None = None
    latent: Latent | None = None

    def __post_init__(self) -> None:
        for name in SIZES:
            whole(name, getattr(self, name), least=1)
        if not 0 < number("norm_eps", self.norm_eps) < math.inf:
            raise ValueError(f"norm_eps is {self.norm_eps!r}; it must be a small positive number")
        if self.n_head % self.n_kv_head:
            raise ValueError(
                f"{self.n_head} query heads cannot share {self.n_kv_head} heads of keys; "
                "make n_head a multiple of n_kv_head"
            )
        if self.rope and self.head_dim % 2:
            raise ValueError(f"head_dim is {self.head_dim}; RoPE turns pairs, so make it even")
        if self.windows and len(self.windows) != self.n_layer:
            raise ValueError(f"{len(self.windows)} windows are given for {self.n_layer} layers")
        for window in self.windows:
            if window is not None:
                whole("a window", window, least=1)

    @classmethod
    def of(cls, config: GPTConfig) -> Self:
        """Return the heart's architecture at the sizes of a config."""
        return cls(
            vocab_size=config.vocab_size,
            n_layer=config.n_layer,
            n_embd=config.n_embd,
            n_head=config.n_head,
            n_kv_head=config.n_head,
            head_dim=config.head_dim,
            n_hidden=4 * config.n_embd,
            block_size=config.block_size,
            embedding_norm=True,
            final_norm=False,
        )

    @property
    def n_params(self) -> int:
        """How many numbers the model learns; a tied lm_head is counted once."""
        return sum(math.prod(shape) for _, shape in self.shapes())

    def window(self, layer: int) -> int | None:
        """Return how many positions back a layer's attention sees, or None: all of them."""
        return self.windows[layer] if self.windows else None

    def shapes(self) -> Iterator[tuple[str, Shape]]:
        """Yield each parameter's name and shape: (outputs, inputs), a gain's (n,).

        The names and the order are the heart's. A bias is its matrix's name and ".bias". The
        matrices of all experts of a layer are one array, (experts, outputs, inputs).
        """
        yield "wte", (self.vocab_size, self.n_embd)
        if not self.rope:
            yield "wpe", (self.block_size, self.n_embd)
        if not self.tied:
            yield "lm_head", (self.vocab_size, self.n_embd)
        if self.embedding_norm:
            yield from self._norm("embedding_norm")
        for layer in range(self.n_layer):
            for name, shape in self._layer(layer):
                yield f"layer{layer}.{name}", shape
        if self.final_norm:
            yield from self._norm("final_norm")

    def _layer(self, layer: int) -> Iterator[tuple[str, Shape]]:
        yield from self._norm("attn_norm")
        yield from self._latent(self.latent) if self.latent else self._attention()
        yield from self._norm("mlp_norm")
        experts = self.experts if self.experts and layer >= self.experts.n_dense else None
        if not experts:
            yield from self._mlp("mlp", self.n_hidden)
            return
        yield from self._matrix("router", (experts.n_expert, self.n_embd), self.mlp_bias)
        yield from self._mlp("experts", experts.n_hidden, experts.n_expert)
        if experts.n_shared:
            yield from self._mlp("shared", experts.n_shared * experts.n_hidden)

    def _norm(self, name: str) -> Iterator[tuple[str, Shape]]:
        if self.norm != "rms":
            yield from self._matrix(name, (self.n_embd,), self.norm == "layer")

    def _attention(self) -> Iterator[tuple[str, Shape]]:
        n, all_heads, kv = self.n_embd, self.n_head * self.head_dim, self.n_kv_head * self.head_dim
        for name, width in (("attn_wq", all_heads), ("attn_wk", kv), ("attn_wv", kv)):
            yield from self._matrix(name, (width, n), self.qkv_bias)
        if self.qk_norm:
            yield "q_norm", (self.head_dim,)
            yield "k_norm", (self.head_dim,)
        if self.sinks:
            yield "sinks", (self.n_head,)
        yield from self._matrix("attn_wo", (n, all_heads), self.out_bias)

    def _latent(self, latent: Latent) -> Iterator[tuple[str, Shape]]:
        n, unturned = self.n_embd, self.head_dim - latent.rope_dim
        yield "attn_wq_down", (latent.q_rank, n)
        yield "q_norm", (latent.q_rank,)
        yield "attn_wq_up", (self.n_head * self.head_dim, latent.q_rank)
        yield "attn_wkv_down", (latent.kv_rank + latent.rope_dim, n)
        yield "kv_norm", (latent.kv_rank,)
        yield "attn_wkv_up", (self.n_head * (unturned + latent.value_dim), latent.kv_rank)
        yield "attn_wo", (n, self.n_head * latent.value_dim)

    def _mlp(self, name: str, hidden: int, many: int | None = None) -> Iterator[tuple[str, Shape]]:
        stack, n = (many,) if many else (), self.n_embd
        if self.gated:
            yield from self._matrix(f"{name}_gate", (*stack, hidden, n), self.mlp_bias)
        yield from self._matrix(f"{name}_fc1", (*stack, hidden, n), self.mlp_bias)
        yield from self._matrix(f"{name}_fc2", (*stack, n, hidden), self.mlp_bias)

    def _matrix(self, name: str, shape: Shape, bias: bool) -> Iterator[tuple[str, Shape]]:
        yield name, shape
        if bias:  # one number an output; that of a norm is as long as its gain
            yield f"{name}.bias", shape[:-1] if len(shape) > 1 else shape


SIZES = [field.name for field in fields(Architecture) if field.type in (int, "int")]
