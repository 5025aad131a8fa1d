"""Folders of Hugging Face: which family's model a config.json describes, in our words and names.

A folder is read only if all of it is understood: a key, an activation or a tensor that is unknown
could be a brick that is missing here, and the model would be a little wrong without a word.
"""

import math
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from microgpt.config import number, whole
from microgpt.llm.architecture import Architecture, Experts, RoPE, Shape, Stretch
from microgpt.llm.safetensors_files import Tensor, load_json, tensors

Params = dict[str, NDArray[np.floating]]
Found = TypeVar("Found")

# Keys that change nothing of what a trained model computes.
HARMLESS = re.compile(
    "architectures|dtype|torch_dtype|transformers_version|_name_or_path|model_type|auto_map|use_cache"
    "|initializer_range|.*_dropout|.*_pdrop|(bos|eos|pad|unk|decoder_start)_token_id|summary_.*"
    "|task_specific_params|problem_type|id2label|label2id|output_.*|return_dict|router_.*|pretraining_tp"
    "|reorder_and_upcast_attn|gradient_checkpointing|_attn_implementation.*|attn_implementation"
    "|n_ctx|is_llama_config|transformers[.]js_config"
)


class Settings:
    """A config.json as it is read: each key is taken once, and what is left over is refused."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._left = {key: value for key, value in config.items() if not HARMLESS.fullmatch(key)}

    def take(self, key: str, *default: Any) -> Any:
        """Return what a key holds, or where it is missing or null, the default."""
        value = self._left.pop(key, None)
        if value is None:
            if not default:
                raise ValueError(f"config.json lacks {key}")
            return default[0]
        return value

    def size(self, key: str, *default: int) -> int:
        """Return a whole number, 1 or more."""
        return whole(key, self.take(key, *default), least=1)

    def positive(self, key: str, *default: float) -> float:
        """Return a number above 0, and finite."""
        value = number(key, self.take(key, *default))
        if not 0 < value < math.inf:
            raise ValueError(f"{key} is {value}; it must be more than 0, and finite")
        return value

    def only(self, key: str, *allowed: Any) -> None:
        """Refuse a key unless it holds what is allowed, or is missing or null."""
        value = self.take(key, None)
        if value is not None and value not in allowed:
            known = ", ".join(map(str, allowed))
            raise ValueError(f"config.json has {key} {value!r}; it must be {known}")

    def finish(self) -> None:
        """Refuse what is left over."""
        for key, value in self._left.items():
            raise ValueError(f"config.json has the key {key} ({value!r}), which is unknown here")


@dataclass(frozen=True)
class Family:
    """How a family writes its models down."""

    architecture: Callable[[Settings, Collection[str]], Architecture]
    names: Mapping[str, str]  # of each of our parameters, theirs; {} is the layer's number
    buffers: str = r".*rotary_emb\.inv_freq"  # tensors that hold nothing learned
    transposed: frozenset[str] = field(default_factory=frozenset)  # ours that are (inputs, outputs)


def load(folder: Path) -> tuple[Architecture, Params]:
    """Read a folder's config.json and safetensors.

    Raises:
        OSError: a file cannot be read.
        ValueError: the family is unknown, or any key or tensor is not as it should be.
    """
    return _understood(folder, read)


def describe(folder: Path) -> Architecture:
    """Return the architecture alone, without the weights; raises as load does."""
    return _understood(folder, lambda family, architecture, there: None)[0]


def _understood(
    folder: Path, look: Callable[["Family", Architecture, Mapping[str, Tensor]], Found]
) -> tuple[Architecture, Found]:
    """Return a folder's architecture, and what a function finds in its tensors."""
    config = load_json(folder / "config.json")
    try:
        family = FAMILIES.get(str(config.get("model_type")))
        if not family:
            raise ValueError(
                f"its model_type is {config.get('model_type')!r}; it must be {', '.join(FAMILIES)}"
            )
        there = tensors(folder)
        if config["model_type"] == "gpt2":  # published files lack the prefix
            bare = re.compile(r"^(?!transformer\.|lm_head\.)")
            there = {bare.sub("transformer.", name): tensor for name, tensor in there.items()}
        settings = Settings(config)
        architecture = family.architecture(settings, there.keys())
        settings.finish()
        return architecture, look(family, architecture, there)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} is not a model that microgpt can read: {error}") from None


