"""Show how much of a published model's forward pass is gpt.py, line by line.

    python scripts/heart_share.py tests/families/llama

One token is read by the bricks over floats, and each line of the package that runs is noted.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

import microgpt
from microgpt.engines.bricks import BricksEngine
from microgpt.llm import families

PACKAGE = Path(microgpt.__file__).parent


def lines_run(engine: BricksEngine) -> dict[str, set[str]]:
    """Return the lines that run for a token, by file, without their comments."""
    seen: dict[str, set[int]] = defaultdict(set)

    def note(frame: FrameType, event: str, arg: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        if PACKAGE not in path.parents:
            return None
        if event == "line":
            seen[path.relative_to(PACKAGE).as_posix()].add(frame.f_lineno)
        return note

    sys.settrace(note)
    engine.step(0)
    sys.settrace(None)
    return {
        name: {bare(source) for i, source in enumerate(sources(name), 1) if i in numbers}
        for name, numbers in seen.items()
    }


def sources(name: str) -> list[str]:
    """Return the lines of a file of the package."""
    return (PACKAGE / name).read_text("utf-8").splitlines()


def bare(line: str) -> str:
    """Return a line without indentation and comment."""
    return re.sub(r"\s+#.*", "", line.strip())


def main(path: str) -> None:
    """Print how many lines of each file run."""
    run = lines_run(BricksEngine(*families.load(Path(path))))
    heart = set(map(bare, sources("gpt.py")))
    for name, lines in sorted(run.items(), key=lambda item: -len(item[1])):
        same = "" if name == "gpt.py" else f"; {len(lines & heart)} stand in gpt.py, too"
        print(f"{name:24}{len(lines):4} lines{same}")


if __name__ == "__main__":
    main(sys.argv[1])
