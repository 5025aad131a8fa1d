"""The documents that ship with the package: what they are, and that their script makes them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ROOT / "microgpt" / "data" / "names.txt"


def test_names_are_a_sorted_set_of_about_19000_names_in_a_to_z() -> None:
    text = NAMES.read_bytes().decode("ascii")
    assert text.endswith("\n")
    names = text.removesuffix("\n").split("\n")
    assert names == sorted(set(names))
    assert [name for name in names if not re.fullmatch("[a-z]{2,15}", name)] == []
    assert len(names) == 18_994
    # from many lands, where they are Zoë, Børge, Rafał, Blær, Đuro, Adıgün, İbrahim  # noqa: RUF003
    folded = {"zoe", "borge", "rafal", "blaer", "duro", "adigun", "ibrahim"}
    assert folded <= set(names)


def test_the_script_makes_the_names_again() -> None:
    pytest.importorskip("faker", reason="faker, the source of the names, is not installed")
    script = ROOT / "scripts" / "world_names.py"
    made = subprocess.run([sys.executable, script], capture_output=True, check=True).stdout
    assert made == NAMES.read_bytes()


def test_source_and_licence_stand_beside_the_names() -> None:
    note = NAMES.with_name("README.md").read_text("utf-8")
    count = len(NAMES.read_text("ascii").split())
    assert f"{count:,} first names" in note
    assert "Copyright (c) 2012 Daniele Faraglia" in note
    pin = re.search(r"faker==[\d.]+", (ROOT / "pyproject.toml").read_text("utf-8"))
    assert pin
    assert pin[0] in note
