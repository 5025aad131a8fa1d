"""Models by name: their sizes, and what their authors publish of how they were trained.

Sizes are those of each model's public configuration, training facts those of its paper or model
card, named in `source`. What its authors do not say is None. GPT-3's weights were never published:
its sizes are those of its paper, in GPT-2's architecture.
"""

from dataclasses import dataclass, replace

from microgpt.config import GPTConfig
from microgpt.llm.architecture import Architecture, Experts, Latent, RoPE, Stretch


@dataclass(frozen=True)
class Published:
    """What is published of a model; None: its authors do not say."""

    title: str
    year: int | None  # None: made here
    architecture: Architecture
    source: str
    data: str
    post_training: str
    tokens: float | None = None  # that pretraining read; a token read twice counts twice
    context: int | None = None  # positions of a training document; None: block_size
    tokenizer: str = "byte-level BPE"
    optimizer: str | None = None
    arithmetic: str = "tensors"
    processor: str | None = None  # what it was trained on
    processor_hours: float | None = None  # of pretraining, summed over all processors
    processors: int | None = None  # how many at once
    also: tuple[str, ...] = ()  # mechanisms that the architecture has no field for


def _gpt2(n_embd: int, n_layer: int, n_head: int, block_size: int = 1024) -> Architecture:
    return Architecture(
        vocab_size=50_257,
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_kv_head=n_head,
        head_dim=n_embd // n_head,
        n_hidden=4 * n_embd,
        block_size=block_size,
        activation="gelu",
        norm="layer",
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=True,
    )


def _llama(
    n_embd: int, n_hidden: int, n_layer: int, n_head: int, n_kv_head: int, vocab_size: int,
    block_size: int, rope: RoPE, head_dim: int = 128,
) -> Architecture:  # fmt: skip
    return Architecture(
        vocab_size=vocab_size,
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_kv_head=n_kv_head,
        head_dim=head_dim,
        n_hidden=n_hidden,
        block_size=block_size,
        activation="silu",
        gated=True,
        norm="gained rms",
        rope=rope,
    )


def _llama3(n_embd: int, n_hidden: int, n_layer: int, n_head: int) -> Architecture:
    rope = RoPE(500_000, Stretch(factor=8, low=1, high=4, original=8192))
    return _llama(n_embd, n_hidden, n_layer, n_head, 8, 128_256, 131_072, rope)


def _qwen3(n_embd: int, n_hidden: int, n_layer: int, n_head: int, tied: bool) -> Architecture:
    plain = _llama(n_embd, n_hidden, n_layer, n_head, 8, 151_936, 32_768, RoPE(1e6))
    return replace(plain, norm_eps=1e-6, qk_norm=True, tied=tied)


def _qwen3_moe(n_embd: int, n_expert_hidden: int, n_layer: int, n_head: int) -> Architecture:
    plain = _qwen3(n_embd, 4 * n_expert_hidden, n_layer, n_head, tied=False)
    return replace(plain, n_kv_head=4, experts=Experts(128, 8, n_expert_hidden))


def _gpt_oss(n_layer: int, n_expert: int) -> Architecture:
    plain = _llama(2880, 2880, n_layer, 64, 8, 201_088, 131_072, RoPE(150_000), head_dim=64)
    return replace(
        plain,
        windows=tuple(None if layer % 2 else 128 for layer in range(n_layer)),
        sinks=True,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        experts=Experts(n_expert, 4, 2880),
    )


_MISTRAL = _llama(4096, 14_336, 32, 32, 8, 32_000, 8192, RoPE(1e4))
_MIXTRAL = replace(_MISTRAL, block_size=32_768, rope=RoPE(1e6), experts=Experts(8, 2, 14_336))
_DEEPSEEK = replace(
    _llama(7168, 18_432, 61, 128, 128, 129_280, 131_072, RoPE(1e4), head_dim=192),
    norm_eps=1e-6,
    experts=Experts(n_expert=256, n_used=8, n_hidden=2048, n_shared=1, n_dense=3),
    latent=Latent(q_rank=1536, kv_rank=512, rope_dim=64, value_dim=128),
)

_MICROGPT = Published(
    "MicroGPT",
    None,
    Architecture.of(GPTConfig()),
    "microgpt/gpt.py",
    data="32,033 names",
    post_training="none",
    tokens=7170,  # of the first 1,000 names that seed 42 draws
    tokenizer="characters",
    optimizer="Adam",
    arithmetic="Python scalars",
    processor="CPU core",
    processor_hours=1 / 60,
    processors=1,
)
_CARTRIDGE = replace(
    _MICROGPT,
    source="microgpt/cartridge.py",
    tokens=None,
    processor=None,
    processor_hours=None,
    processors=None,
)
_GPT2 = Published(
    "GPT-2 124M",
    2019,
    _gpt2(768, 12, 12),
    "Radford et al. 2019; the sizes from the published configurations",
    data="WebText: 40 GB of web pages",
    post_training="none",
)
_LLAMA3 = Published(
    "Llama 3.1 8B",
    2024,
    _llama3(4096, 14_336, 32, 32),
    "Llama Team 2024 (arXiv 2407.21783) and its model card",
    data="public web pages, code, many languages",
    tokens=15e12,
    context=8192,
    optimizer="AdamW",
    processor="H100",
    processor_hours=1.46e6,
    post_training="SFT + rejection sampling + DPO",
)
_QWEN3 = Published(
    "Qwen3 0.6B",
    2025,
    _qwen3(1024, 3072, 28, 16, tied=True),
    "Qwen Team 2025 (arXiv 2505.09388)",
    data="web pages, PDFs, synthetic text; 119 languages",
    tokens=36e12,
    context=4096,
    post_training="distilled from larger Qwen3 models",
)
_GPT_OSS = Published(
    "gpt-oss 120B",
    2025,
    _gpt_oss(36, 128),
    "OpenAI 2025 (arXiv 2508.10925)",
    data="text: science, code, general knowledge",
    context=4096,
    processor="H100",
    processor_hours=2.1e6,
    post_training="SFT + RL on chains of thought",
    also=("yarn", "clamp"),
)
_REASONING = "SFT + RL for reasoning, then general RL"

