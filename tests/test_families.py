"""Folders of Hugging Face: each family's tiny model, and what is refused.

tests/families holds random models and the logits that transformers 5.24.0 computes of them, as
scripts/tiny_models.py wrote them. Where that library is installed (`make test-all`), it makes and
judges other ones.
"""

import json
import re
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from microgpt import gpt
from microgpt.llm import bricks, families, floats
from microgpt.llm.architecture import Architecture
from tests.architectures import nested

FOLDERS = Path(__file__).parent / "families"
NAMES = sorted(folder.name for folder in FOLDERS.iterdir())


def golden(name: str) -> tuple[list[int], Any]:
    """Return the tokens that transformers read, and its logits."""
    kept = json.loads((FOLDERS / name / "logits.json").read_text("utf-8"))
    return kept["tokens"], np.array(kept["logits"])


def by_floats(architecture: Architecture, params: families.Params, tokens: list[int]) -> Any:
    """Return the logits of the bricks over floats."""
    forward, rows = floats.read().forward, floats.rows(params)
    keys, values = gpt.cache(architecture)
    return np.array(
        [forward(rows, architecture, t, pos, keys, values) for pos, t in enumerate(tokens)]
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_has_the_logits_of_transformers(name: str) -> None:
    architecture, params = families.load(FOLDERS / name)
    tokens, expected = golden(name)
    assert np.abs(by_floats(architecture, params, tokens) - expected).max() < 1e-12
    assert {key: array.shape for key, array in params.items()} == dict(architecture.shapes())


@pytest.mark.parametrize("name", ["gpt2", "mixtral"])
def test_values_give_the_logits_of_floats(name: str) -> None:
    """The bricks are the same code with a graph behind the numbers and without one."""
    architecture, params = families.load(FOLDERS / name)
    tokens, expected = golden(name)
    values = {key: nested(gpt.Value, array.tolist()) for key, array in params.items()}
    keys, cache = gpt.cache(architecture)
    for pos, token in enumerate(tokens):
        logits = bricks.forward(values, architecture, token, pos, keys, cache)
        assert [z.data for z in logits] == pytest.approx(expected[pos], rel=0, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_has_the_logits_of_transformers_in_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    from microgpt.engines.pytorch import bricks as twins

    architecture, params = families.load(FOLDERS / name)
    tokens, expected = golden(name)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        tensors = {key: torch.tensor(array, dtype=dtype) for key, array in params.items()}
        logits = twins.forward(tensors, architecture, torch.tensor(tokens)).numpy()
        assert np.abs(logits - expected).max() < tolerance * np.abs(expected).max()


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a family's folder, to be spoiled."""
    return lambda name: shutil.copytree(FOLDERS / name, tmp_path / name)


def configure(folder: Path, **changed: Any) -> None:
    """Change keys of a config.json; None takes one away."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) | changed
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), "utf-8")


def test_a_config_of_transformers_4_says_the_same(copy: Callable[[str], Path]) -> None:
    for name in ("llama3", "mistral"):
        folder = copy(name)
        rope = json.loads((folder / "config.json").read_text("utf-8"))["rope_parameters"]
        theta, kind = rope.pop("rope_theta"), rope["rope_type"]
        scaling = None if kind == "default" else rope
        configure(folder, rope_parameters=None, rope_theta=theta, rope_scaling=scaling, dtype=None)
        configure(folder, torch_dtype="bfloat16", layer_types=None)
        assert families.load(folder)[0] == families.load(FOLDERS / name)[0]


def test_a_key_that_is_missing_means_what_transformers_means(copy: Callable[[str], Path]) -> None:
    folder = copy("qwen3_moe")
    configure(folder, norm_topk_prob=None)
    experts = families.describe(folder).experts
    assert experts
    assert not experts.renormalize
    configure(folder, norm_topk_prob=True)
    experts = families.describe(folder).experts
    assert experts
    assert experts.renormalize


def test_layer_types_say_which_layers_have_a_window(copy: Callable[[str], Path]) -> None:
    folder = copy("qwen2")
    kinds = ["sliding_attention", "full_attention"]
    configure(folder, layer_types=kinds, sliding_window=4, use_sliding_window=True)
    assert families.describe(folder).windows == (4, None)
    configure(folder, layer_types=None, max_window_layers=1)
    assert families.describe(folder).windows == (None, 4)
    configure(folder, layer_types=None, use_sliding_window=False)
    assert families.describe(folder).windows == ()


def test_a_published_gpt2_lacks_the_prefix_and_carries_masks(copy: Callable[[str], Path]) -> None:
    folder = copy("gpt2")
    tensors = load(folder)
    bare = {name.removeprefix("transformer."): array for name, array in tensors.items()}
    bare |= {"h.0.attn.bias": np.ones((1, 1, 4, 4), np.float32)}
    save_file(bare, folder / "model.safetensors")
    found, expected = families.load(folder)[1], families.load(FOLDERS / "gpt2")[1]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def load(folder: Path) -> dict[str, Any]:
    """Return a folder's tensors by their own names."""
    from microgpt.llm.safetensors_files import tensors

    return {name: tensor.read() for name, tensor in tensors(folder).items()}


def respell(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return a function that changes the tensors of a folder of one file."""

    def spoil(folder: Path) -> None:
        tensors = load(folder)
        change(tensors)
        arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        save_file(arrays, folder / "model.safetensors")

    return spoil


def shard(folder: Path, **changed: Any) -> None:
    """Change the index of a sharded folder."""
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text("utf-8"))
    index["weight_map"] |= changed
    path.write_text(json.dumps(index), "utf-8")


def pickled(folder: Path) -> None:
    """Leave a pickle in place of the safetensors."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut(folder: Path) -> None:
    """Cut the file short: its header says more than there is."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def nan(tensors: dict[str, Any]) -> None:
    tensors["model.norm.weight"][0] = np.nan


NORM = "model.norm.weight"
SPOILED: list[tuple[str, Callable[[Path], Any], str]] = [
    ("qwen2", lambda f: configure(f, model_type="gemma2"), "its model_type is 'gemma2'; it must"),
    ("qwen2", lambda f: configure(f, model_type=None), "its model_type is None"),
    ("qwen2", lambda f: configure(f, soft_cap=30.0), "has the key soft_cap (30.0), which is unk"),
    ("qwen2", lambda f: configure(f, hidden_act="gelu"), "has hidden_act 'gelu'; it must be silu"),
    ("gpt2", lambda f: configure(f, activation_function="gelu"), "has activation_function 'gelu'"),
    ("gpt2", lambda f: configure(f, scale_attn_by_inverse_layer_idx=True), "it must be False"),
    (
        "qwen2",
        lambda f: configure(f, rope_parameters={"rope_type": "yarn", "factor": 4.0}),
        "its RoPE is of the type 'yarn'",
    ),
    ("qwen2", lambda f: configure(f, rope_parameters=7), "not a model that microgpt can read"),
    ("qwen2", lambda f: configure(f, rms_norm_eps=float("nan")), "rms_norm_eps is nan"),
    ("qwen2", lambda f: configure(f, hidden_size=-8), "hidden_size is -8"),
    ("qwen2", lambda f: configure(f, vocab_size=None), "config.json lacks vocab_size"),
    (
        "qwen2",
        lambda f: configure(f, vocab_size=21),
        "embed_tokens.weight has the shape (20, 8); by",
    ),
    ("qwen2", lambda f: configure(f, num_hidden_layers=3, layer_types=None), "layers.2.in"),
    ("qwen2", lambda f: configure(f, num_hidden_layers=10**12), "there are 27 tensors"),
    ("qwen2", lambda f: configure(f, num_hidden_layers=1, layer_types=None), "layers.1.in"),
    ("mixtral", lambda f: configure(f, num_local_experts=2), "gate.weight has the shape (3, 8)"),
    ("phi3", lambda f: configure(f, partial_rotary_factor=0.5), "partial_rotary_factor 0.5"),
    ("qwen2", respell(lambda t: t.pop(NORM)), f"tensor {NORM} is missing"),
    ("qwen2", respell(lambda t: t.update(extra=t[NORM])), "tensor extra is unknown here"),
    ("qwen2", respell(nan), f"tensor {NORM} holds NaN"),
    ("qwen2", respell(lambda t: t.update({NORM: np.ones(8, np.int8)})), f"{NORM} holds I8"),
    (
        "qwen3",
        respell(lambda t: t.update({"lm_head.weight": np.ones((20, 8))})),
        "lm_head.weight differs from the embeddings",
    ),
    ("qwen2", pickled, "pytorch_model.bin is a pickle, which can run any code"),
    ("qwen2", cut, "is not a safetensors file"),
    ("qwen2", lambda f: (f / "model.safetensors").unlink(), "holds no model.safetensors"),
    ("qwen2", lambda f: (f / "config.json").write_text("[]"), "holds no JSON object"),
    ("qwen2", lambda f: (f / "config.json").write_text("{"), "config.json is not JSON"),
    ("llama", lambda f: next(f.glob("*2-of-*")).unlink(), "the shard model-00002-of-00003"),
    ("llama", lambda f: shard(f, lost="model-00001-of-00003.safetensors"), "tensor lost is not in"),
    ("llama", lambda f: shard(f, lost="../elsewhere"), "names the file '../elsewhere'"),
]


@pytest.mark.parametrize(("name", "spoil", "said"), SPOILED, ids=[s[2][:40] for s in SPOILED])
def test_what_is_not_understood_is_refused_in_one_line(
    name: str, spoil: Callable[[Path], Any], said: str, copy: Callable[[str], Path]
) -> None:
    folder = copy(name)
    spoil(folder)
    with pytest.raises(ValueError, match=re.escape(said)) as refused:
        families.load(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_config_is_missing_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        families.load(tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", NAMES)
def test_transformers_agrees_on_models_it_makes_here(name: str, seed: int, tmp_path: Path) -> None:
    """1e-12 with its casts to float32 undone, 1e-5 as it is."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    scripts = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "tiny_models.py"))
    made = scripts["model"](scripts["TINY"][name], seed)
    made.save_pretrained(tmp_path)
    architecture, params = families.load(tmp_path)
    tokens = scripts["TOKENS"] * 2
    ours = by_floats(architecture, params, tokens)
    freqs = None
    if architecture.rope:
        freqs = bricks.frequencies(architecture.rope, architecture.head_dim)
    expected = np.array(scripts["logits"](made, tokens, freqs))
    assert np.abs(ours - expected).max() < 1e-12
    for dtype in (torch.float64, torch.float32):
        plain = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path, dtype=dtype, experts_implementation="eager"
        )
        with torch.no_grad():
            theirs = plain(torch.tensor([tokens])).logits[0].double().numpy()
        assert np.abs(ours - theirs).max() < 1e-5 * max(1.0, np.abs(ours).max())
