"""Measurements: each module measures one thing, and writes what it found as JSON."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def report(measure: Callable[[], dict[str, Any]], module: str, doc: str | None) -> None:
    """Measure, then print the result and write it beside the module, or to --out FILE."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(module).with_suffix(".json"))
    out = parser.parse_args().out
    text = json.dumps(measure(), indent=2)
    out.write_text(text + "\n", "utf-8")
    sys.stdout.write(text + "\n")