PRESETS = {
    "microgpt": _MICROGPT,
    "snes-classic": replace(
        _CARTRIDGE,
        title="SNES classic",
        architecture=Architecture.of(GPTConfig(block_size=8)),
        arithmetic="16-bit integers",
        also=("q8.8", "xorshift"),
    ),
    "snes-turbo": replace(
        _CARTRIDGE, title="SNES turbo", arithmetic="8-bit integers", also=("5 bits", "xorshift")
    ),
    "gpt2": _GPT2,
    "gpt2-medium": replace(_GPT2, title="GPT-2 355M", architecture=_gpt2(1024, 24, 16)),
    "gpt2-large": replace(_GPT2, title="GPT-2 774M", architecture=_gpt2(1280, 36, 20)),
    "gpt2-xl": replace(_GPT2, title="GPT-2 1.5B", architecture=_gpt2(1600, 48, 25)),
    "gpt3": Published(
        "GPT-3 175B",
        2020,
        _gpt2(12_288, 96, 96, block_size=2048),
        "Brown et al. 2020 (arXiv 2005.14165)",
        data="web pages, books, Wikipedia",
        tokens=300e9,
        optimizer="Adam with weight decay",
        processor="V100",
        post_training="none",
        also=("banded",),
    ),
    "llama-2-7b": Published(
        "Llama 2 7B",
        2023,
        _llama(4096, 11_008, 32, 32, 32, 32_000, 4096, RoPE(1e4)),
        "Touvron et al. 2023 (arXiv 2307.09288)",
        data="public web pages",
        tokens=2e12,
        optimizer="AdamW",
        tokenizer="BPE, bytes for the rest",
        processor="A100",
        processor_hours=184_320,
        post_training="SFT + RLHF (Llama 2-Chat)",
    ),
    "llama-3.1-8b": _LLAMA3,
    "llama-3.1-70b": replace(
        _LLAMA3,
        title="Llama 3.1 70B",
        architecture=_llama3(8192, 28_672, 80, 64),
        processor_hours=7.0e6,
    ),
    "llama-3.1-405b": replace(
        _LLAMA3,
        title="Llama 3.1 405B",
        architecture=_llama3(16_384, 53_248, 126, 128),
        tokens=15.6e12,
        processor_hours=30.84e6,
        processors=16_384,
    ),
    "qwen3-0.6b": _QWEN3,
    "qwen3-1.7b": replace(
        _QWEN3, title="Qwen3 1.7B", architecture=_qwen3(2048, 6144, 28, 16, tied=True)
    ),
    "qwen3-4b": replace(
        _QWEN3, title="Qwen3 4B", architecture=_qwen3(2560, 9728, 36, 32, tied=True)
    ),
    "qwen3-8b": replace(
        _QWEN3, title="Qwen3 8B", architecture=_qwen3(4096, 12_288, 36, 32, tied=False)
    ),
    "qwen3-14b": replace(
        _QWEN3, title="Qwen3 14B", architecture=_qwen3(5120, 17_408, 40, 40, tied=False)
    ),
    "qwen3-32b": replace(
        _QWEN3,
        title="Qwen3 32B",
        architecture=_qwen3(5120, 25_600, 64, 64, tied=False),
        post_training=_REASONING,
    ),
    "qwen3-30b-a3b": replace(
        _QWEN3, title="Qwen3 30B-A3B", architecture=_qwen3_moe(2048, 768, 48, 32)
    ),
    "qwen3-235b-a22b": replace(
        _QWEN3,
        title="Qwen3 235B-A22B",
        architecture=_qwen3_moe(4096, 1536, 94, 64),
        post_training=_REASONING,
    ),
    "mistral-7b": Published(
        "Mistral 7B",
        2023,
        replace(_MISTRAL, windows=(4096,) * 32),
        "Jiang et al. 2023 (arXiv 2310.06825)",
        data="not published",
        tokenizer="BPE, bytes for the rest",
        post_training="SFT (the Instruct model)",
    ),
    "mixtral-8x7b": Published(
        "Mixtral 8x7B",
        2024,
        _MIXTRAL,
        "Jiang et al. 2024 (arXiv 2401.04088)",
        data="web pages in many languages",
        tokenizer="BPE, bytes for the rest",
        post_training="SFT + DPO (the Instruct model)",
    ),
    "deepseek-v3": Published(
        "DeepSeek-V3",
        2024,
        _DEEPSEEK,
        "DeepSeek-AI 2024 (arXiv 2412.19437); without its module that predicts a second token",
        data="text: mathematics, code, many languages",
        tokens=14.8e12,
        context=4096,
        optimizer="AdamW",
        processor="H800",
        processor_hours=2.664e6,
        processors=2048,
        post_training="SFT + RL (GRPO)",
        also=("yarn", "sigmoid"),
    ),
    "gpt-oss-20b": replace(
        _GPT_OSS, title="gpt-oss 20B", architecture=_gpt_oss(24, 32), processor_hours=None
    ),
    "gpt-oss-120b": _GPT_OSS,
}
