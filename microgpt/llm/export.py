"""A model written as a folder of Hugging Face, where it is a stock GPT-2 or Llama."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from microgpt.llm.architecture import Architecture
from microgpt.llm.families import FAMILIES, Params, part, pieces
from microgpt.llm.pretrained import Pretrained
from microgpt.llm.safetensors_files import WHOLE

# What a stock model has, by the names of Architecture's fields, and what that is in words.
STOCK: dict[str, dict[str, tuple[Any, str]]] = {
    "llama": {
        "norm": ("gained rms", "RMSNorm has a learned gain"),
        "activation": ("silu", "the MLP's activation is SiLU"),
        "gated": (True, "the MLP is gated"),
        "qk_norm": (False, "queries and keys are not normed"),
    },
    "gpt2": {
        "norm": ("layer", "the norm is LayerNorm"),
        "activation": ("gelu", "the MLP's activation is GELU"),
        "gated": (False, "the MLP is not gated"),
        "qkv_bias": (True, "queries, keys and values have biases"),
        "out_bias": (True, "attention's output has a bias"),
        "mlp_bias": (True, "the MLP has biases"),
    },
}
EVERY: dict[str, tuple[Any, str]] = {
    "embedding_norm": (False, "no norm follows the embeddings"),
    "final_norm": (True, "a norm comes before lm_head"),
    "sinks": (False, "attention has no sinks"),
    "experts": (None, "there is one MLP a layer"),
    "latent": (None, "keys and values are not compressed"),
}


def family(architecture: Architecture) -> str:
    """Return the family that a model is a stock one of.

    Raises:
        ValueError: it is of none; all that differs is named.
    """
    name = "llama" if architecture.rope else "gpt2"
    stock = STOCK[name] | EVERY
    lacks = [words for key, (value, words) in stock.items() if getattr(architecture, key) != value]
    if any(architecture.windows):
        lacks.append("attention sees all positions")
    if architecture.qkv_bias != architecture.out_bias:
        lacks.append("biases are on all of attention or on none of it")
    if lacks:
        raise ValueError(
            f"the model is not a stock {name}, which libraries could load: there {'; '.join(lacks)}"
        )
    return name


def save(pretrained: Pretrained, folder: Path) -> None:
    """Write a folder that transformers loads, whole or not at all.

    Raises:
        OSError: it is there already, or cannot be written.
        ValueError: the model is not a stock GPT-2 or Llama.
    """
    a = pretrained.architecture
    name = family(a)
    if folder.exists():
        raise FileExistsError(17, "it is there already; name another folder", str(folder))
    place = folder.resolve().parent
    if not place.is_dir():
        raise FileNotFoundError(2, "its folder is missing; create it first", str(folder))
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=place))
    try:
        stops = sorted(pretrained.stops)
        config = (_llama(a) if name == "llama" else _gpt2(a)) | {
            "model_type": name,
            "vocab_size": a.vocab_size,
            "tie_word_embeddings": a.tied,
            "eos_token_id": stops[0] if len(stops) == 1 else stops or None,
        }
        _write(beside / "config.json", config)
        save_file(tensors(name, a, pretrained.params), beside / WHOLE, {"format": "pt"})
        _write(beside / "tokenizer.json", pretrained.tokenizer.settings())
        special = {name: token for name, token in pretrained.special.items() if token}
        settings = special | {"tokenizer_class": "PreTrainedTokenizerFast"}
        if pretrained.template:
            settings["chat_template"] = pretrained.template
        _write(beside / "tokenizer_config.json", settings)
        beside.chmod(0o755)
        os.replace(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def tensors(name: str, architecture: Architecture, params: Params) -> Params:
    """Return parameters by a family's names, in its shapes."""
    theirs = {}
    for tensor, ours in pieces(FAMILIES[name], architecture).items():
        whole = np.concatenate([params[piece] for piece, _ in ours])
        turned = part(ours[0][0]) in FAMILIES[name].transposed
        theirs[tensor] = np.ascontiguousarray(whole.T if turned else whole)
    return theirs


def _llama(a: Architecture) -> dict[str, Any]:
    assert a.rope
    rope: dict[str, Any] = {"rope_theta": a.rope.theta}
    if s := a.rope.stretch:
        rope["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": s.factor,
            "low_freq_factor": s.low,
            "high_freq_factor": s.high,
            "original_max_position_embeddings": s.original,
        }
    return rope | {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": a.n_embd,
        "intermediate_size": a.n_hidden,
        "num_hidden_layers": a.n_layer,
        "num_attention_heads": a.n_head,
        "num_key_value_heads": a.n_kv_head,
        "head_dim": a.head_dim,
        "max_position_embeddings": a.block_size,
        "rms_norm_eps": a.norm_eps,
        "hidden_act": "silu",
        "attention_bias": a.qkv_bias,
        "mlp_bias": a.mlp_bias,
    }


def _gpt2(a: Architecture) -> dict[str, Any]:
    return {
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": a.n_embd,
        "n_inner": a.n_hidden,
        "n_layer": a.n_layer,
        "n_head": a.n_head,
        "n_positions": a.block_size,
        "layer_norm_epsilon": a.norm_eps,
        "activation_function": "gelu_new",
    }


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
