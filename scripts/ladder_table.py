"""Write what `microgpt ladder --json` measured as the table of docs/ladder.md.

python scripts/ladder_table.py docs/ladder.json
"""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

from microgpt import ladder
from microgpt.llm import bricks

CODE = Path(bricks.__file__).read_text("utf-8").splitlines()


def table(measured: dict[str, Any]) -> str:
    """Return the table in Markdown; each brick leads to its part of bricks.py."""
    lines = [
        "| rung | who has it | parameters | rate | loss | change | speed |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in measured["rungs"]:
        if row["rung"] in ladder.BEGINNINGS:
            lines.append(f"| *{ladder.BEGINNINGS[row['rung']]}* | | | | | | |")
        lines.append(_row(row))
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    name = row["rung"] if row["below"] is None else f"+ {row['rung']}"
    change = ""
    if row["below"] is not None:
        change = f"{row['change']:+.4f} ± {row['margin']:.4f}"
        change += "" if row["differs"] else ": no difference seen"
    cells = [
        f"[{name}](../microgpt/llm/bricks.py#L{banner(row['brick'])})",
        row["who"],
        f"{row['parameters']:,}",
        f"{row['lr']:g}",
        f"{row['loss']:.4f} ± {row['spread']:.4f}",
        change,
        f"{row['speed']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def banner(brick: str) -> int:
    """Return the line of bricks.py that begins the part in which a function is."""
    _, line = inspect.getsourcelines(getattr(bricks, brick))
    while not CODE[line - 1].startswith("# ---- "):
        line -= 1
    return line


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