def check_memory(architecture: Architecture) -> None:
    """Raise ValueError where a float32 for each parameter takes more memory than there is."""
    needed = 4 * architecture.n_params
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        return
    if needed > there:
        raise ValueError(
            f"its {architecture.n_params:,} parameters take {needed / 1e9:.1f} GB as float32; "
            f"this machine has {there / 1e9:.1f} GB"
        )


def read(family: Family, architecture: Architecture, there: Mapping[str, Tensor]) -> Params:
    """Return all parameters by our names, in our shapes.

    Raises:
        ValueError: a tensor is missing, left over, of another shape, or holds NaN or infinity;
            all of them do not fit the memory.
    """
    held = pieces(family, architecture)
    for theirs, parts in held.items():
        if theirs not in there:
            raise ValueError(f"tensor {theirs} is missing")
        rows = sum(shape[0] for _, shape in parts)
        shape = (rows, *parts[0][1][1:])
        turned = part(parts[0][0]) in family.transposed
        expected = shape[::-1] if turned else shape
        if there[theirs].shape != expected:
            raise ValueError(
                f"tensor {theirs} has the shape {there[theirs].shape}; "
                f"by config.json it is {expected}"
            )
    for theirs in sorted(there.keys() - held.keys()):
        tied = architecture.tied and theirs == "lm_head.weight"
        if tied and not np.array_equal(
            there[theirs].read(), there[family.names["wte"] + ".weight"].read()
        ):
            raise ValueError(
                "lm_head.weight differs from the embeddings; by config.json it is tied"
            )
        if not tied and not re.fullmatch(family.buffers, theirs):
            raise ValueError(f"tensor {theirs} is unknown here")
    check_memory(architecture)
    found: dict[str, list[NDArray[np.floating]]] = {}
    for theirs, parts in held.items():
        array = there[theirs].read()
        if not np.isfinite(array).all():
            raise ValueError(f"tensor {theirs} holds NaN or infinite numbers")
        array = array.T if part(parts[0][0]) in family.transposed else array
        start = 0
        for ours, shape in parts:
            found.setdefault(ours, []).append(array[start : start + shape[0]])
            start += shape[0]
    return {
        name: np.stack(found[name]) if len(shape) > 2 else found[name][0]
        for name, shape in architecture.shapes()
    }


def pieces(family: Family, architecture: Architecture) -> dict[str, list[tuple[str, Shape]]]:
    """Return, for each tensor of theirs, which of ours it holds and in which shape, row by row."""
    held: dict[str, list[tuple[str, Shape]]] = {}
    for ours, shape in architecture.shapes():
        layer = re.match(r"layer(\d+)", ours)
        name = family.names[part(ours)] + (".bias" if ours.endswith(".bias") else ".weight")
        stack, shape = (shape[0], shape[1:]) if "experts_" in ours else (1, shape)
        for expert in range(stack):
            theirs = name.replace("{}", layer[1], 1) if layer else name
            held.setdefault(theirs.replace("{}", str(expert)), []).append((ours, shape))
    return held


def part(name: str) -> str:
    """Return a parameter's name without its layer's number and ".bias"."""
    return re.sub(r"^layer\d+\.|\.bias$", "", name)


def _gpt2(s: Settings, names: Collection[str]) -> Architecture:
    s.only("scale_attn_weights", True)
    s.only("scale_attn_by_inverse_layer_idx", False)
    s.only("add_cross_attention", False)
    s.only("activation_function", "gelu_new", "gelu_pytorch_tanh")
    n_embd, n_head = s.size("n_embd"), s.size("n_head")
    return Architecture(
        vocab_size=s.size("vocab_size"),
        n_layer=_layers(s.size("n_layer"), names),
        n_embd=n_embd,
        n_head=n_head,
        n_kv_head=n_head,
        head_dim=_head_dim(n_embd, n_head),
        n_hidden=s.size("n_inner", 4 * n_embd),
        block_size=s.size("n_positions"),
        activation="gelu",
        norm="layer",
        norm_eps=s.positive("layer_norm_epsilon"),
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied=s.take("tie_word_embeddings", True) is True,
    )


