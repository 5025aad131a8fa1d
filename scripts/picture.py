"""Draw a real run as an SVG: the command is run, and what it prints is the picture.

python scripts/picture.py docs/names.svg
"""

import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COMMAND = ["microgpt", "train", "--data", "names"]


def main(path: str) -> None:
    """Run the command and write what it printed to an SVG of 80 columns."""
    run = subprocess.run(
        [sys.executable, "-m", "microgpt", *COMMAND[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    names = lines[-21:-1]
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ " + " ".join(COMMAND), style="bold"))
    for line in lines[:-21]:
        console.print(Text(line, style="dim" if line.startswith(("step", "repeat")) else ""))
    for start in range(0, len(names), 5):  # the command prints one name a line; five save space
        console.print(
            Text("".join(f"{name:16}" for name in names[start : start + 5]), style="green")
        )
    console.print(Text(lines[-1]))
    svg = console.export_svg(title="make names")
    svg = re.sub(r"@font-face {.*?}", "", svg, flags=re.S)  # a picture that loads nothing
    Path(path).write_text(svg, "utf-8")


main(sys.argv[1])
