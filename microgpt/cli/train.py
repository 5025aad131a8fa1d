"""microgpt train: from settings to a run, and what it says before and after."""

import os
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click

from microgpt import checkpoint, dataset, engines, files, training
from microgpt.cli import commands, note
from microgpt.cli.progress import advance, log
from microgpt.feed import Pretraining

SIZES = ("n_layer", "n_embd", "n_head", "block_size")
KEPT = ("resume", "data", "out", "log", "keep_best")  # what may be said again with --resume


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
    if given["keep_best"] and not (out and run.val):
        raise click.UsageError("--keep-best needs --out FILE to write to and --val to choose by")
    if out and not os.access(Path(out).absolute().parent, os.W_OK):
        raise click.UsageError(f"--out {out}: its folder is missing or cannot be written to")
    with log(given["log"], run) as write:
        _introduce(run)
        finished = advance(run, out, write, given["keep_best"])
    if finished:
        if out:
            run.checkpoint().model().save(out)
        _report(run)
        return 0
    path = out or str(files.unused("interrupted.safetensors"))
    run.checkpoint().save(path)
    note(f"stopped after step {run.step} of {run.settings.steps}, and saved; to go on:")
    words = ["microgpt", "train", "--resume", path]
    words += ["--log", given["log"]] if given["log"] else []
    note(shlex.join(words + (["--keep-best"] if given["keep_best"] else [])))
    return 130


def _begin(given: dict[str, Any]) -> training.Run[Pretraining]:
    data = dataset.load(given["data"]) if given["data"] else dataset.default()
    if not given["data"] and data.name != "names":
        note("the published names cannot be fetched; using the built-in ones (--data world)")
    if not given["engine"] and (reason := engines.missing(next(iter(engines.ENGINES)))):
        note(f"the fastest engine is missing, training with {engines.default()}: {reason}")
    fed = Pretraining(data, given["batch"], given["val"], given["seed"])
    settings = training.Settings(given["steps"], given["lr"])
    options = {"dtype": given["dtype"]} if given["dtype"] else {}
    sizes = {name: given[name] for name in SIZES}
    return training.Run(fed, settings, given["engine"], sizes=sizes, options=options)


def _resume(context: click.Context, given: dict[str, Any]) -> training.Run[Pretraining]:
    for name in given:
        source = context.get_parameter_source(name)
        if name not in KEPT and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} cannot be changed in a run that is resumed; "
                "--data, --out, --log and --keep-best can be said again"
            )
    loaded = checkpoint.Checkpoint.load(given["resume"])
    try:
        moved = dataset.load(given["data"]) if given["data"] else None
        return training.Run.resume(loaded, Pretraining.of(loaded, moved) if moved else None)
    except ValueError as error:
        raise click.UsageError(f"cannot resume {given['resume']}: {error}") from None


def _introduce(run: training.Run[Pretraining]) -> None:
    """Print what is about to happen, and the command line that makes it happen again."""
    config, data, fed = run.config, run.feed.dataset, run.feed
    print(
        f"{data.name}: {len(data.documents):,} documents, {config.vocab_size - 1} characters; "
        f"{config.n_params:,} parameters; engine {run.engine_name}"
    )
    words = ["microgpt", "train", "--data", data.name, "--engine", run.engine_name]
    words += ["--steps", str(run.settings.steps), "--batch", str(fed.batch_size)]
    words += ["--seed", str(fed.seed), "--lr", str(run.settings.lr)]
    for name in SIZES:
        words += [f"--{name.replace('_', '-')}", str(getattr(run.config, name))]
    for name, value in run.options.items():
        words += [f"--{name}", str(value)]
    words += ["--val", str(fed.fraction)] if fed.fraction else []
    print(f"repeat with: {shlex.join(words)}", flush=True)


def _report(run: training.Run[Pretraining]) -> None:
    """Print what the loss means, and twenty names."""
    uniform, bigram = run.baselines()
    if run.test:
        print(f"loss on {len(run.test):,} held-out documents (nats/token):")
        model = run.test_loss()
    else:
        print("loss (nats/token) over the last 50 steps, on documents that it learns from:")
        model = sum(run.losses[-50:]) / len(run.losses[-50:])
    print(f"  {uniform:.4f}  knowing nothing: {run.config.vocab_size} tokens, all equally likely")
    print(f"  {bigram:.4f}  counting pairs of characters")
    print(f"  {model:.4f}  this model")
    names = run.model().sample(20)
    known = set(run.feed.dataset.documents)
    for name in names:
        print(name)
    old = sum(name in known for name in names)
    print(f"{len(names) - old} of these {len(names)} names are new; {old} are in the training data")
