"""The Super Nintendo: microgpt rom and play."""

import shlex
from pathlib import Path

import click

from microgpt import cartridge, checkpoint, files
from microgpt.cli.commands import group
from microgpt.cli.progress import advance
from microgpt.cli.terminal import say


@group.command()
@click.argument("model", required=False)
@click.option(
    "--cartridge", "name", default="classic", show_default=True, help="classic, or turbo."
)
@click.option("-o", "--out", metavar="FILE", default="names.sfc", show_default=True)
def rom(model: str | None, name: str, out: str) -> int:
    """Make a Super Nintendo cartridge of a model.

    Without a model, it is trained first, on nine tenths of the names.
    """
    if model:
        trained = checkpoint.Checkpoint.load(model).model()
    else:
        run = cartridge.start(name)
        say(
            f"training first: {run.settings.steps:,} steps of {run.feed.batch_size} documents "
            f"({run.feed.dataset.name}), engine {run.engine_name}"
        )
        if not advance(run):
            return 130
        trained = run.checkpoint().model()
    built = cartridge.build(name, trained)
    files.write(out, built.rom.data)
    for line in built.lines() + cartridge.measure(built, *cartridge.documents(trained)).lines():
        say(line)
    say(f"{out}: open it in a SNES emulator, or `microgpt play {shlex.quote(out)}`")
    return 0


@group.command()
@click.argument("file")
@click.option("--core", metavar="NAME|FILE", help="A libretro core; the fastest found by default.")
@click.option("--frames", type=int, metavar="N", help="Until 20 names are there, by default.")
@click.option("--press", multiple=True, metavar="BUTTON@FRAME", help="Such as select@300.")
@click.option("--screenshot", metavar="FILE.png", help="Write the last frame to a file.")
def play(
    file: str, core: str | None, frames: int | None, press: tuple[str, ...], screenshot: str | None
) -> None:
    """Run a cartridge in an emulator; print its names."""
    presses = [cartridge.Press.of(text) for text in press]
    for name in cartridge.play(Path(file).read_bytes(), core, frames, presses, screenshot):
        say(name, flush=True)
