"""Models in one file of the kind GGUF, weights in few bits: a Llama, read by the library gguf."""

from pathlib import Path
from typing import Any

import numpy as np

from microgpt.llm.architecture import Architecture, RoPE
from microgpt.llm.families import Params, Settings
from microgpt.llm.subwords import DIGIT, WORDS, ByteLevel

NAMES = {
    "wte": "token_embd",
    "final_norm": "output_norm",
    "lm_head": "output",
    "attn_norm": "blk.{}.attn_norm",
    "mlp_norm": "blk.{}.ffn_norm",
    "attn_wq": "blk.{}.attn_q",
    "attn_wk": "blk.{}.attn_k",
    "attn_wv": "blk.{}.attn_v",
    "attn_wo": "blk.{}.attn_output",
    "mlp_gate": "blk.{}.ffn_gate",
    "mlp_fc1": "blk.{}.ffn_up",
    "mlp_fc2": "blk.{}.ffn_down",
}
CONTROL = 3  # the type of a token that is not text
PATTERNS = {"gpt-2": [WORDS], "smollm": [DIGIT, WORDS]}  # how a text is cut into words, by name


def fields(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the library's reader of a file, and the file's fields by name."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    return reader, {name: field.contents() for name, field in reader.fields.items()}


def architecture(given: dict[str, Any], tied: bool) -> Architecture:
    """Return the architecture that the fields describe.

    Raises:
        ValueError: it is not a Llama, or one with more to it than is known here.
    """
    if given.get("general.architecture") != "llama":
        found = given.get("general.architecture")
        raise ValueError(f"its general.architecture is {found!r}; it must be 'llama'")
    s = Settings({k.removeprefix("llama."): v for k, v in given.items() if k.startswith("llama.")})
    n_embd, n_head = s.size("embedding_length"), s.size("attention.head_count")
    head_dim = s.size("rope.dimension_count", n_embd // n_head)
    for name in ("attention.key_length", "attention.value_length"):
        s.only(name, head_dim)
    found = Architecture(
        vocab_size=s.size("vocab_size", len(given["tokenizer.ggml.tokens"])),
        n_layer=s.size("block_count"),
        n_embd=n_embd,
        n_head=n_head,
        n_kv_head=s.size("attention.head_count_kv", n_head),
        head_dim=head_dim,
        n_hidden=s.size("feed_forward_length"),
        block_size=s.size("context_length"),
        activation="silu",
        gated=True,
        norm="gained rms",
        norm_eps=s.positive("attention.layer_norm_rms_epsilon"),
        tied=tied,
        rope=RoPE(s.positive("rope.freq_base", 10_000.0)),
    )
    s.finish()
    return found


def parameters(tensors: dict[str, Any], architecture: Architecture) -> Params:
    """Return all parameters by our names, their few bits made float32 again.

    Raises:
        ValueError: a tensor is missing, left over, of another shape, or holds NaN or infinity.
    """
    from gguf import dequantize

    left, params = dict(tensors), {}
    for ours, shape in architecture.shapes():
        layer, _, part = ours.rpartition(".")
        name = NAMES[part].format(layer.removeprefix("layer")) + ".weight"
        if name not in left:
            raise ValueError(f"tensor {name} is missing")
        tensor = left.pop(name)
        if tuple(tensor.shape[::-1]) != shape:
            found = tuple(int(size) for size in tensor.shape[::-1])
            raise ValueError(f"tensor {name} has the shape {found}; by the fields it is {shape}")
        array = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(shape)
        if not np.isfinite(array).all():
            raise ValueError(f"tensor {name} holds NaN or infinite numbers")
        if part in ("attn_wq", "attn_wk"):  # there a pair is (2i, 2i + 1); here (i, i + half)
            heads = array.reshape(-1, architecture.head_dim // 2, 2, architecture.n_embd)
            array = heads.swapaxes(1, 2).reshape(shape)
        params[ours] = array
    if left:
        raise ValueError(f"tensor {min(left)} is unknown here")
    return params


def tokenizer(given: dict[str, Any]) -> ByteLevel:
    """Return the tokenizer in the fields.

    Raises:
        ValueError: it is of a kind that is unknown here.
    """
    kind, cut = given.get("tokenizer.ggml.model"), given.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in PATTERNS:
        raise ValueError(
            f"its tokenizer is {kind!r} with {cut!r}; it must be 'gpt2' with {', '.join(PATTERNS)}"
        )
    tokens, types = given["tokenizer.ggml.tokens"], given["tokenizer.ggml.token_type"]
    add_bos = given.get("tokenizer.ggml.add_bos_token")
    return ByteLevel(
        vocabulary={token: i for i, token in enumerate(tokens) if types[i] != CONTROL},
        merges=[(a, b) for a, b in (m.split(" ") for m in given.get("tokenizer.ggml.merges", []))],
        patterns=PATTERNS[cut],
        special={token: i for i, token in enumerate(tokens) if types[i] == CONTROL},
        bos=[given["tokenizer.ggml.bos_token_id"]] if add_bos else [],
        unknown=given.get("tokenizer.ggml.unknown_token_id"),
    )
