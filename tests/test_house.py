"""The house: which room may lean on which, and what its documents promise."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "microgpt"
TEXTS = re.compile(
    r"|[.](py|md|toml|js|mjs|css|html|ipynb|sh|json|txt|c|h|asm|inc|cfg)"
)  # suffixes

# Each room's layer, the lowest first. A room imports from its own layer or a lower one, never up.
# A room whose files lie in two layers is named file by file.
LAYERS = [
    "gpt",
    "arrays documents files config dataset tokenizer checkpoint bigram corpus",
    "integers llm llm.architecture llm.bricks llm.floats",
    "native snes",
    "engines",
    "sampling model language feed text training quantization cartridge xray probe "
    "trials pictures scaling ladder tuning rewards evaluation "
    "llm.comparison llm.families llm.ledger llm.presets llm.quantities "
    "llm.safetensors_files llm.bpe llm.subwords llm.gguf_files llm.pretrained "
    "llm.export",
    "school",
    "lab",
    "cli __main__",
]
LAYER = {room: height for height, rooms in enumerate(LAYERS) for room in rooms.split()}
MODULES = sorted(PACKAGE.rglob("*.py"))


def layered(name: str) -> str:
    """Return what of a dotted name LAYER knows: its room, or its file in one of two layers."""
    first_two = ".".join(name.split(".")[:2])
    return first_two if first_two in LAYER else name.split(".")[0]


def room(module: Path) -> str:
    parts = module.relative_to(PACKAGE).with_suffix("").parts
    return layered(".".join(part for part in parts if part != "__init__"))


def imports(module: Path) -> set[str]:
    """Return the modules of ours that a module imports, as dotted names inside the package."""
    found = set()
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are written in full"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return {name.removeprefix("microgpt.") for name in found if name.startswith("microgpt.")}


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_imports_point_down(module: Path) -> None:
    if module == PACKAGE / "__init__.py":
        return  # the door to the rooms
    here = room(module)
    assert here in LAYER, f"{module} is in no layer; give it one above, and in the docs"
    for name in imports(module):
        there = layered(name)
        if there in LAYER:
            assert LAYER[there] <= LAYER[here], f"{here} must not import {name}: it is above"
    if here == "engines" and module.stem not in ("__init__", "base"):
        others = {name.split(".")[1] for name in imports(module) if name.startswith("engines.")}
        its_own = module.relative_to(PACKAGE / "engines").with_suffix("").parts[0]
        assert others <= {"base", its_own}, "engines do not know each other"


def test_no_circle() -> None:
    """Modules can be read one after another, each after those it imports."""
    files = {module.relative_to(PACKAGE).with_suffix("").as_posix(): module for module in MODULES}
    names = {name.removesuffix("/__init__").replace("/", "."): path for name, path in files.items()}

    def module_of(imported: str) -> str:
        return imported if imported in names else imported.rpartition(".")[0]

    arrows = {name: {module_of(i) for i in imports(path)} for name, path in names.items()}
    TopologicalSorter(arrows).prepare()  # a CycleError names the circle


def test_no_one_above_names_an_engine() -> None:
    """engines.create makes them by name."""
    for module in MODULES:
        if room(module) != "engines":
            named = {n.split(".")[1] for n in imports(module) if n.startswith("engines.")}
            assert named <= {"base"}, module


def test_no_module_hides_one_of_the_standard_library() -> None:
    names = {module.stem for module in PACKAGE.glob("*.py")}
    assert not names & set(sys.stdlib_module_names)


def test_the_commands_shown_in_the_docs_are_the_commands() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "cli_help.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    shown = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert shown == made.stdout, "run `make docs`"


def test_lines_fit_100_columns() -> None:
    """Ruff holds Python to it, nothing else these."""
    for name, text in texts():
        if Path(name).suffix in {".c", ".h", ".asm", ".inc", ".cfg", ".js", ".mjs", ".css", ".sh"}:
            for number, line in enumerate(text.split("\n"), 1):
                assert len(line) <= 100, f"{name}:{number}"


INSTALL = re.compile(r"""pip3? install [^\n`]*(?<![\w./-])microgpt(?![\w/-])|microgpt\[""")


def texts() -> Iterator[tuple[str, str]]:
    """Yield the name and the content of every text of the repository, but this one."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if TEXTS.fullmatch((ROOT / name).suffix) and name != "tests/test_house.py":
            yield name, (ROOT / name).read_text("utf-8")


def test_no_text_installs_the_package_of_a_stranger() -> None:
    """On the package index, microgpt is not ours: microgpt-lab is."""
    for name, text in texts():
        found = INSTALL.search(text)
        assert not found, f"{name}: {found}"


def test_no_requirement_is_the_package_of_a_stranger() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "microgpt-lab"
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *chain(*extras)]:
        wanted = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()
        assert wanted != "microgpt", requirement


TRANSLATED = re.compile(
    r"\b(shall|whoever|anew|one can|so that nobody|stood|stands(?! for\b)|told(?! apart\b)"
    r"|(?<!there )(is|are|was) no\b(?! (longer|more|reason)\b))\b",
    re.I,
)
LICENCES = {"LICENSE", "microgpt/data/README.md", "microgpt/data/names.txt"}


def test_the_english_is_plain() -> None:
    """Words that give a translated sentence away; a licence keeps its own."""
    for name, text in texts():
        found = TRANSLATED.search(text)
        assert not found or name in LICENCES, f"{name}: {found}"
