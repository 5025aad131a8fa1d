"""Text to token ids and back, and what is said of a character that the model does not know."""

import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.tokenizer import Tokenizer

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
