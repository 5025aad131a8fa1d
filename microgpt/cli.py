"""The `microgpt` command: it parses, calls, shows progress and prints. Nothing is computed here."""

import json
import math
import os
import platform
import shlex
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Live

import microgpt
from microgpt import cartridge, checkpoint, dataset, engines, files, sampling, training, xray
from microgpt.xray.trace import PARTS

SAVE_EVERY = 10.0  # seconds between the checkpoints of a run
SIZES = ("n_layer", "n_embd", "n_head", "block_size")
Observer = Callable[[training.Progress], None]
KEPT = ("resume", "data", "out", "log", "keep_best")  # what may be said again with --resume


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 if it worked, 2 and one line if it could not, 130 on Ctrl-C."""
    try:
        status = commands(argv, prog_name="microgpt", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        status = _complain(error.format_message())
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        status = _complain(f"{where}{error.strerror or error}")
    except ValueError as error:
        status = _complain(str(error))
    except MemoryError:
        status = _complain("there is not enough memory for this; make the model smaller")
    except (KeyboardInterrupt, click.Abort):
        status = 130
    sys.exit(status or 0)


def _complain(message: str) -> int:
    print(f"microgpt: {' '.join(message.split())}", file=sys.stderr)
    return 2


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(microgpt.__version__, prog_name="microgpt", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """A complete GPT that one can hold in one's head: train it, sample it, look inside.

    Start reading at microgpt/gpt.py, the whole algorithm in 200 lines.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _settings_file(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the settings of a TOML file as defaults, each under its option's name."""
    if path is None:
        return
    try:
        settings = tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not a TOML file: {error}") from None
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    known = {p.name for p in context.command.params} - {"config", "resume", "help"}
    for name, value in settings.items():
        if name not in known or isinstance(value, dict | list):
            raise click.UsageError(
                f"{path} sets {name!r}; it may set {', '.join(sorted(filter(None, known)))}"
            )
    context.default_map = settings


@commands.command()
@click.option(
    "--config",
    metavar="FILE.toml",
    is_eager=True,
    expose_value=False,
    callback=_settings_file,
    help="Take options from a file: n_embd = 32, ...",
)
@click.option("--data", metavar="NAME|FILE", help="names, world, or a file of one document a line.")
@click.option("--engine", metavar="NAME", help="See `microgpt engines`; the best by default.")
@click.option("--dtype", metavar="NAME", help="float32 or float64, where an engine has both.")
@click.option("--steps", type=int, default=1000, show_default=True, help="Optimizer steps.")
@click.option("--batch", type=int, default=1, show_default=True, help="Documents a step.")
@click.option("--seed", type=int, default=42, show_default=True, help="Same seed, same run.")
@click.option("--lr", type=float, default=0.01, show_default=True, help="First learning rate.")
@click.option("--n-layer", type=int, default=1, show_default=True, help="Blocks.")
@click.option("--n-embd", type=int, default=16, show_default=True, help="Width of the model.")
@click.option("--n-head", type=int, default=4, show_default=True, help="Attention heads.")
@click.option("--block-size", type=int, default=16, show_default=True, help="Longest context.")
@click.option("--val", metavar="FRACTION", type=float, default=0.0, help="Hold out this share.")
@click.option("--out", metavar="FILE", help="Write the model (safetensors), now and then and last.")
@click.option("--keep-best", is_flag=True, help="Also keep the best by validation: FILE.best...")
@click.option("--log", metavar="FILE", help="Write one JSON line a step.")
@click.option("--resume", metavar="FILE", help="Go on with an interrupted run.")
@click.pass_context
def train(context: click.Context, /, **given: Any) -> int:
    """Train a model, and print twenty of its names.

    Without options this is gpt.py: document by document, on the published names where they can be
    had, else on the built-in ones.
    """
    run = _resume(context, given) if given["resume"] else _begin(given)
    out = given["out"] or given["resume"]
    if given["keep_best"] and not (out and run.settings.val):
        raise click.UsageError("--keep-best needs --out FILE to write to and --val to choose by")
    if out and not os.access(Path(out).absolute().parent, os.W_OK):
        raise click.UsageError(f"--out {out}: its folder is missing or cannot be written to")
    with _log(given["log"], run) as write:
        _introduce(run)
        finished = _advance(run, out, write, given["keep_best"])
    if finished:
        if out:
            run.checkpoint().model().save(out)
        _report(run)
        return 0
    path = out or _unused("interrupted.safetensors")
    run.checkpoint().save(path)
    _note(f"stopped after step {run.step} of {run.settings.steps}, and saved; to go on:")
    words = ["microgpt", "train", "--resume", path]
    words += ["--log", given["log"]] if given["log"] else []
    _note(shlex.join(words + (["--keep-best"] if given["keep_best"] else [])))
    return 130


def _begin(given: dict[str, Any]) -> training.Run:
    data = dataset.load(given["data"]) if given["data"] else dataset.default()
    if not given["data"] and data.name != "names":
        _note("the published names cannot be fetched; using the built-in ones (--data world)")
    if not given["engine"] and (reason := engines.missing(next(iter(engines.ENGINES)))):
        _note(f"the fastest engine is missing, training with {engines.default()}: {reason}")
    settings = training.Settings(
        **{name: given[name] for name in ("steps", "batch", "lr", "seed", "val")}
    )
    options = {"dtype": given["dtype"]} if given["dtype"] else {}
    return training.Run(
        data, settings, {name: given[name] for name in SIZES}, given["engine"], options
    )


def _resume(context: click.Context, given: dict[str, Any]) -> training.Run:
    for name in given:
        source = context.get_parameter_source(name)
        if name not in KEPT and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} cannot be changed in a run that is resumed; "
                "--data, --out, --log and --keep-best can be said again"
            )
    loaded = checkpoint.Checkpoint.load(given["resume"])
    try:
        return training.Run.resume(loaded, given["data"] and dataset.load(given["data"]))
    except ValueError as error:
        raise click.UsageError(f"cannot resume {given['resume']}: {error}") from None


