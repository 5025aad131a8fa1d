"""The ledger: sizes of published models, to the last parameter, and what they cost."""

import random
from dataclasses import replace
from typing import Any

import pytest

from microgpt import dataset, gpt
from microgpt.config import GPTConfig
from microgpt.llm import comparison, ledger
from microgpt.llm.architecture import Architecture, Experts, RoPE
from microgpt.llm.presets import PRESETS

# Summed over the parameters of each model as transformers 5.24 builds it, on its meta device.
PARAMETERS = {
    "microgpt": 4192,
    "snes-classic": 4064,
    "snes-turbo": 4192,
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3": 174_604_259_328,
    "llama-2-7b": 6_738_415_616,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "llama-3.1-405b": 405_853_388_800,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "qwen3-235b-a22b": 235_093_634_560,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "deepseek-v3": 671_026_404_352,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
}


# The same, with as many experts as a token passes through; both embeddings count.
ACTIVE = {
    "qwen3-30b-a3b": 3_353_032_704,
    "qwen3-235b-a22b": 22_190_763_520,
    "mixtral-8x7b": 12_879_925_248,
    "deepseek-v3": 37_552_282_624,
    "gpt-oss-20b": 4_187_440_704,
    "gpt-oss-120b": 5_711_982_912,
}


def test_every_model_has_its_published_number_of_parameters() -> None:
    counted = {name: published.architecture.n_params for name, published in PRESETS.items()}
    assert counted == PARAMETERS


@pytest.mark.parametrize("config", [GPTConfig(), GPTConfig(30, 3, 12, 2, 5)])
def test_the_heart_is_one_of_them(config: GPTConfig) -> None:
    assert list(Architecture.of(config).shapes()) == list(config.shapes())


def test_microgpt_reads_as_many_tokens_as_its_preset_says() -> None:
    try:
        names = list(dataset.load("names").documents)
    except (OSError, ValueError) as error:
        pytest.skip(str(error))
    random.Random(42).shuffle(names)
    block_size = PRESETS["microgpt"].architecture.block_size
    read = sum(min(block_size, len(name) + 1) for name in names[:1000])
    assert read == PRESETS["microgpt"].tokens


