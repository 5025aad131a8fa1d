"""The lab as a static site: the same page, and in place of the server a Python in the browser.

The site holds the page, this package's Python in one archive, the model, and Pyodide, which is
copied from a folder that npm fills: the package does not carry it.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from microgpt import engines
from microgpt.checkpoint import SHIPPED, Checkpoint
from microgpt.lab import lessons
from microgpt.lab.answers import ELSEWHERE, Answers
from microgpt.lab.models import Models, title
from microgpt.lab.pyodide import listed, pack
from microgpt.lab.recorded import record
from microgpt.lab.server import STATIC
from microgpt.llm import pretrained
from microgpt.model import Model

PYODIDE = "314.0.7"
PARTS = (  # of Pyodide: its core alone, without packages
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "pyodide-lock.json",
    "python_stdlib.zip",
)
KERNEL = Path(str(files("microgpt") / "native" / "wasm"))
WASM = ("kernel.mjs", "kernel.wasm")  # the engine that Python there trains with
HOST = {  # what Python there will say of itself, when it has come
    "engines": ["wasm", "scalar"],
    "present": ["wasm", "scalar"],
    "missing": {name: ELSEWHERE for name in engines.ENGINES if name != "scalar"},
    "data": ["world"],
    "console": False,
}
SERVER = '<meta name="host" content="./hosts/server.mjs">'
BROWSER = """\
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; \
script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:">
<meta name="host" content="./hosts/pyodide.mjs">
<script src="opened.js"></script>"""


def export(opened: Sequence[str], folder: str, pyodide: str) -> Path:
    """Write the site to a folder, whole or not at all, and return where it is.

    Raises:
        OSError: a model or Pyodide cannot be read, or the folder cannot be written.
        ValueError: a model cannot be used, the folder is not empty, or Pyodide is not complete.
    """
    site, core = Path(folder).resolve(), Path(pyodide)
    if site.exists() and (not site.is_dir() or any(site.iterdir())):
        raise ValueError(f"{folder} is there, and not an empty folder; name a new one")
    if missing := [name for name in PARTS if not (core / name).is_file()]:
        raise ValueError(
            f"{core} lacks {missing[0]}; `npm install pyodide@{PYODIDE}` makes a folder "
            "node_modules/pyodide that has it: name it by --pyodide"
        )
    models = _models([Path(model).resolve() for model in opened])
    beside = site.with_name(f".{site.name}.{os.getpid()}.tmp")
    try:
        beside.mkdir()  # fails where its folder is missing: copytree would make that too
        hidden = shutil.ignore_patterns("server.mjs")
        shutil.copytree(STATIC, beside, ignore=hidden, dirs_exist_ok=True)
        page = (STATIC / "index.html").read_text("utf-8")
        assert SERVER in page
        page = page.replace(SERVER, BROWSER).replace("server.mjs", "pyodide.mjs")
        (beside / "index.html").write_text(page, "utf-8")
        held = pack(models)
        own = Answers(Model(models[""][1], "scalar"), built_in="shipped" not in models)
        rows = [["host", {}, HOST], ["models", {}, listed(json.loads(held))], *record(own)]
        (beside / "recorded.json").write_text(json.dumps(rows, separators=(",", ":")), "utf-8")
        (beside / "lessons.json").write_text(lessons.to_json(), "utf-8")
        (beside / "wasm").mkdir()
        for name in WASM:
            shutil.copyfile(KERNEL / name, beside / "wasm" / name)
        _pack(held, beside / "microgpt.zip")
        (beside / "pyodide").mkdir()
        for name in PARTS:
            shutil.copyfile(core / name, beside / "pyodide" / name)
        if site.exists():
            site.rmdir()
        beside.rename(site)
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return site


def _models(opened: Sequence[Path]) -> dict[str, tuple[str, Checkpoint]]:
    """Return the models of a site by name, each with its title; raises as export does."""
    for path in opened:
        if pretrained.is_one(path):
            raise ValueError(f"{path} is a published model: too large for a page; leave it out")
    named = dict(zip(Models.names(opened), opened, strict=True)) or {"": SHIPPED}
    if SHIPPED not in named.values():
        named["shipped"] = SHIPPED  # the lessons speak of it
    return {name: (title(path), Checkpoint.load(path).model()) for name, path in named.items()}


def _pack(models: str, path: Path) -> None:
    """Write what Python needs in the browser: this package's files, the names, the models."""
    package = Path(str(files("microgpt")))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        school = [
            p for p in (package / "school").rglob("*") if p.suffix in (".md", ".json", ".toml")
        ]
        for file in [*sorted({*package.rglob("*.py"), *school}), package / "data" / "names.txt"]:
            archive.write(file, file.relative_to(package.parent))
        archive.writestr("microgpt/data/models.json", models)
