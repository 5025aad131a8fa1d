"""microgpt train: from settings to a run, and what it says before and after."""

import os
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from microgpt import dataset, engines, files
from microgpt.checkpoint import Checkpoint
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import advance, best, can_spread, counting, log, parts, save, save_model
from microgpt.cli.terminal import note, say, tell
from microgpt.config import Adam
from microgpt.corpus import Corpus, Survey
from microgpt.engines.base import PeerLost, process
from microgpt.feed import Pretraining
from microgpt.text import FEEDS, RunningText, of
from microgpt.tokenizer import Tokenizer, create, named
from microgpt.training import Run, Settings
from microgpt.tuning import lineage

SIZES = ("n_layer", "n_embd", "n_head", "block_size")
FEED = ("batch", "val", "seed")
LARGE = 50_000_000  # bytes of text that take seconds to read
WRITTEN = 300  # tokens of running text, printed at the end
SETTINGS = ("steps", "lr", "warmup", "patience")
ENGINE = ("dtype", "device", "autocast", "compile", "fsdp", "micro_batch")
OPTIMIZER = ("beta1", "beta2", "weight_decay")
SHOWN = ("data", "engine", "steps", "batch", "seed", "lr", *SIZES)  # in every "repeat with" line
FASTEST = next(iter(engines.ENGINES))
KINDS = {  # what a settings file may give for a parameter of such a type
    "integer": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}


def _settings_file(context: click.Context, _: click.Parameter, paths: tuple[str, ...]) -> None:
    """Take the settings of a TOML file as defaults, each under its option's name."""
    if not paths:
        return
    if len(paths) > 1:
        raise click.UsageError("--config is given twice; put the settings into one file")
    (path,) = paths
    try:
        settings = tomllib.loads(Path(path).read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} is not a TOML file: {error}") from None
    settings = {name.replace("-", "_"): value for name, value in settings.items()}
    known = {
        p.name: p for p in context.command.params if p.name not in ("config", "resume", "help")
    }
    for name, value in settings.items():
        if name not in known:
            allowed = ", ".join(sorted(filter(None, known)))
            raise click.UsageError(f"{path} sets {name!r}; it may set {allowed}")
        types, what = KINDS.get(known[name].type.name, ((str,), "a text"))
        if type(value) not in types:
            raise click.UsageError(f"{path} sets {name} to {value!r}; it must be {what}")
    context.default_map = settings


