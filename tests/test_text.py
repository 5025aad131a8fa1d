"""Running text: windows at random, windows from a stream, and what is held out."""

import gzip
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import dataset
from microgpt.checkpoint import Checkpoint
from microgpt.corpus import Corpus
from microgpt.documents import Document
from microgpt.sampling import Sampling
from microgpt.text import RunningText, TextStream, of
from microgpt.training import Run, Settings
from tests.test_training import finish, same

TINY = {"n_embd": 4, "n_head": 2}
TEXT = "".join(f"{i} is {i * i}\n\n  and {i} more.\n" for i in range(40))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "text.txt").write_text(TEXT)
    return Corpus(str(tmp_path / "text.txt"))


def many(folder: Path) -> tuple[Corpus, list[str]]:
    """Return a corpus of four files, and its documents."""
    (folder / "a.txt").write_text("ab\nba\n")
    with gzip.open(folder / "b.jsonl.gz", "wt") as file:
        file.write('{"text": "one\\ntwo"}\n\n{"text": "three", "id": 3}\n')
    (folder / "c.jsonl").write_text('"four"\n')
    (folder / "d.txt").write_bytes(b"\xef\xbb\xbfsix\r\nseven\r\n")
    (folder / "e.md").write_text("is not read")
    return Corpus(str(folder)), ["ab\nba\n", "one\ntwo", "three", "four", "six\nseven\n"]


def taken(feed: RunningText, count: int) -> list[Document]:
    return [feed.batch(step)[0][0] for step in range(count)]


def joined(windows: Sequence[Document], bos: int) -> list[int]:
    assert all(window[0] == bos for window in windows)
    return [token for window in windows for token in window[1:]]


@pytest.mark.parametrize("fraction", [0.1, 0.3])
def test_what_is_held_out_is_the_end_of_the_text(corpus: Corpus, fraction: float) -> None:
    for feed in (RunningText(corpus, 7, val=fraction), TextStream(corpus, 7, val=fraction)):
        bos, decode = feed.tokenizer.bos, feed.tokenizer.decode
        learned = decode(feed.documents.tokens)
        val, test = (decode(joined(part, bos)) for part in (feed.val, feed.test))
        assert TEXT.startswith(learned)
        assert len(learned) <= TEXT.index(val)
        assert TEXT.index(val) + len(val) <= TEXT.index(test)
        for part in (val, test):
            assert len(part) == pytest.approx(fraction * len(TEXT), abs=30)
        for window in taken(feed, 300):
            assert (window[0], len(window)) == (bos, 8)
            assert decode(window[1:]) in learned


def test_windows_are_drawn_from_everywhere(tmp_path: Path) -> None:
    letters = "".join(map(chr, range(0x4E00, 0x4E00 + 100)))  # each of them once
    (tmp_path / "a.txt").write_text(letters, "utf-8")
    feed = RunningText(Corpus(str(tmp_path / "a.txt")), 7, batch=2000)
    starts = [letters.index(feed.tokenizer.decode(window[1:])) for window in feed.batch(0)[0]]
    assert {*starts} == {*range(100 - 7 + 1)}
    assert feed.batch(1) != feed.batch(0) == feed.batch(0)


def test_documents_follow_each_other_with_bos_between(tmp_path: Path) -> None:
    corpus, texts = many(tmp_path)
    for feed in (RunningText(corpus, 4), TextStream(corpus, 4)):
        bos, expected = feed.tokenizer.bos, list[int]()
        for text in texts:
            expected += [bos] * bool(expected) + feed.tokenizer.ids(text)
        assert [*feed.documents.tokens] == expected
    whole = len(expected) // 4
    assert joined(taken(feed, whole), bos) == expected[: 4 * whole]
    assert joined(taken(feed, whole), bos) == expected[: 4 * whole], "it begins again"
    assert dataset.load(str(tmp_path)).documents == ("ab", "ba", "one\ntwo", "three", "four", "six",
                                                     "seven")  # fmt: skip


@given(st.integers(0, 60), st.integers(1, 9))
def test_a_stream_goes_on_from_its_place(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int
) -> None:
    folder = tmp_path_factory.mktemp("text")
    corpus, _ = many(folder)
    stream, other = TextStream(corpus, size), TextStream(corpus, size)
    taken(stream, count)
    other.load(json.loads(json.dumps(stream.state())))
    assert taken(other, 40) == taken(stream, 40)


