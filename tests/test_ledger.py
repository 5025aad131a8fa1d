"""The ledger: sizes of published models, to the last parameter, and what they cost."""

import random

import pytest

from microgpt import dataset
from microgpt.config import GPTConfig
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