@group.command()
@click.option(
    "--config",
    metavar="FILE.toml",
    type=options.File(),
    is_eager=True,
    multiple=True,
    expose_value=False,
    callback=_settings_file,
    help="Take options from a file: n_embd = 32, ...",
)
@options.data(
    "names, world, -, a file of one document a line, a folder, or '*.jsonl'.",
    default="names, or world where these cannot be fetched",
)
@options.engine
@options.dtype
@options.device
@click.option("--autocast", is_flag=True, help="pytorch: matrix products in bfloat16.")
@click.option("--compile", is_flag=True, help="pytorch: torch.compile; a slow start.")
@click.option("--fsdp", is_flag=True, help="pytorch: shard the model over torchrun's processes.")
@click.option("--micro-batch", type=int, help="pytorch: documents at once; the rest adds up.")
@click.option("--steps", type=int, default=1000, help="Optimizer steps.")
@click.option(
    "--tokenizer",
    metavar="NAME|FILE",
    type=options.File(),
    default=Tokenizer.name,
    help="Also bpe:N, to learn N tokens of byte pairs, or a tokenizer.json.",
)
@click.option("--windows", is_flag=True, help="Learn running text: windows of it, at random.")
@click.option("--stream", is_flag=True, help="The same in order, of text of any length.")
@click.option("--batch", type=int, default=1, help="Documents, or windows, a step.")
@click.option("--seed", type=int, default=42, help="Same seed, same run.")
@click.option("--lr", type=float, default=0.01, help="First learning rate; it falls to 0.")
@click.option("--warmup", type=int, default=0, help="Steps over which the rate rises.")
@click.option("--beta1", type=float, default=0.85, help="Adam: how much of the gradient is kept.")
@click.option("--beta2", type=float, default=0.99, help="Adam: the same for its square.")
@click.option("--weight-decay", type=float, default=0.0, help="AdamW: lr times this is taken off.")
@click.option("--n-layer", type=int, default=1, help="Blocks.")
@click.option("--n-embd", type=int, default=16, help="Width of the model.")
@click.option("--n-head", type=int, default=4, help="Attention heads.")
@click.option("--block-size", type=int, default=16, help="Longest context.")
@click.option("--val", type=float, default=0.0, help="Share held out, looked at ten times.")
@click.option("--patience", type=int, help="Stop after so many looks without a new best.")
@options.out("Write the model (safetensors), now and then and last.")
@click.option("--keep-best", is_flag=True, help="Also keep the best by validation: FILE.best...")
@click.option("--log", metavar="FILE", type=options.File(), help="Write one JSON line a step.")
@click.option("--from", "start", metavar="MODEL", type=options.File(), help="Start from a model.")
@click.option("--resume", metavar="FILE", type=options.File(), help="Go on with a stopped run.")
@click.option("-q", "--quiet", is_flag=True, help="Print the names only.")
@click.pass_context
def train(context: click.Context, /, **given: Any) -> int:
    """Train a model, and print twenty of its names.

    Without options this is gpt.py: document by document, on the published names where they can be
    had, else on the built-in ones.
    """
    if process().rank:  # one of many that train together: another one speaks
        given |= {"quiet": True, "log": None}
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
    run = _resume(context, given) if given["resume"] else _begin(context, given)
    can_spread(run)
    resumed = given["resume"]
    if resumed and os.path.isdir(resumed):  # of processes that trained together
        resumed = str(Path(resumed).with_suffix(".safetensors"))
    out = given["out"] or resumed
    if given["keep_best"] and not (out and run.feed.fraction):
        raise click.UsageError("--keep-best needs --out FILE to write to and --val to choose by")
    _check_files(run, out, given)
    run = _continued(run, out, given)
    try:
        with log(given["log"], run) as write:
            if not given["quiet"]:
                _warn(run, given)
                _introduce(run, given)
            finished = advance(run, out, write, given["keep_best"], given["quiet"])
    except BrokenPipeError:  # nobody reads how it goes any more
        if out:
            save(run, out)
        raise
    except PeerLost as error:
        note(f"microgpt: {error}; {_to_go_on(out)}")
        return 1
    if finished:
        if out:
            save_model(run, out)
        if run.step < run.settings.steps and not given["quiet"]:
            note(f"stopped after step {run.step}: patience; the best was {run.best_val_loss:.4f}")
        _report(run, given["quiet"])
        return 0
    path = save(run, out or str(files.unused("interrupted.safetensors")))
    if process().rank == 0:
        note(f"stopped after step {run.step} of {run.settings.steps}, and saved; to go on:")
        words = [*_command(), "train", "--resume", path]
        words += ["--log", given["log"]] if given["log"] else []
        note(shlex.join(words + (["--keep-best"] if given["keep_best"] else [])))
    return 130


def _command() -> list[str]:
    """Return the words that start this program as it was started: alone, or many at a time."""
    if process().size == 1:
        return ["microgpt"]
    return [
        "torchrun",
        "--standalone",
        f"--nproc-per-node={process().size}",
        "-m",
        "--",
        "microgpt",
    ]


def _to_go_on(out: str | None) -> str:
    """Return what a run that lost a process leaves, and how to go on."""
    if not out or not os.path.isdir(parts(out)):
        return "nothing was saved yet; start again" + ("" if out else ", with --out FILE")
    command = shlex.join([*_command(), "train", "--resume", parts(out)])
    return f"its last checkpoint is {parts(out)}; to go on: {command}"


def _begin(context: click.Context, given: dict[str, Any]) -> Run[Any]:
    if given["windows"] and given["stream"]:
        raise click.UsageError("--windows are taken at random, --stream is in order: give one")
    start = Checkpoint.load(given["start"]) if given["start"] else None
    if start:
        fixed = {name: getattr(start.config, name) for name in SIZES}
        fixed["tokenizer"] = create(start.vocabulary, ()).name
        _refuse_changes(context, fixed, "--from")
    vocabulary = start.vocabulary if start else named(given["tokenizer"])
    fed = {name: given[name] for name in FEED} | {"vocabulary": vocabulary}
    feed: Pretraining | RunningText
    if given["windows"] or given["stream"]:
        kind = FEEDS["stream" if given["stream"] else "windows"]
        size = start.config.block_size if start else given["block_size"]
        corpus = Corpus(given["data"] or dataset.default().name)
        feed = kind(corpus, size, **fed, survey=_survey(corpus, given["quiet"]))
    else:
        data = dataset.load(given["data"]) if given["data"] else dataset.default()
        feed = Pretraining(data, **fed)
    return Run(
        feed,
        Settings(
            **{name: given[name] for name in SETTINGS},
            optimizer=Adam(**{name: given[name] for name in OPTIMIZER}),
        ),
        given["engine"],
        sizes=None if start else {name: given[name] for name in SIZES},
        start=start,
        options={name: given[name] for name in ENGINE if given[name] not in (None, False)},
    )


