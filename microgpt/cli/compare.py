"""MicroGPT beside production models: microgpt compare."""

import json
import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import click

from microgpt.checkpoint import Checkpoint
from microgpt.cli.commands import group
from microgpt.cli.terminal import say
from microgpt.llm import comparison, pretrained
from microgpt.llm.presets import PRESETS, Published

SHOWN = ("gpt2", "llama-3.1-405b")
BESIDE = 2  # models that fit beside MicroGPT
LABEL, COLUMN, WIDTH = 24, 16, 80  # characters: a row's name, a model's cell, a line


def _names(context: click.Context, param: click.Parameter, typed: str) -> list[str]:
    return [name for name in PRESETS if name.startswith(typed)]


@group.command()
@click.argument("models", nargs=-1, metavar="[MODEL|FOLDER|NAME]...", shell_complete=_names)
@click.option(
    "--speed",
    type=float,
    metavar="FLOP/S",
    default=comparison.SPEED,
    show_default="4e14, two fifths of an H100",
    help="How fast a training run computes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(models: tuple[str, ...], speed: float, as_json: bool) -> None:
    """Show models beside MicroGPT: same, changed, or only bigger.

    A model is a file of yours, a folder of Hugging Face or a GGUF file, or a published model by its
    name. Without any, two are shown, and the names of all; --json gives all.
    """
    if not 0 < speed < math.inf:
        raise click.UsageError(f"--speed is {speed}; it must be FLOP/s, more than 0")
    chosen = models or (tuple(PRESETS) if as_json else SHOWN)
    others = [name for name in dict.fromkeys(chosen) if name != "microgpt"]
    entries = [comparison.entry(name, _find(name), speed) for name in ("microgpt", *others)]
    if as_json:
        return say(json.dumps({"models": entries, "bricks": comparison.code()}, ensure_ascii=False))
    for line in _lines(entries):
        say(line)
    if not models:
        say("")
        for line in textwrap.wrap(f"By name: {' '.join(PRESETS)}", WIDTH, break_on_hyphens=False):
            say(line)


def _find(name: str) -> Published:
    """Return a published model, or what a file holds."""
    if name in PRESETS:
        return PRESETS[name]
    path = os.path.expanduser(name)
    title = os.path.basename(os.path.abspath(path))
    if pretrained.is_one(path):
        return comparison.of_architecture(pretrained.architecture(path), title)
    if os.path.exists(path):
        return comparison.of_checkpoint(Checkpoint.load(path), title)
    raise click.UsageError(f"{name!r} is not a file or a folder, nor one of {', '.join(PRESETS)}")


def _lines(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield MicroGPT beside the others, a few at a time, then each of them part by part."""
    ours, others = entries[0], entries[1:]
    for i in range(0, max(1, len(others)), BESIDE):
        if i:
            yield ""
        yield from _table([ours, *others[i : i + BESIDE]])
    for other in others:
        yield ""
        yield from _parts(other)


def _table(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield from _row("", [entry["title"] for entry in entries])
    yield ""
    for name in entries[0]["overview"]:
        yield from _row(name, [entry["overview"][name] for entry in entries])
    yield ""
    for name in entries[0]["parts"]:
        cells = [entry["parts"][name] for entry in entries]
        if any(cells):
            yield from _row(name, [f"{number:,}" for number in cells])
    yield ""
    for rows in zip(*(entry["costs"] for entry in entries), strict=True):
        yield from _row(rows[0]["name"], [row["text"] for row in rows])


def _row(name: str, cells: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a row; what is too long for its cell goes on in the next line."""
    wrapped = [textwrap.wrap(cell, COLUMN) or [""] for cell in cells]
    for i in range(max(map(len, wrapped))):
        line = f"{'' if i else name:{LABEL}}"
        for lines in wrapped:
            line += f"  {lines[i] if i < len(lines) else '':{COLUMN}}"
        yield line.rstrip()


def _parts(entry: dict[str, Any]) -> Iterator[str]:
    """Yield the six components of a model: what is the same, changed, and only bigger."""
    yield f"{entry['title']} beside MicroGPT"
    yield from _point("source", entry["source"])
    for part in entry["components"]:
        yield part["component"]
        yield from _point("same", part["same"])
        for change in part["changed"]:
            taught = " and ".join(map(str, change["lessons"]))
            more = f" To write it: microgpt school, {taught}." if taught else ""
            yield from _point("changed", f"{change['name']}: {change['sentence']}{more}")
        for size in part["bigger"]:
            yield from _point("bigger", f"{size['name']}: {size['text']}")


def _point(kind: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=f"  {kind:9}", subsequent_indent=" " * 11)
