"""Write the tiny models of tests/families, and what the library transformers makes of them.

    python scripts/tiny_models.py tests/families

Random weights, as small as a family allows; biases and gains are random, too (a fresh model has 0
and 1 there, and a reader that forgets them would pass). `logits.json` holds the tokens read and the
logits after each, in float64, with the library's casts to float32 undone.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES: dict[str, Any] = {
    "vocab_size": 20,
    "hidden_size": 8,
    "intermediate_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
STRETCH = {
    "rope_type": "llama3",
    "rope_theta": 100.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
TINY: dict[str, dict[str, Any]] = {  # folder: a config, its model_type in it
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 20,
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 32,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "llama": SIZES | {"model_type": "llama"},
    "llama3": SIZES
    | {"model_type": "llama", "rope_parameters": STRETCH, "tie_word_embeddings": True}
    | {"attention_bias": True, "mlp_bias": True},
    "qwen2": SIZES | {"model_type": "qwen2"},
    "qwen3": SIZES | {"model_type": "qwen3", "head_dim": 4, "tie_word_embeddings": True},
    "qwen3_moe": SIZES
    | {"model_type": "qwen3_moe", "head_dim": 4, "moe_intermediate_size": 4}
    | {"num_experts": 4, "num_experts_per_tok": 2},
    "mistral": SIZES | {"model_type": "mistral", "sliding_window": 5},
    "mixtral": SIZES | {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2},
    "phi3": SIZES | {"model_type": "phi3"},
}
TOKENS = [3, 1, 17, 4, 4, 9, 0, 12, 19, 2]


def model(config: dict[str, Any], seed: int) -> Any:
    """Return a random model in float64, each number one that bfloat16 can hold."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(
        AutoConfig.for_model(**config), attn_implementation="eager", experts_implementation="eager"
    )
    with torch.no_grad():
        for name, p in made.named_parameters():
            gain = 1.0 if p.dim() == 1 and "bias" not in name else 0.0
            p.copy_((gain + 0.4 * torch.randn(p.shape)).bfloat16())
    return made.double().eval()


@contextmanager
def without_casts(made: Any) -> Iterator[None]:
    """Let transformers compute in float64 where it casts to float32: norms, angles, softmax."""
    to, to_float, softmax = torch.Tensor.to, torch.Tensor.float, torch.nn.functional.softmax

    def wide(x: Any) -> Any:
        return torch.float64 if x is torch.float32 else x

    def kept(tensor: Any, *given: Any, **named: Any) -> Any:
        return to(tensor, *map(wide, given), **{key: wide(x) for key, x in named.items()})

    patches: list[tuple[Any, str, Callable[..., Any]]] = [
        (torch.Tensor, "to", kept),
        (torch.Tensor, "float", lambda tensor: to(tensor, torch.float64)),
        (torch.nn.functional, "softmax", lambda x, dim=-1, dtype=None: softmax(x, dim=dim)),
    ]
    for module, name, function in patches:
        setattr(module, name, function)
    try:
        yield
    finally:
        torch.Tensor.to, torch.Tensor.float = to, to_float  # type: ignore[method-assign]
        torch.nn.functional.softmax = softmax


def logits(made: Any, tokens: list[int], freqs: list[float] | None = None) -> list[list[float]]:
    """Return the logits after each token, in float64 throughout.

    Args:
        made: a model of transformers, in float64.
        tokens: what it reads.
        freqs: RoPE's, which the model holds in float32.
    """
    if freqs:
        made.model.rotary_emb.inv_freq = torch.tensor(freqs, dtype=torch.float64)
    with torch.no_grad(), without_casts(made):
        return made(torch.tensor([tokens])).logits[0].tolist()  # type: ignore[no-any-return]


def main(folder: Path) -> None:
    """Write each model's folder."""
    from microgpt.llm.bricks import frequencies
    from microgpt.llm.families import load

    for seed, (name, config) in enumerate(TINY.items()):
        made, place = model(config, seed), folder / name
        made.bfloat16().save_pretrained(place, max_shard_size="1KB" if name == "llama" else "1MB")
        (place / "generation_config.json").unlink()
        architecture, _ = load(place)
        freqs = frequencies(architecture.rope, architecture.head_dim) if architecture.rope else None
        golden = {"tokens": TOKENS, "logits": logits(model(config, seed), TOKENS, freqs)}
        (place / "logits.json").write_text(json.dumps(golden) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
