"""Where documents come from, and how they are split."""

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import dataset, gpt
from tests.conftest import Web


def test_the_published_list(published: Path) -> None:
    names = dataset.load("names")
    assert len(names.documents) == 32_033
    assert len(set(names.documents)) == 29_494
    assert names.sha256 == dataset.SHA256
    assert names.documents[:3] == ("emma", "olivia", "ava")
    assert dataset.default() == names


def test_the_built_in_list() -> None:
    world = dataset.load("world")
    assert list(world.documents) == gpt.read(dataset.WORLD)


def test_without_a_network_the_built_in_list_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MICROGPT_NAMES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(dataset, "PUBLISHED", "http://127.0.0.1:9/names.txt")  # nobody listens
    with pytest.raises(OSError, match="--data world"):
        dataset.load("names")
    assert dataset.default().name == "world"


def test_a_list_that_is_not_the_published_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "names.txt"
    other.write_text("emma\n")
    monkeypatch.setenv("MICROGPT_NAMES", str(other))
    with pytest.raises(ValueError, match="not the published list"):
        dataset.default()
    other.unlink()
    with pytest.raises(ValueError, match="No such file"):
        dataset.default()


def test_the_list_is_fetched_once_and_checked(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    published: Path,
    web: Web,
) -> None:
    monkeypatch.delenv("MICROGPT_NAMES")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    web.pages["/names.txt"] = published.read_bytes()
    monkeypatch.setattr(dataset, "PUBLISHED", f"{web.url}/names.txt")
    assert dataset.load("names").sha256 == dataset.SHA256
    assert dataset.load("names").sha256 == dataset.SHA256
    assert len(web.asked) == 1
    web.pages["/names.txt"] = b"emma\n"
    dataset.published().write_text("damaged")
    with pytest.raises(OSError, match="cannot be fetched"):
        dataset.load("names")


@given(st.binary(max_size=300))
def test_any_file_gives_documents_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("data") / "file"
    path.write_bytes(data)
    try:
        documents = dataset.load(str(path)).documents
    except ValueError as error:
        assert "give" in str(error), "it says what to do"
        assert "\n" not in str(error)
    else:
        assert documents
        assert list(documents) == gpt.read(path), "the heart reads it alike"


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("\ufeffémile\r\n\r\n 张伟 \n🙂\u2028x\n\n".encode())
    assert dataset.load(str(path)).documents == ("émile", "张伟", "🙂\u2028x")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_end_of_a_line_ends_a_document(tmp_path: Path, end: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(end.join(["emma", "", "ava", ""]).encode())
    assert dataset.load(str(path)).documents == ("emma", "ava")
    assert gpt.read(path) == ["emma", "ava"]


@pytest.mark.parametrize("character", "\v\f\x85\u2028\u2029")
def test_what_only_seems_to_end_a_line_is_named(character: str) -> None:
    names = dataset.parse("file", f"ava\nem{character}ma\n".encode())
    assert names.documents[1] == f"em{character}ma"
    line = names.odd_break()
    assert line
    assert f"U+{ord(character):04X}" in line
    assert character not in line, "it is shown escaped"
    assert dataset.load("world").odd_break() is None


def test_a_file_is_read_by_its_kind(tmp_path: Path) -> None:
    lines = b'{"text": "emma", "id": 1}\n\n"ava"\n'
    for name, data, documents in (
        ("a.txt.gz", gzip.compress(b"emma\nava\n", mtime=0), ("emma", "ava")),
        ("a.jsonl", lines, ("emma", "ava")),
        ("a.jsonl.gz", gzip.compress(lines, mtime=0), ("emma", "ava")),
        ("a.csv", b"emma,1\n", ("emma,1",)),
    ):
        (tmp_path / name).write_bytes(data)
        found = dataset.load(str(tmp_path / name))
        assert found.documents == documents
        assert found.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.gz", gzip.compress(b"emma\n" * 99, mtime=0)[:-9], "a.gz cannot be unpacked"),
        ("a.zip", b"PK\x03\x04...", "a.zip is a zip archive; unpack it"),
        ("a.parquet", b"PAR1...", "is a Parquet file"),
        ("a.json", b'["emma"]', "give JSON Lines"),
        ("a.jsonl", b'"emma"\n{"name": "ava"}\n', "a.jsonl, line 2: "),
        ("a.jsonl", b"emma", 'give {"text": "..."}'),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: "),
        ("a.txt", b"\xff", "not UTF-8 text (byte 0)"),
        ("a.txt", b" \r\n", "holds no documents"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(
    name: str, data: bytes, says: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        dataset.parse(name, data)
    assert len(str(error.value)) < 150
    assert str(error.value).isprintable()


def test_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match="download it first"):
        dataset.load("https://example.org/names.txt")


def test_documents_from_no_file() -> None:
    names = dataset.of(["emma", "ava"])
    assert names.documents == ("emma", "ava")
    assert names == dataset.of(("emma", "ava")) != dataset.of(["emma", "eva"])
    for wrong, error in (([], ValueError), ([""], ValueError), (["a", 3], TypeError)):
        with pytest.raises(error, match="document"):
            dataset.of(wrong)  # type: ignore[arg-type]


documents = st.lists(st.text(min_size=1), min_size=200, max_size=300, unique=True)


@given(documents, st.floats(0.1, 0.3))
def test_a_split_holds_out(names: list[str], fraction: float) -> None:
    parts = dataset.split(names + names[::-1], fraction)
    everything = parts.train + parts.val + parts.test
    assert sorted(everything) == sorted(names), "each document is in one part, once"
    shorter = dataset.split(names[:100], fraction)
    assert set(shorter.val) <= set(parts.val), "the rule looks at the document alone"
    assert set(shorter.test) <= set(parts.test)


def test_a_split_holds_out_about_the_fraction() -> None:
    parts = dataset.split(dataset.load("world").documents, 0.1)
    assert len(parts.val) == pytest.approx(1899, abs=120)
    assert len(parts.test) == pytest.approx(1899, abs=120)


@pytest.mark.parametrize("fraction", [0, -1, 0.5, 1, float("nan")])
def test_a_split_of_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="less than 0.5"):
        dataset.split(["a", "b", "c"], fraction)
    with pytest.raises(ValueError, match="too few"):
        dataset.split(["a", "b", "c"], 0.01)