def _llama(s: Settings, names: Collection[str]) -> Architecture:
    """Return the architecture of Llama, and of all who changed a little of it."""
    s.only("hidden_act", "silu")
    s.only("rope_interleaved", False)
    s.only("use_mrope", False)
    n_embd, n_head = s.size("hidden_size"), s.size("num_attention_heads")
    n_layer = _layers(s.size("num_hidden_layers"), names)
    for key in ("attention_bias", "mlp_bias"):
        s.take(key, False)  # whether there are biases is seen by the tensors
    biased = {part for part in ("q_proj", "o_proj", "up_proj") if _any(names, f"{part}.bias")}
    return Architecture(
        vocab_size=s.size("vocab_size"),
        n_layer=n_layer,
        n_embd=n_embd,
        n_head=n_head,
        n_kv_head=s.size("num_key_value_heads", n_head),
        head_dim=s.size("head_dim", _head_dim(n_embd, n_head)),
        n_hidden=s.size("intermediate_size"),
        block_size=s.size("max_position_embeddings"),
        activation="silu",
        gated=True,
        norm="gained rms",
        norm_eps=s.positive("rms_norm_eps"),
        qk_norm=_any(names, "q_norm.weight"),
        qkv_bias="q_proj" in biased,
        out_bias="o_proj" in biased,
        mlp_bias="up_proj" in biased,
        tied=s.take("tie_word_embeddings", False) is True,
        rope=_rope(s),
        windows=_windows(s, n_layer),
    )


def _mixtral(s: Settings, names: Collection[str]) -> Architecture:
    count, used = s.size("num_local_experts"), s.size("num_experts_per_tok")
    plain = _llama(s, names)
    return replace(plain, experts=Experts(count, used, n_hidden=plain.n_hidden))


def _qwen3_moe(s: Settings, names: Collection[str]) -> Architecture:
    s.only("decoder_sparse_step", 1)
    s.only("mlp_only_layers", [])
    experts = Experts(
        n_expert=s.size("num_experts", s.take("num_local_experts", None)),
        n_used=s.size("num_experts_per_tok"),
        n_hidden=s.size("moe_intermediate_size"),
        renormalize=s.take("norm_topk_prob", False) is True,
    )
    return replace(_llama(s, names), experts=experts)


def _phi3(s: Settings, names: Collection[str]) -> Architecture:
    s.only("partial_rotary_factor", 1.0)
    s.take("original_max_position_embeddings", None)  # LongRoPE's, which is refused
    return _llama(s, names)


def _rope(s: Settings) -> RoPE:
    """Return how positions turn, by the keys of transformers 5, else by those before."""
    given: dict[str, Any] = s.take("rope_parameters", {})
    theta, scaling = s.take("rope_theta", 10_000.0), s.take("rope_scaling", {})
    rope = Settings(given or {"rope_theta": theta} | scaling)
    kind = rope.take("rope_type", rope.take("type", "default"))
    rope.take("type", None)
    rope.only("partial_rotary_factor", 1.0)
    theta = rope.positive("rope_theta", theta)
    if kind not in ("default", "llama3"):
        raise ValueError(f"its RoPE is of the type {kind!r}; it must be default or llama3")
    stretch = None
    if kind == "llama3":
        stretch = Stretch(
            factor=rope.positive("factor"),
            low=rope.positive("low_freq_factor"),
            high=rope.positive("high_freq_factor"),
            original=rope.size("original_max_position_embeddings"),
        )
        if stretch.low >= stretch.high:
            raise ValueError("high_freq_factor must be more than low_freq_factor")
    rope.finish()
    return RoPE(theta, stretch)


