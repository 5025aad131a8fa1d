"""What shows a model inside out: microgpt xray and lab."""

import click

from microgpt import xray
from microgpt.cli import commands
from microgpt.xray.trace import PARTS


@commands.command(name="xray")
@click.argument("document", metavar="NAME")
@click.argument("model", required=False)
@click.option("-o", "--out", metavar="FILE", help="Write the trace (JSON; see docs/xray.md).")
@click.option(
    "--with",
    "parts",
    metavar="PARTS",
    default="",
    help=f"Heavy parts to write too: {','.join(PARTS)}.",
)
def watch(document: str, model: str | None, out: str | None, parts: str) -> None:
    """Watch gpt.py learn from one document, line by line.

    Without a MODEL, it is watched as it is before training.
    """
    trace = xray.record(document, model)
    if out:
        trace.save(out, filter(None, parts.split(",")))
    print(trace)


@commands.command()
@click.argument("model", required=False)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--no-browser", is_flag=True, help="Print the address; open nothing.")
@click.option("--export", "site", metavar="DIR", help="Write the lab as a static web site instead.")
@click.option(
    "--pyodide",
    metavar="DIR",
    default="node_modules/pyodide",
    show_default=True,
    help="Where npm put Pyodide, which the site runs on.",
)
def lab(model: str | None, port: int, no_browser: bool, site: str | None, pyodide: str) -> None:
    """Open the lab: a page that shows the model at work.

    Without MODEL it shows the one that ships with microgpt. Only this machine can reach it; the
    site that --export writes works on any web server, and needs nothing but its files.
    """
    from microgpt.lab import export, server  # a web server is no burden for the other commands

    if site is not None:
        written = [
            file for file in export.export(model, site, pyodide).rglob("*") if file.is_file()
        ]
        size = sum(file.stat().st_size for file in written) / 1e6
        print(f"{site}: {len(written)} files, {size:.1f} MB, for any web server. To see it here:")
        return print(f"  python -m http.server -d {site}    and open http://localhost:8000")
    print("The lab is open; Ctrl-C closes it.", flush=True)
    server.serve(model, port, lambda address: print(address, flush=True), not no_browser)