def _survey(corpus: Corpus, quiet: bool) -> Survey:
    """Read a corpus once, showing how far it is where that takes long."""
    if quiet or corpus.size < LARGE:
        return corpus.survey()
    with counting(corpus.size, "bytes read") as show:
        return corpus.survey(show)


def _resume(context: click.Context, given: dict[str, Any]) -> Run[Any]:
    path = given["resume"]
    if given["start"]:
        raise click.UsageError("--resume goes on with a run, --from begins one; give one of them")
    loaded = _load(path)
    if "adam.t" not in loaded.state:
        raise click.UsageError(
            f"{path} is a finished model, nothing to resume; --from {path} trains it further"
        )
    if lineage.kind(loaded) in lineage.TUNED:
        raise click.UsageError(f"{path} was tuned: microgpt tune --resume {path} goes on with it")
    try:
        feed = of(loaded, given["data"])
        run = Run.resume(loaded, feed, given["steps"] if _is_given(context, "steps") else None)
    except FileNotFoundError as error:
        raise click.UsageError(
            f"{error.filename}, the data of {path}, is not there; say where it is now: --data FILE"
        ) from None
    except ValueError as error:
        raise click.UsageError(f"cannot resume {path}: {error}") from None
    _refuse_changes(context, _settings(run), "--resume")
    return run


def _load(path: str) -> Checkpoint:
    """Return the run in a file, or in the folder of processes that trained together."""
    return engines.gather(path) if os.path.isdir(path) else Checkpoint.load(path)


def _refuse_changes(context: click.Context, fixed: dict[str, Any], by: str) -> None:
    """Refuse an option, or a setting of the file, that is not what the run or model has."""
    for name, value in fixed.items():
        if name != "data" and _is_given(context, name) and context.params[name] != value:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is {value} there; {by} cannot change it"
            )


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _settings(run: Run[Any]) -> dict[str, Any]:
    """Return the options that would make the run again, by name."""
    given = {"data": run.feed.dataset.name, "engine": run.engine_name, **run.options}
    given |= {name: getattr(run.settings, name) for name in SETTINGS}
    given |= {name: getattr(run.settings.optimizer, name) for name in OPTIMIZER}
    given |= {name: run.feed.record()[name] for name in FEED}
    given["tokenizer"] = run.feed.tokenizer.name
    given |= {kind: run.feed.record()["kind"] == kind for kind in FEEDS}
    given |= {name: getattr(run.config, name) for name in SIZES}
    return dict.fromkeys(SHOWN) | given


def _check_files(run: Run[Any], out: str | None, given: dict[str, Any]) -> None:
    """Refuse, before the first step, files that the run must not write over or cannot write."""
    inputs = [*_read(run.feed.dataset.name), os.environ.get("MICROGPT_NAMES"), given["start"]]
    inputs += [given["resume"]] if given["resume"] != out else []
    taken = [path for path in inputs if path]
    for path in (out, out and given["keep_best"] and best(out), given["log"]):
        if path:
            files.target(path, taken)
            taken.append(path)


def _read(data: str) -> list[str]:
    """Return the files that data are read from."""
    return [] if data in dataset.UNNAMED else [str(path) for path in dataset.paths(data)]


def _continued(run: Run[Any], out: str | None, given: dict[str, Any]) -> Run[Pretraining]:
    """Return the run that --out holds, if it is this one, stopped: it ends as this one would.

    Raises:
        UsageError: it is another one, which would be lost.
    """
    if out is None or given["resume"] in (out, parts(out)):
        return run
    stopped = _stopped(out)
    if stopped is None:
        return run
    if given["resume"] or given["start"] or _plan(stopped) != _plan(run.checkpoint()):
        raise click.UsageError(
            f"{out} holds a run that was stopped: --resume {out} goes on with it; "
            "to begin another, remove the file or name another"
        )
    return Run.resume(stopped, run.feed)


