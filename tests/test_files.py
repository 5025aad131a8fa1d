"""Files: written whole, where their path leads, and never over what the command reads."""

import os
import stat
import threading
from pathlib import Path

import pytest

from microgpt import files


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("new")
    assert files.target(tmp_path / "link") == tmp_path / "file"
    files.write(tmp_path / "link", "emma")
    files.write(tmp_path / "dangling", b"ava")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "emma"
    assert (tmp_path / "new").read_text() == "ava"
    assert sorted(os.listdir(tmp_path)) == ["dangling", "file", "link", "new"]


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o644, 0o664])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(mode)
    files.write(path, "emma")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    files.write(tmp_path / "ours", "emma")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_is_not_a_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-pipe").symlink_to("pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = {name: (tmp_path / name).lstat().st_mode for name in os.listdir(tmp_path)}
    for path, says in (
        (tmp_path / "folder", "it is a directory"),
        (tmp_path / "pipe", "a device or a pipe"),
        (tmp_path / "to-pipe", "a device or a pipe"),
        (tmp_path / "loop", "Too many levels of symbolic links"),
        (tmp_path / "missing" / "file", "its folder is missing"),
        (Path("/dev/full"), "a device or a pipe"),
    ):
        for refuse in (files.target, lambda path: files.write(path, "emma")):
            with pytest.raises(OSError, match=says) as error:
                refuse(path)
            assert error.value.filename == str(path)
    assert {name: (tmp_path / name).lstat().st_mode for name in os.listdir(tmp_path)} == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o444)
    with pytest.raises(PermissionError, match="may not be written"):
        files.target(tmp_path / "file")


def test_an_input_is_refused_under_any_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.touch()
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "hard").hardlink_to(data)
    for name in ("data", "link", "hard", "../" + tmp_path.name + "/data"):
        with pytest.raises(ValueError, match="already used by this command"):
            files.target(tmp_path / name, [tmp_path / "other", data])
    with pytest.raises(ValueError, match="already used"):  # two outputs, neither of them there yet
        files.target(tmp_path / "new", [tmp_path / "new"])
    assert files.target(tmp_path / "new", [data]) == tmp_path / "new"


def test_threads_that_write_one_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [str(i) * 100_000 for i in range(8)]
    together = threading.Barrier(len(contents))

    def write(content: str) -> None:
        together.wait()
        files.write(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents
    assert os.listdir(tmp_path) == ["file"]
