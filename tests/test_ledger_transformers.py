"""The ledger beside transformers: tiny models of each family, counted by their own code."""

import os
from dataclasses import replace
from typing import Any

import pytest

from microgpt.llm import ledger
from microgpt.llm.architecture import Architecture, Experts, Latent, RoPE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers and torch deprecate parts of each other
]
T = 12  # tokens read

GPT2 = Architecture(
    vocab_size=50, n_layer=3, n_embd=24, n_head=4, n_kv_head=4, head_dim=6, n_hidden=96,
    block_size=32, activation="gelu", norm="layer", qkv_bias=True, out_bias=True, mlp_bias=True,
    tied=True,
)  # fmt: skip
LLAMA = Architecture(
    vocab_size=50, n_layer=3, n_embd=24, n_head=4, n_kv_head=2, head_dim=6, n_hidden=40,
    block_size=32, activation="silu", gated=True, norm="gained rms", rope=RoPE(1e4),
)  # fmt: skip
QWEN3 = replace(LLAMA, head_dim=10, qk_norm=True, tied=True)
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "qwen3": QWEN3,
    "mistral": replace(LLAMA, windows=(20,) * 3),
    "mixtral": replace(LLAMA, experts=Experts(4, 2, 40)),
    "qwen3_moe": replace(QWEN3, tied=False, experts=Experts(6, 2, 16)),
    "deepseek_v3": replace(
        LLAMA,
        n_kv_head=4,
        head_dim=10,
        experts=Experts(n_expert=6, n_used=2, n_hidden=16, n_shared=1, n_dense=1),
        latent=Latent(q_rank=14, kv_rank=8, rope_dim=4, value_dim=5),
    ),
    "gpt_oss": replace(
        LLAMA,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        sinks=True,
        windows=(20, None, 20),
        experts=Experts(4, 2, 40),
    ),
}


def sizes(family: str, a: Architecture) -> dict[str, Any]:
    """Return the config of transformers that has an architecture's sizes."""
    if family == "gpt2":
        return dict(
            vocab_size=a.vocab_size, n_layer=a.n_layer, n_embd=a.n_embd, n_head=a.n_head,
            n_positions=a.block_size,
        )  # fmt: skip
    found: dict[str, Any] = dict(
        vocab_size=a.vocab_size, num_hidden_layers=a.n_layer, hidden_size=a.n_embd,
        num_attention_heads=a.n_head, num_key_value_heads=a.n_kv_head,
        intermediate_size=a.n_hidden, max_position_embeddings=a.block_size,
        tie_word_embeddings=a.tied,
    )  # fmt: skip
    if not a.latent:
        found["head_dim"] = a.head_dim
    if a.windows:
        found["sliding_window"] = a.windows[0]
    if experts := a.experts:
        found |= dict(num_experts_per_tok=experts.n_used, moe_intermediate_size=experts.n_hidden)
        found["num_experts" if family == "qwen3_moe" else "num_local_experts"] = experts.n_expert
    if latent := a.latent:
        assert experts
        found |= dict(
            n_routed_experts=experts.n_expert, n_shared_experts=experts.n_shared,
            first_k_dense_replace=experts.n_dense, n_group=1, topk_group=1,
            q_lora_rank=latent.q_rank, kv_lora_rank=latent.kv_rank,
            qk_rope_head_dim=latent.rope_dim, qk_nope_head_dim=a.head_dim - latent.rope_dim,
            v_head_dim=latent.value_dim,
        )  # fmt: skip
    return found


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, Architecture, Any]:
    """Return a family, its architecture, and the model that transformers makes of it."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    architecture = MODELS[request.param]
    config = transformers.AutoConfig.for_model(request.param, **sizes(request.param, architecture))
    made = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    return request.param, architecture, made


def test_as_many_parameters(model: tuple[str, Architecture, Any]) -> None:
    _, architecture, theirs = model
    assert architecture.n_params == sum(p.numel() for p in theirs.parameters())


def test_as_many_flops(model: tuple[str, Architecture, Any]) -> None:
    """Eager attention computes what it masks, so that each token sees all T."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    _, architecture, theirs = model
    tokens = torch.arange(T)[None] % architecture.vocab_size
    with FlopCounterMode(display=False) as counter:
        logits = theirs(tokens, use_cache=False).logits
    assert counter.get_total_flops() == T * ledger.forward_flops(architecture, T)
    with FlopCounterMode(display=False) as counter:
        logits.sum().backward()
    assert counter.get_total_flops() == ledger.BACKWARD * T * ledger.forward_flops(architecture, T)


def test_as_large_a_cache(model: tuple[str, Architecture, Any]) -> None:
    import torch

    family, architecture, theirs = model
    if architecture.latent:
        pytest.skip("transformers caches whole keys and values in place of the short vector")
    tokens = torch.arange(T)[None] % architecture.vocab_size
    cached = theirs(tokens, use_cache=True).past_key_values
    numbers = sum(layer.keys.numel() + layer.values.numel() for layer in cached.layers)
    assert ledger.CACHE_BYTES * numbers == ledger.cache_bytes(architecture, T), family