def _stopped(path: str) -> Checkpoint | None:
    """Return the run that was stopped and saved in a file, or None."""
    try:
        loaded = _load(parts(path) if os.path.isdir(parts(path)) else path)
    except (OSError, ValueError):
        return None
    return loaded if "adam.t" in loaded.state else None


def _plan(run: Checkpoint) -> list[Any]:
    """Return all that decides how a run ends."""
    parts = ("feed", "engine", "options", "settings", "quantized")
    return [run.config, *(run.training.get(part) for part in parts)]


def _warn(run: Run[Any], given: dict[str, Any]) -> None:
    """Say what is not as it would be expected."""
    data, size, unit = run.feed.dataset, run.config.block_size, run.feed.tokenizer.unit
    if not (given["data"] or given["resume"]) and data.name != "names":
        note("the published names cannot be fetched; using the built-in ones (--data world)")
    if not (given["engine"] or given["resume"]) and (reason := engines.missing(FASTEST)):
        note(f"the fastest engine is missing, training with {run.engine_name}: {reason}")
    if run.truncated:
        note(
            f"{run.truncated:,} of {len(data.documents):,} documents are longer than {size} "
            f"{unit}s; their ends are not read: give --block-size {run.longest}"
        )
    if odd := data.odd_break():
        note(odd)


def _introduce(run: Run[Any], given: dict[str, Any]) -> None:
    """Print what is about to happen, and the command line that makes it happen again."""
    config, data, start = run.config, run.feed.dataset, given["start"]
    unit = run.feed.tokenizer.unit
    what = f"{len(data.documents):,} documents"
    if isinstance(run.feed, RunningText):
        what = f"{run.feed.survey.characters:,} characters of running text"
    say(
        f"{data.name}: {what}, {config.vocab_size - 1} {unit}s; "
        f"{config.n_params:,} parameters; engine {run.engine_name}"
    )
    if given["resume"] or run.step:  # how it began was said when it began
        say(f"going on after step {run.step:,} of {run.settings.steps:,}", flush=True)
        return
    words = ["microgpt", "train", *(["--from", start] if start else [])]
    defaults = {param.name: param.default for param in train.params}
    for name, value in _settings(run).items():
        known = value in (None, False) or (start and name in (*SIZES, "tokenizer"))
        if not known and (name in SHOWN or value != defaults[name]):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    say(f"repeat with: {shlex.join(words)}", flush=True)


def _report(run: Run[Any], quiet: bool) -> None:
    """Print what the loss means, and twenty names."""
    if not quiet and (run.test or run.losses):
        _explain(run)
    if isinstance(run.feed, RunningText):
        tell([run.model().write(WRITTEN, seed=run.feed.seed)])
        return
    names = run.model().sample(20)
    for name in names:
        say(name)
    if not quiet:
        known = run.model().truncate(run.feed.dataset.documents)
        old = sum(name in known for name in names)
        say(f"{len(names) - old} of these {len(names)} names are new; {old} are in the data")


def _documents(run: Run[Any]) -> str:
    return "windows" if isinstance(run.feed, RunningText) else "documents"


def _explain(run: Run[Any]) -> None:
    """Print the loss beside those of knowing nothing and of counting pairs."""
    uniform, bigram = run.baselines()
    if run.test:
        say(f"loss on {len(run.test):,} held-out {_documents(run)} (nats/token):")
        loss = run.test_loss()
    else:
        last = run.losses[-50:]
        what = f"{_documents(run)} that it learns from"
        say(f"loss (nats/token) over the last {len(last)} steps, on {what}:")
        loss = sum(last) / len(last)
    say(f"  {uniform:.4f}  knowing nothing: {run.config.vocab_size} tokens, all equally likely")
    say(f"  {bigram:.4f}  counting pairs of {run.feed.tokenizer.unit}s")
    say(f"  {loss:.4f}  this model")
    if run.test and run.feed.tokenizer.unit != "character":
        say(f"  {run.test_loss_per_character():.4f}  this model, for each character")
