"""The package as others get it: from its source archive, on a machine without a C compiler."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("microgpt", "setup.py", "pyproject.toml", "README.md", "LICENSE")


def run(*command: str | Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the commands of an environment in which no C compiler was there for the package."""
    if os.name != "posix" or not find_spec("pip"):
        pytest.skip("needs pip, and an environment laid out as on Linux and macOS")
    folder = tmp_path_factory.mktemp("install")
    source, environment = folder / "source", folder / "venv"
    source.mkdir()
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.so")
            shutil.copytree(ROOT / part, source / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, source)
    run(sys.executable, "setup.py", "-q", "sdist", cwd=source)
    (archive,) = source.glob("dist/*.tar.gz")
    venv.create(environment)
    python = environment / "bin" / "python"
    # What the package needs lies where the tests find it. An editable microgpt is not seen there:
    # it is found through a file that its own environment alone reads.
    place = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(place) / "tests.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--no-build-isolation"),
        *("--no-deps", "--no-index", "--disable-pip-version-check", archive),
        env=os.environ | {"CC": "false"},
    )
    return environment / "bin"


def test_the_archive_holds_all_that_the_package_has(installed: Path) -> None:
    (there,) = installed.parent.glob("lib/python*/site-packages/microgpt")

    def files(package: Path) -> set[str]:
        found = {p.relative_to(package) for p in package.rglob("*") if p.is_file()}
        return {str(p) for p in found if p.suffix not in (".pyc", ".so", ".pyd")}

    assert files(there) == files(ROOT / "microgpt")


def test_the_engines_say_what_is_missing(installed: Path, tmp_path: Path) -> None:
    said = run(installed / "microgpt", "engines", cwd=tmp_path).stdout
    native = next(line for line in said.splitlines() if line.startswith("native"))
    assert "missing: its C part was not built; install a C compiler" in native


def test_training_falls_back_to_the_heart(installed: Path, tmp_path: Path) -> None:
    training = ("train", "--data", "world", "--steps", "2")
    done = run(installed / "microgpt", *training, cwd=tmp_path)
    notices = [line for line in done.stderr.splitlines() if "missing" in line]
    assert len(notices) == 1
    assert "training with scalar" in notices[0]
    assert "engine scalar" in done.stdout
