"""Text to token ids and back, and what is said of a character that the model does not know."""

import json
import pickle
import pydoc_data.topics
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import dataset
from microgpt.llm.subwords import ByteLevel
from microgpt.tokenizer import SubwordTokenizer, Tokenizer, create, named

Form = Literal["NFC", "NFD"]
CHINESE = "".join(chr(0x4E00 + i) for i in range(3000))


@given(st.lists(st.text(min_size=1), min_size=1))
def test_what_is_encoded_is_decoded(documents: list[str]) -> None:
    tokenizer = Tokenizer.of(documents)
    for document in documents:
        bos, *ids, end = tokenizer.encode(document)
        assert bos == end == tokenizer.bos == tokenizer.vocab_size - 1
        assert tokenizer.decode(ids) == document


@pytest.mark.parametrize(
    ("vocabulary", "text", "says"),
    [
        ("abc", "ax", "'x' in 'ax' is not in the model's vocabulary; it knows 'abc'"),
        (CHINESE, "e", "'e' in 'e' is not in the model's vocabulary; it knows 3000 others"),
        ("abc", "\x1b[31m", r"'\x1b' (U+001B) in '\x1b[31m' is not in"),
        ("Zoë", "Zoe\u0308", "'e' in 'Zoe\u0308' is not in the model's vocabulary"),
        ("Zoe\u0308", "Zo\u00eb", "'\u00eb' (U+00EB) in"),
    ],
)
def test_an_unknown_character_is_named(vocabulary: str, text: str, says: str) -> None:
    with pytest.raises(ValueError, match="is not in the model's vocabulary") as error:
        Tokenizer(vocabulary).encode(text)
    line = str(error.value)
    assert line.startswith(says)
    assert len(line) < 200
    assert "\x1b" not in line


@pytest.mark.parametrize(("trained_on", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_form_that_the_model_can_read_is_suggested(trained_on: Form, typed: Form) -> None:
    tokenizer = Tokenizer.of([unicodedata.normalize(trained_on, "Zoë")])
    with pytest.raises(ValueError, match=f"it can read the text in the form {trained_on}$"):
        tokenizer.encode(unicodedata.normalize(typed, "Zoë"))


def test_a_vocabulary_that_is_refused_is_not_printed_whole() -> None:
    with pytest.raises(ValueError, match="each of them once") as error:
        Tokenizer(CHINESE + CHINESE)
    assert len(str(error.value)) < 150


TEXTS = [*dataset.load("world").documents[:400], *list(pydoc_data.topics.topics.values())[:6]]


@pytest.fixture(scope="module")
def pairs() -> SubwordTokenizer:
    pytest.importorskip("tokenizers")
    return SubwordTokenizer.learn(TEXTS, 400)


def test_byte_pairs_are_those_of_the_forty_lines(pairs: SubwordTokenizer) -> None:
    """llm/bpe.py is another implementation; BOS is a token that it does not know."""
    ours = ByteLevel.train(TEXTS, 399)
    assert pairs.vocab_size == 400
    for text in TEXTS:
        bos, *ids, end = pairs.encode(text)
        assert ids == ours.encode(text)
        assert bos == end == pairs.bos == 399
        assert pairs.decode(ids) == text
    assert len(pairs.ids(TEXTS[-1])) < 0.6 * len(TEXTS[-1])


@given(st.text())
def test_byte_pairs_know_every_text(pairs: SubwordTokenizer, text: str) -> None:
    assert pairs.decode(pairs.ids(text)) == text


def test_half_of_a_character_is_replaced(pairs: SubwordTokenizer) -> None:
    """JSON may name one, and UTF-8 cannot hold it."""
    assert pairs.decode(pairs.ids("a\ud800b")) == "a?b"
    assert SubwordTokenizer.learn(["a\ud800b"], 300).vocab_size <= 300


def test_a_tokenizer_file_is_used_whole(pairs: SubwordTokenizer, tmp_path: Path) -> None:
    """What it says of cutting and padding texts is for other programs."""
    settings = json.loads(pairs.settings)
    settings["truncation"] = {
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    read = named(str(tmp_path / "tokenizer.json"))
    assert isinstance(read, SubwordTokenizer)
    assert read == pairs
    assert create(read, ()).encode(TEXTS[-1]) == pairs.encode(TEXTS[-1])
    copied = pickle.loads(pickle.dumps(read))
    assert (copied, copied.name) == (pairs, str(tmp_path / "tokenizer.json"))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"model": 7}',
        '{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}}',
        '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["ab"]}}',
        '{"model": {"type": "Unigram", "vocab": [], "unk_id": 3}}',
    ],
)
def test_a_broken_tokenizer_file_is_refused_in_one_line(
    text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "t.json").write_text(text, "utf-8")
    with pytest.raises(
        ValueError, match="t.json is not a tokenizer.json that can be read"
    ) as error:
        named(str(tmp_path / "t.json"))
    assert "\n" not in str(error.value)
    assert capfd.readouterr().err == "", "the library did not panic"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bpe:x", "must be bpe:N"),
        ("bpe:", "must be bpe:N"),
        ("bpe:-3", "must be bpe:N"),
        ("bpe:99999999999999999999", "must be bpe:N"),
        ("bpe:999999999", "too many tokens; the limit is 1,000,000"),
        ("bpe:256", "too few tokens: the bytes and BOS are 257 already"),
    ],
)
def test_a_number_of_tokens_that_cannot_be(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        create(named(name), TEXTS)


def test_what_has_no_token_is_refused(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("tokenizers")
    made = library.Tokenizer(library.models.WordLevel({"emma": 0, "ava": 1}, "?"))
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "t.json"))
    words = SubwordTokenizer.load(tmp_path / "t.json")
    assert words.encode("ava emma") == [2, 1, 0, 2]
    with pytest.raises(ValueError, match="'ava noah' cannot be tokenized: WordLevel error"):
        words.ids("ava noah")