@pytest.mark.parametrize("vocabulary", [None, 270])
@pytest.mark.parametrize("kind", [RunningText, TextStream])
def test_a_resumed_run_is_one_never_interrupted(
    corpus: Corpus, tmp_path: Path, kind: type[RunningText], vocabulary: int | None
) -> None:
    if vocabulary:
        pytest.importorskip("tokenizers")

    def begin() -> Run[RunningText]:
        feed = kind(corpus, 8, 3, 0.1, vocabulary=vocabulary)
        return Run(feed, Settings(60), "native", sizes=TINY | {"block_size": 8})

    whole = finish(begin())
    for stop in (1, 20, 50):
        run = begin()
        for _ in run.advance():
            if run.step >= stop:
                break
        run.checkpoint().save(tmp_path / "run")
        resumed = finish(Run.resume(Checkpoint.load(tmp_path / "run")))
        assert run.losses + resumed.losses == whole.losses
        assert same(resumed.checkpoint(), whole.checkpoint())
    uniform, bigram = whole.baselines()
    assert bigram < uniform


def test_a_stream_is_not_kept(tmp_path: Path) -> None:
    line = json.dumps({"text": "All work and no play makes Jack a dull boy. " * 20})
    (tmp_path / "a.jsonl").write_text(f"{line}\n" * 3000)
    corpus, read = Corpus(str(tmp_path / "a.jsonl")), list[int]()
    corpus.survey(read.append)
    assert len(read) == 2
    assert read == sorted(read), "it says how far it is"
    tracemalloc.start()
    try:
        taken(TextStream(corpus, 16, val=0.1), 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert corpus.size > 2_500_000 > peak


def test_a_text_that_is_another_now_is_refused(corpus: Corpus) -> None:
    for kind, says in ((RunningText, "its sha256 differs"), (TextStream, "bytes, and had")):
        corpus.paths[0].write_text(TEXT)
        run = Run(kind(Corpus(corpus.name), 8), Settings(2), "native", sizes=TINY)
        next(run.advance())
        corpus.paths[0].write_text(TEXT[:-2] + ("??" if kind is RunningText else "?"))
        with pytest.raises(ValueError, match=f"is not what the run began with: .*{says}"):
            of(run.checkpoint())


@pytest.mark.parametrize("kind", [RunningText, TextStream])
@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.jsonl", b'{"text": "a"}\n{"body": "b"}\n', 'a.jsonl, line 2: \'{"body": "b"}'),
        ("a.jsonl", b'{"text": "a"}\n\nemma\n', "a.jsonl, line 3: 'emma' holds no text"),
        ("a.txt", b"ab\xff", "a.txt is not UTF-8 text"),
        ("a.txt", b"", "a.txt holds no text"),
        ("a.txt", b"PK\x03\x04", "is a zip archive; unpack it"),
        ("a.txt", gzip.compress(b"emma\n" * 99, mtime=0)[:-9], "a.txt cannot be unpacked"),
        ("a.txt", b"ab\ncd", "a.txt is too short to hold out"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    tmp_path: Path, kind: type[RunningText], name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match="a\\.") as error:
        kind(Corpus(str(tmp_path / name)), 8, val=0.2)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_stream_shorter_than_a_window_does_not_turn_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("short")
    stream = TextStream(Corpus(str(tmp_path / "a.txt")), 8)
    with pytest.raises(ValueError, match="too short for a window of 8 tokens"):
        stream.batch(0)
    assert RunningText(stream.corpus, 8).batch(0)[0][0][1:] == stream.tokenizer.ids("short")


def test_names_of_no_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is read again and again, and - is not"):
        Corpus("-")
    for name in (str(tmp_path), str(tmp_path / "*.txt")):
        with pytest.raises(ValueError, match="leads to no file"):
            Corpus(name)
    with pytest.raises(FileNotFoundError):
        Corpus(str(tmp_path / "a.txt"))


def test_text_is_written_past_block_size(corpus: Corpus) -> None:
    """Of eight tokens it keeps the last four, and writes four more."""
    run = Run(RunningText(corpus, 8), Settings(300), "native", sizes=TINY | {"block_size": 8})
    model = finish(run).model()
    text = model.write(40, Sampling(0), prefix="1 is ")
    assert (text[:5], len(text)) == ("1 is ", 45)
    for full in range(8, 40, 4):
        seen = text[full - 4 : full]
        assert model.write(4, Sampling(0), prefix=seen) == text[full - 4 : full + 4]
    drawn = model.write(9, Sampling(1.0), seed=3, i=1)
    assert model.write(9, Sampling(1.0), seed=3, i=1) == drawn != model.write(9, Sampling(1.0), 3)
    scored = model.score("1 is 1")
    assert len(scored.losses) == 6, "no end is asked for"
    assert not scored.complete


def test_text_ends_at_bos(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('"ab"\n' * 50)
    feed = RunningText(Corpus(str(tmp_path / "a.jsonl")), 8)
    model = finish(Run(feed, Settings(300), "native", sizes=TINY | {"block_size": 8})).model()
    assert model.write(50, Sampling(0), prefix="a") == "ab"