def _introduce(run: training.Run) -> None:
    """Print what is about to happen, and the command line that makes it happen again."""
    config, data = run.config, run.dataset
    print(
        f"{data.name}: {len(data.documents):,} documents, {config.vocab_size - 1} characters; "
        f"{config.n_params:,} parameters; engine {run.engine_name}"
    )
    words = ["microgpt", "train", "--data", run.dataset.name, "--engine", run.engine_name]
    for name in ("steps", "batch", "seed", "lr"):
        words += [f"--{name}", str(getattr(run.settings, name))]
    for name in SIZES:
        words += [f"--{name.replace('_', '-')}", str(getattr(run.config, name))]
    for name, value in run.options.items():
        words += [f"--{name}", str(value)]
    words += ["--val", str(run.settings.val)] if run.settings.val else []
    print(f"repeat with: {shlex.join(words)}", flush=True)


def _advance(run: training.Run, out: str | None, write: Observer, keep_best: bool) -> bool:
    """Take the steps that are left, saving and showing how it goes; False if interrupted."""
    saved = began = time.monotonic()
    first = run.step
    with _interrupt() as interrupted, _display(run) as show:
        for progress in run.advance():
            write(progress)
            show(progress, (progress.step - first) / (time.monotonic() - began))
            if out and keep_best and progress.is_best:
                run.checkpoint().model().save(Path(out).with_suffix(f".best{Path(out).suffix}"))
            if out and time.monotonic() - saved > SAVE_EVERY:
                run.checkpoint().save(out)
                saved = time.monotonic()
            if interrupted():
                break
    return run.step == run.settings.steps


def _unused(path: str) -> str:
    """Return the path, or if there is such a file, one like it with a number that is free."""
    free, number = Path(path), 1
    while free.exists():
        number += 1
        free = Path(path).with_stem(f"{Path(path).stem}-{number}")
    return str(free)


@contextmanager
def _log(path: str | None, run: training.Run) -> Iterator[Observer]:
    """Give a function that writes a progress as JSON lines, going on where the run stands."""
    if path is None:
        yield lambda progress: None
        return
    if run.step:  # what an interrupted run logged past its last checkpoint is run again
        kept = Path(path).read_bytes().splitlines(keepends=True)[: run.step]
        files.write(path, b"".join(kept))
    with open(path, "a" if run.step else "w", encoding="utf-8") as file:

        def write(progress: training.Progress) -> None:
            first = progress.step - len(progress.losses)
            for step, loss in enumerate(progress.losses, first):
                lr = run.settings.learning_rate(step)
                line: dict[str, float] = {"step": step + 1, "loss": loss, "lr": lr}
                if step + 1 == progress.step and progress.val_loss is not None:
                    line["val_loss"] = progress.val_loss
                file.write(json.dumps(line) + "\n")
            file.flush()

        yield write


