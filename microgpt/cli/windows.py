"""What shows a model inside out: microgpt xray and lab."""

import shlex
import sys

import click

from microgpt import files, xray
from microgpt.checkpoint import SHIPPED
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.terminal import note, say
from microgpt.llm import pretrained
from microgpt.xray.trace import PARTS


def _parts(context: click.Context, param: click.Parameter, given: str | None) -> list[str]:
    parts = given.split(",") if given else []
    for part in parts:
        if part not in PARTS:
            raise click.BadParameter(f"{part!r} is not one of {', '.join(PARTS)}")
    return parts


@group.command(name="xray")
@click.argument("document", metavar="NAME")
@click.argument("model", type=options.File(), required=False)
@options.out("Write the trace (JSON; see docs/xray.md).")
@click.option(
    "--with",
    "parts",
    metavar="PARTS",
    callback=_parts,
    help=f"Heavy parts to write too: {','.join(PARTS)}.",
)
def watch(document: str, model: str | None, out: str | None, parts: list[str]) -> None:
    """Watch gpt.py learn from one document, line by line.

    Without MODEL, the trained one that ships with microgpt is watched.
    """
    if parts and not out:
        raise click.UsageError("--with says what -o writes; add -o FILE")
    if out:
        files.target(out, [model] if model else [])
    trace = xray.record(document, model or SHIPPED)
    if out:
        trace.save(out, parts)
    if not model:
        say("the trained model that ships with microgpt; for another: microgpt xray NAME MODEL")
    for line in str(trace).split("\n"):
        say(line)


@group.command()
@click.argument("model", type=options.File(), required=False)
@click.option(
    "--beside",
    metavar="MODEL",
    type=options.File(),
    help="Show another model beside it, for the same text.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, help="0 takes a free one.")
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@click.option(
    "--export",
    "site",
    metavar="DIR",
    type=options.File(),
    help="Write the lab as a static web site instead.",
)
@click.option(
    "--pyodide",
    metavar="DIR",
    type=options.File(),
    default="node_modules/pyodide",
    help="Where npm put Pyodide, which the site runs on.",
)
def lab(
    model: str | None,
    beside: str | None,
    port: int,
    no_browser: bool,
    site: str | None,
    pyodide: str,
) -> None:
    """Open the lab: a page that shows the model at work.

    Without MODEL it shows the one that ships with microgpt. MODEL is a file that train wrote; or it
    is a published model, a folder of Hugging Face or a GGUF file: you see every head and layer of
    it, and the lessons keep the model that ships with microgpt. Only this machine can reach the
    page; the site that --export writes works on any web server, and needs nothing but its files.
    """
    from microgpt.lab import export, server  # the other commands need no web server

    opened = [model or str(SHIPPED), beside] if beside else [model] if model else []
    if site is not None:
        written = [
            file for file in export.export(opened, site, pyodide).rglob("*") if file.is_file()
        ]
        size = sum(file.stat().st_size for file in written) / 1e6
        say(f"{site}: {len(written)} files, {size:.1f} MB, for any web server. To see it here:")
        say(f"  python -m http.server -d {shlex.quote(site)}    and open http://localhost:8000")
        return

    if sys.stderr.isatty() and any(pretrained.is_one(path) for path in opened):
        note("reading the model")

    def show(address: str) -> None:
        say("The lab is open; Ctrl-C closes it.")
        say(address, flush=True)

    server.serve(opened, port, show, not no_browser)
