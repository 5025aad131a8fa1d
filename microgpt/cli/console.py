"""The Super Nintendo: microgpt rom and play."""

import shlex
from pathlib import Path
from typing import Any

import click

from microgpt import cartridge, checkpoint, files
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import advance, one_process
from microgpt.cli.terminal import note, say


@group.command()
@click.argument("model", type=options.File(), required=False)
@click.option("--cartridge", "name", default="classic", help="classic, or turbo.")
@click.option("-o", "--out", metavar="FILE", type=options.File(), default="names.sfc")
@click.option("--title", metavar="TEXT", help="The name in the header: up to 21 ASCII characters.")
def rom(model: str | None, name: str, out: str, title: str | None) -> int:
    """Make a Super Nintendo cartridge of a model.

    Without a model, one is trained first, on nine tenths of the names, and kept beside the
    cartridge.
    """
    one_process("rom")
    files.target(out, [model] if model else [])
    cartridge.check(name, title)
    kept = files.unused(Path(out).with_suffix(".safetensors"))
    if model:
        trained = checkpoint.Checkpoint.load(model).model()
    else:
        run = cartridge.start(name)
        files.target(kept, [out])
        say(
            f"training first: {run.settings.steps:,} steps of {run.feed.batch_size} documents "
            f"({run.feed.dataset.name}), engine {run.engine_name}",
            flush=True,
        )
        finished = advance(run, str(kept))
        trained = run.checkpoint().model()
        trained.save(kept)
        if not finished:
            note(f"stopped after step {run.step} of {run.settings.steps}; to make a cartridge of")
            note(f"the model as it is: microgpt rom {shlex.quote(str(kept))} --cartridge {name}")
            return 130
        say(f"{kept}: the model that was trained; `microgpt sample` and the others read it")
    built = cartridge.build(name, trained, title)
    files.write(out, built.rom.data)
    for line in built.lines() + cartridge.measure(built, *cartridge.documents(trained)).lines():
        say(line)
    say(f"{out}: open it in a SNES emulator, or `microgpt play {shlex.quote(out)}`")
    return 0


@group.command()
@click.argument("file", type=options.File())
@click.option(
    "--core",
    metavar="NAME|FILE",
    type=options.File(),
    help="A libretro core; the fastest found by default.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Until 20 names, by default.")
@click.option("--press", multiple=True, metavar="BUTTON@FRAME", help="Such as select@300.")
@click.option(
    "--screenshot", metavar="FILE.png", type=options.File(), help="Write the last frame to a file."
)
@click.option(
    "--check",
    metavar="MODEL",
    type=options.File(),
    help="Compare every token of a list with a model's integers.",
)
def play(file: str, core: str | None, check: str | None, **given: Any) -> int:
    """Run a cartridge in an emulator; print its names.

    With --check it prints one line instead: whether every token, random number, logit and
    probability of its first list is what the integers of MODEL give. It exits with 1 if not.
    """
    data = Path(file).read_bytes()
    if check:
        if given["frames"] is not None or given["press"] or given["screenshot"]:
            raise click.UsageError("--check goes with --core alone: it makes a list of its own")
        verdict = cartridge.verify(data, checkpoint.Checkpoint.load(check).model(), core)
        say(str(verdict))
        return int(verdict.difference is not None)
    if given["screenshot"]:
        files.target(given["screenshot"], [file, *filter(None, [core])])
    presses = [cartridge.Press.of(text) for text in given["press"]]
    for name in cartridge.play(data, core, given["frames"], presses, given["screenshot"]):
        say(name, flush=True)
    return 0