def heart(**sizes: object) -> Architecture:
    """Return the heart's architecture with some sizes changed."""
    given = dict(vocab_size=27, n_layer=1, n_embd=16, n_head=4, n_kv_head=4, head_dim=4)
    return Architecture(**{**given, "n_hidden": 64, "block_size": 16, **sizes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"n_layer": 0}, "n_layer is 0; it must be a whole number, 1 or more"),
        ({"n_embd": 1.5}, "n_embd is 1.5"),
        ({"n_kv_head": 3}, "4 query heads cannot share 3 heads of keys"),
        ({"head_dim": 3, "rope": RoPE(1e4)}, "head_dim is 3; RoPE turns pairs"),
        ({"windows": (4, 4)}, "2 windows are given for 1 layers"),
        ({"windows": (0,)}, "a window is 0"),
        ({"norm_eps": float("nan")}, "norm_eps is nan"),
    ],
)
def test_sizes_that_disagree_are_refused(sizes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        heart(**sizes)


def test_more_experts_used_than_there_are() -> None:
    with pytest.raises(ValueError, match="n_used is 3; there are 2 experts"):
        Experts(n_expert=2, n_used=3, n_hidden=8)


def test_every_parameter_belongs_to_a_part() -> None:
    for published in PRESETS.values():
        parts = ledger.parameters(published.architecture)
        assert sum(parts.values()) == published.architecture.n_params
    gpt2 = ledger.parameters(PRESETS["gpt2"].architecture)
    assert gpt2["token embedding"] == 50_257 * 768
    assert gpt2["positions"] == 1024 * 768
    assert gpt2["attention"] == 12 * (4 * 768 * 768 + 4 * 768)
    assert gpt2["MLP"] == 12 * (8 * 768 * 768 + 5 * 768)
    assert gpt2["norms"] == 25 * 2 * 768
    deepseek = ledger.parameters(PRESETS["deepseek-v3"].architecture)
    assert deepseek["experts"] == 58 * (257 * 3 * 7168 * 2048 + 256 * 7168)


def test_the_active_parameters_are_those_that_are_published() -> None:
    for name, published in PRESETS.items():
        expected = ACTIVE.get(name, PARAMETERS[name])
        assert ledger.active(published.architecture) == expected, name
    without_embedding = ACTIVE["gpt-oss-120b"] - 201_088 * 2880
    assert round(without_embedding / 1e9, 2) == 5.13  # as its model card counts


@pytest.mark.parametrize("config", [GPTConfig(), GPTConfig(11, 3, 12, 2, 7)])
def test_the_flops_are_those_that_gpt_py_computes(
    config: GPTConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    dot = gpt.dot

    def counted(a: Any, b: Any) -> Any:
        lengths.append(len(a))
        return dot(a, b)

    monkeypatch.setattr(gpt, "dot", counted)
    params: Any = gpt.init(gpt.Config(*vars(config).values()), random.Random(1))
    keys, values = gpt.cache(config)
    norms = (1 + 2 * config.n_layer) * config.n_embd  # their sums of squares are not counted
    for position in range(config.block_size):
        lengths.clear()
        gpt.gpt(params, config, 0, position, keys, values)
        flops = ledger.forward_flops(Architecture.of(config), position + 1)
        assert flops == 2 * (sum(lengths) - norms)


def test_the_flops_of_whole_runs_are_those_that_are_published() -> None:
    """Within the share of attention, which the authors of GPT-3 leave out."""
    for name, flops in (("gpt3", 3.14e23), ("llama-3.1-405b", 3.8e25)):
        published = PRESETS[name]
        assert published.tokens
        context = published.context or published.architecture.block_size
        counted = published.tokens * ledger.training_flops(published.architecture, context)
        assert counted == pytest.approx(flops, rel=0.05)


def test_a_token_of_a_document_sees_half_of_it_in_the_mean() -> None:
    windowed = heart(n_layer=2, windows=(3, None))
    for architecture in (heart(), windowed):
        each = [ledger.forward_flops(architecture, seen) for seen in range(1, 17)]
        assert ledger.training_flops(architecture, 16) == pytest.approx(3 * sum(each) / 16)


def test_the_cache_is_as_large_as_is_published() -> None:
    """Bytes a token in bfloat16: DeepSeek-AI 2025 (arXiv 2505.09343), table 1."""
    published = {"deepseek-v3": 70_272, "llama-3.1-405b": 516_096}
    for name, size in published.items():
        assert ledger.cache_bytes(PRESETS[name].architecture, 1) == size
    mistral = PRESETS["mistral-7b"].architecture
    assert ledger.cache_bytes(mistral, 8192) == ledger.cache_bytes(mistral, 4096)
    assert ledger.cache_bytes(mistral, 4095) < ledger.cache_bytes(mistral, 4096)


def test_what_else_follows_from_the_parameters() -> None:
    llama = PRESETS["llama-2-7b"].architecture
    assert ledger.weight_bytes(llama)["bfloat16"] == 2 * 6_738_415_616
    assert ledger.weight_bytes(llama)["4 bits"] == 6_738_415_616 / 2
    assert ledger.adam_bytes(llama) == 16 * 6_738_415_616  # 16 bytes: ZeRO, section 3.1
    chinchilla = replace(PRESETS["gpt3"].architecture, n_layer=38)  # about 70 billion
    assert ledger.chinchilla_tokens(chinchilla) == pytest.approx(1.4e12, rel=0.03)
    day = ledger.training_seconds(
        llama, 1e9, 4096, ledger.training_flops(llama, 4096) * 1e9 / 86400
    )
    assert day == pytest.approx(86_400)


def test_a_component_is_the_same_changed_or_only_bigger() -> None:
    llama = comparison.entry("llama-3.1-8b", PRESETS["llama-3.1-8b"])["components"]
    assert [part["component"] for part in llama] == [
        *("dataset", "tokenizer", "autograd", "architecture", "training", "inference")
    ]
    names = {change["name"] for change in llama[3]["changed"]}
    assert {"RoPE", "stretched RoPE", "grouped queries", "SwiGLU", "gained RMSNorm"} <= names
    assert not names & {"biases", "tied embeddings", "mixture of experts", "LayerNorm"}
    layers = next(size for size in llama[3]["bigger"] if size["name"] == "n_layer")
    assert layers == {"name": "n_layer", "microgpt": 1, "model": 32, "text": "1 → 32"}
    ours = comparison.entry("microgpt", PRESETS["microgpt"])["components"]
    assert not any(part["changed"] or part["bigger"] for part in ours)


def test_a_change_shows_its_brick() -> None:
    code = comparison.code()
    assert code["mlp"].startswith("def mlp(")
    assert {"turn", "stretch", "gained_rmsnorm", "grouped_attention", "experts"} <= {*code}