@contextmanager
def _interrupt() -> Iterator[Callable[[], bool]]:
    """Give a function that tells whether Ctrl-C (or SIGTERM) has asked for a stop."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signum, before[signum])  # asked twice, it stops at once

    before = {int(s): signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def _display(run: training.Run) -> Iterator[Callable[[training.Progress, float], None]]:
    """Give a function that shows a progress and its speed: live, or by a line now and then."""
    console, total = Console(stderr=True), run.settings.steps
    smooth, val = 0.0, ""
    live = Live(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("loss {task.fields[loss]:.4f}{task.fields[val]}"),
        TextColumn("{task.fields[speed]:,.0f} steps/s"),
        TimeRemainingColumn(compact=True),
        console=console,
        expand=True,
        disable=not console.is_terminal,
    )
    task = live.add_task("", total=total, completed=run.step, loss=0.0, val="", speed=0.0)
    printed = run.step * 10 // total

    def show(progress: training.Progress, speed: float) -> None:
        nonlocal smooth, val, printed
        for step, loss in enumerate(progress.losses, progress.step - len(progress.losses)):
            keep = min(step / (step + 1), 0.98)  # a mean at first, then one of the last fifty
            smooth = keep * smooth + (1 - keep) * loss if smooth else loss
        if progress.val_loss is not None:
            val = f" val {progress.val_loss:.4f}"
        live.update(task, completed=progress.step, loss=smooth, val=val, speed=speed)
        if not console.is_terminal and progress.step * 10 // total > printed:
            printed = progress.step * 10 // total
            eta = round((total - progress.step) / speed)
            _note(
                f"step {progress.step}/{total} | loss {smooth:.4f}{val} | "
                f"{speed:,.0f} steps/s | {eta} s left"
            )

    with live:
        yield show


def _report(run: training.Run) -> None:
    """Print what the loss means, and twenty names."""
    uniform, bigram = run.standard()
    if run.test:
        print(f"loss on {len(run.test):,} held-out documents (nats/token):")
        model = run.test_loss()
    else:
        print("loss (nats/token) over the last 50 steps, on documents that it learns from:")
        model = sum(run.losses[-50:]) / len(run.losses[-50:])
    print(f"  {uniform:.4f}  knowing nothing: {run.config.vocab_size} tokens, all equally likely")
    print(f"  {bigram:.4f}  counting pairs of characters")
    print(f"  {model:.4f}  this model")
    names = run.model.sample(20)
    known = set(run.dataset.documents)
    for name in names:
        print(name)
    old = sum(name in known for name in names)
    print(f"{old} of these {len(names)} stand in the data, {len(names) - old} are new")


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@commands.command()
@click.argument("model")
@click.option("-n", "count", type=int, default=20, show_default=True, help="How many.")
@click.option("--temperature", type=float, default=0.5, show_default=True, help="0 is greedy.")
@click.option("--top-k", type=int, help="Choose among the K likeliest tokens only.")
@click.option("--top-p", type=float, help="Among the likeliest that together reach P.")
@click.option("--seed", type=int, help="Same seed, same names; drawn and shown if not given.")
@click.option("--prefix", default="", metavar="TEXT", help="What each name begins with.")
@click.option("--engine", metavar="NAME", help="See `microgpt engines`; the best by default.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def sample(model: str, engine: str | None, as_json: bool, **given: Any) -> None:
    """Invent new names, a line each."""
    loaded = microgpt.load(model, engine)
    unseeded = given["seed"] is None
    if unseeded:
        given["seed"] = sampling.fresh_seed()
    names = loaded.sample(**given)
    if unseeded and not as_json:
        _note(f"--seed {given['seed']}")
    if as_json:
        print(json.dumps(given | {"documents": names}, ensure_ascii=False))
    else:
        for name in names:
            print(name)


@commands.command()
@click.argument("model")
@click.option("--temperature", type=float, default=0.5, show_default=True, help="0 is greedy.")
@click.option("--engine", metavar="NAME", help="See `microgpt engines`; the best by default.")
def chat(model: str, temperature: float, engine: str | None) -> None:
    """Complete what you type, line after line; Ctrl-D ends it."""
    loaded = microgpt.load(model, engine)
    sampling.Sampling(temperature)
    while True:
        try:
            prefix = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            print(*loaded.sample(1, temperature, prefix=prefix), flush=True)
        except ValueError as error:  # a slip of the fingers does not end the conversation
            _note(str(error))


@commands.command()
@click.argument("model")
@click.argument("text", nargs=-1)
@click.option("--engine", metavar="NAME", help="See `microgpt engines`; the best by default.")
def score(model: str, text: tuple[str, ...], engine: str | None) -> None:
    """Tell how likely documents are, token by token (nats).

    Reads them from the command line, else from standard input, one a line.
    """
    loaded = microgpt.load(model, engine)
    lines = text or (line.strip() for line in sys.stdin if line.strip())
    for line in lines:
        _print_score(loaded.score(line))


def _print_score(scored: microgpt.model.Score) -> None:
    bigrams: Sequence[float | None] = scored.bigram or [None] * len(scored.tokens)
    print(f"{scored.text}\n  token  probability    nats  uniform  bigram")
    for token, loss, bigram in zip(scored.tokens, scored.losses, bigrams, strict=True):
        shown = f"{bigram:8.4f}" if bigram is not None else "       -"
        print(
            f"  {token or 'BOS':5}  {math.exp(-loss):11.4%}{loss:8.4f}{scored.uniform:9.4f}{shown}"
        )
    mean = sum(scored.bigram) / len(scored.bigram) if scored.bigram else None
    shown = f"{mean:8.4f}" if mean is not None else "       -"
    print(f"  mean              {scored.loss:8.4f}{scored.uniform:9.4f}{shown}")
    print(f"  the whole document: probability {scored.probability:.3g}\n")


@commands.command()
@click.argument("model")
def info(model: str) -> None:
    """Show a model's sizes, parameters, vocabulary and training record."""
    loaded = checkpoint.Checkpoint.load(model)
    for name, size in asdict(loaded.config).items():
        print(f"{name:18}{size}")
    print(f"{'parameters':18}{loaded.config.n_params:,}")
    for name, (rows, columns) in loaded.config.shapes():
        print(f"  {name:16}{rows:>5} x {columns:<5}{rows * columns:>10,}")
    print(f"{'vocabulary':18}{loaded.vocabulary} and BOS")
    for name, value in loaded.training.items():
        if name not in ("random", "bigrams"):
            print(f"{name:18}{value if isinstance(value, str) else json.dumps(value)}")
    if "adam.t" in loaded.state:
        _note("the run is not finished; --resume goes on with it")


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
    """Open the lab: a page that shows the model at work, inside out.

    Without MODEL it shows the one that ships with microgpt. Only this machine can reach it; the
    site that --export writes can stand on any web server, and needs nothing but its files.
    """
    from microgpt.lab import app, export  # a web server is no burden for the other commands

    if site is not None:
        written = [
            file for file in export.export(model, site, pyodide).rglob("*") if file.is_file()
        ]
        size = sum(file.stat().st_size for file in written) / 1e6
        print(f"{site}: {len(written)} files, {size:.1f} MB, for any web server. To see it here:")
        return print(f"  python -m http.server -d {site}    and open http://localhost:8000")
    print("The lab is open; Ctrl-C closes it.", flush=True)
    app.serve(model, port, lambda address: print(address, flush=True), not no_browser)


