"""Where documents come from, and how they are split."""

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
        assert "one" in str(error)
        assert "\n" not in str(error)
    else:
        assert documents
        assert list(documents) == gpt.read(path), "the heart reads it alike"


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("\ufeffémile\r\n\r\n 张伟 \n🙂\u2028x\n\n".encode())
    assert dataset.load(str(path)).documents == ("émile", "张伟", "🙂\u2028x")


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
