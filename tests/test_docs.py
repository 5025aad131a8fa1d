"""What the docs show is run: blocks of Python and of the shell, the notebook, links to lines.

A block marked `sh` or `python` is executed, block after block of a file in one empty folder; one
marked `console` or `text` is a transcript, and is not.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#L(\d+))?\)")


@pytest.mark.parametrize(
    "page", [p for p in PAGES if BLOCK.search(p.read_text("utf-8"))], ids=lambda p: p.name
)
def test_code_blocks_run(page: Path, tmp_path: Path) -> None:
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    blocks = BLOCK.findall(page.read_text("utf-8"))
    python = "\n".join(code for language, code in blocks if language == "python")
    shell = "\n".join(code for language, code in blocks if language == "sh")
    for command in (["bash", "-euc", shell], [sys.executable, "-W", "error", "-c", python]):
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, line in LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        path = page.parent / target
        assert path.exists(), f"{page.name} links to {target}, which is not there"
        if line:  # a link to a line of the heart leads to a banner
            assert path.read_text("utf-8").splitlines()[int(line) - 1].startswith("# ---- ")


def test_the_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(ROOT / "notebooks" / "walk.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [cell.outputs[0] for cell in notebook.cells if cell.get("outputs")]
    shown = [" ".join(output["data"]["text/plain"].split()) for output in outputs]
    assert shown[0].startswith("(Value(data=2.0, grad=1.0), Value(data=-3.0, grad=2.0)")
    first, last = eval(shown[4])
    assert last < first, "it learns"