@commands.command(name="engines")
def list_engines() -> None:
    """List the engines: which are there, and how to get those that are not."""
    for name in engines.ENGINES:
        print(f"{name:10}{engines.about(name)}")


@commands.command()
def bench() -> None:
    """Time a training step of each engine on this machine, beside gpt.py."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}")
    print(f"{'engine':10}{'us a document, batch 1':>24}{'batch 16':>12}{'times gpt.py':>16}")
    speeds = {name: training.time_steps(name) for name in reversed(engines.ENGINES)}
    for name, speed in speeds.items():
        if speed and speeds["scalar"]:
            times = speeds["scalar"][0] / speed[0]
            print(f"{name:10}{speed[0]:>24,.1f}{speed[1]:>12,.1f}{times:>16,.0f}")


@commands.command()
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
        settings = run.settings
        print(
            f"training first: {settings.steps:,} steps of {settings.batch} documents "
            f"({run.dataset.name}), engine {run.engine_name}"
        )
        if not _advance(run, None, lambda progress: None, False):
            return 130
        trained = run.checkpoint().model()
    made = cartridge.make(name, trained)
    files.write(out, made.rom.data)
    for line in made.report():
        print(line)
    print(f"{out}: open it in a SNES emulator, or `microgpt play {shlex.quote(out)}`")
    return 0


@commands.command()
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
        print(name, flush=True)


if __name__ == "__main__":
    main()