def _windows(s: Settings, n_layer: int) -> tuple[int | None, ...]:
    """Return how far back each layer sees."""
    window, kinds = s.take("sliding_window", None), s.take("layer_types", None)
    used, full = s.take("use_sliding_window", True), s.take("max_window_layers", 0)
    if kinds is not None:
        for kind in kinds:
            if kind not in ("full_attention", "sliding_attention"):
                raise ValueError(f"config.json has the layer type {kind!r}, which is unknown here")
        return tuple(window if kind == "sliding_attention" else None for kind in kinds)
    if window is None or not used:
        return ()
    return tuple(window if layer >= full else None for layer in range(n_layer))


def _layers(n_layer: int, names: Collection[str]) -> int:
    """Return n_layer, if there can be so many."""
    if n_layer > len(names):
        raise ValueError(f"config.json has {n_layer} layers, and there are {len(names)} tensors")
    return n_layer


def _head_dim(n_embd: int, n_head: int) -> int:
    return max(1, n_embd // n_head)


def _any(names: Collection[str], end: str) -> bool:
    return any(name.endswith(f".{end}") for name in names)


_ATTENTION = {f"attn_w{which}": f"model.layers.{{}}.self_attn.{which}_proj" for which in "qkvo"}
_LLAMA = {
    "wte": "model.embed_tokens",
    "final_norm": "model.norm",
    "lm_head": "lm_head",
    "attn_norm": "model.layers.{}.input_layernorm",
    "mlp_norm": "model.layers.{}.post_attention_layernorm",
    **_ATTENTION,
    "mlp_gate": "model.layers.{}.mlp.gate_proj",
    "mlp_fc1": "model.layers.{}.mlp.up_proj",
    "mlp_fc2": "model.layers.{}.mlp.down_proj",
    "q_norm": "model.layers.{}.self_attn.q_norm",
    "k_norm": "model.layers.{}.self_attn.k_norm",
    "router": "model.layers.{}.mlp.gate",
    "experts_gate": "model.layers.{}.mlp.experts.{}.gate_proj",
    "experts_fc1": "model.layers.{}.mlp.experts.{}.up_proj",
    "experts_fc2": "model.layers.{}.mlp.experts.{}.down_proj",
}
_MIXTRAL = _LLAMA | {
    "router": "model.layers.{}.block_sparse_moe.gate",
    "experts_gate": "model.layers.{}.block_sparse_moe.experts.{}.w1",
    "experts_fc1": "model.layers.{}.block_sparse_moe.experts.{}.w3",
    "experts_fc2": "model.layers.{}.block_sparse_moe.experts.{}.w2",
}
_PHI3 = _LLAMA | {  # several of ours lie in one of theirs, one below the other
    **{f"attn_w{which}": "model.layers.{}.self_attn.qkv_proj" for which in "qkv"},
    "mlp_gate": "model.layers.{}.mlp.gate_up_proj",
    "mlp_fc1": "model.layers.{}.mlp.gate_up_proj",
}
_GPT2 = {
    "wte": "transformer.wte",
    "wpe": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "lm_head": "lm_head",
    "attn_norm": "transformer.h.{}.ln_1",
    "mlp_norm": "transformer.h.{}.ln_2",
    **{f"attn_w{which}": "transformer.h.{}.attn.c_attn" for which in "qkv"},
    "attn_wo": "transformer.h.{}.attn.c_proj",
    "mlp_fc1": "transformer.h.{}.mlp.c_fc",
    "mlp_fc2": "transformer.h.{}.mlp.c_proj",
}
FAMILIES = {
    "gpt2": Family(
        _gpt2,
        _GPT2,
        buffers=r"transformer\.h\.\d+\.attn\.(bias|masked_bias)",
        transposed=frozenset({"attn_wq", "attn_wk", "attn_wv", "attn_wo", "mlp_fc1", "mlp_fc2"}),
    ),
    "llama": Family(_llama, _LLAMA),
    "qwen2": Family(_llama, _LLAMA),
    "qwen3": Family(_llama, _LLAMA),
    "qwen3_moe": Family(_qwen3_moe, _LLAMA),
    "mistral": Family(_llama, _LLAMA),
    "mixtral": Family(_mixtral, _MIXTRAL),
    "phi3": Family(_phi3, _PHI3),
}
