"""After training: microgpt tune, prefer and eval."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import click

from microgpt import dataset, engines, files, rewards, sampling
from microgpt.checkpoint import Checkpoint
from microgpt.cli import options
from microgpt.cli.commands import group
from microgpt.cli.progress import advance, log, one_process
from microgpt.cli.terminal import note, say
from microgpt.config import Adam
from microgpt.evaluation import Comparison, compare, table
from microgpt.model import Model
from microgpt.tokenizer import describe
from microgpt.training import Run, Settings
from microgpt.tuning import FineTuning, Preferences, Reference, Reinforcement, grow, lineage
from microgpt.tuning.completions import MARK

try:
    import termios
    import tty
except ImportError:  # Windows, where click reads keys
    termios = None  # type: ignore[assignment]

SHOWN = 8  # documents printed


@dataclass(frozen=True)
class Way:
    """A way to tune: the option that chooses it, and what is not said otherwise."""

    steps: int
    lr: float
    batch: int
    beta: float | None = None


WAYS = {
    "data": Way(steps=100, lr=0.003, batch=32),
    "reward": Way(steps=200, lr=0.003, batch=128, beta=0.05),
    "prefer": Way(steps=100, lr=0.001, batch=64, beta=0.5),
}
BELONGS = {"replay": "data", "prompts": "reward", "group": "reward"}  # to which way


def _defaults(name: str) -> str:
    return ", ".join(
        f"{getattr(way, name)} with --{to}"
        for to, way in WAYS.items()
        if getattr(way, name) is not None
    )


@group.command()
@click.argument("model", type=options.File(), required=False)
@options.data("Learn from documents, or lines prompt<TAB>completion.", default="none")
@click.option("--replay", type=float, default=0.0, help="Share of old documents in each batch.")
@click.option(
    "--reward",
    metavar="NAME|FILE",
    help=f"Learn from its own documents: {', '.join(rewards.FORMS)}.",
)
@click.option(
    "--prompts",
    metavar="FILE",
    type=options.File(),
    help="What its own begin with.",
    show_default="those of answers:FILE, else nothing",
)
@click.option("--group", type=int, default=8, help="Documents for each prompt of a step.")
@click.option(
    "--prefer",
    metavar="PAIRS",
    type=options.File(),
    help="Learn from choices: lines chosen<TAB>rejected.",
)
@click.option(
    "--beta",
    type=float,
    help="What it costs to leave the model behind.",
    show_default=_defaults("beta"),
)
@options.engine
@click.option("--steps", type=int, help="Optimizer steps.", show_default=_defaults("steps"))
@click.option(
    "--batch", type=int, help="Documents, or pairs, a step.", show_default=_defaults("batch")
)
@click.option(
    "--lr", type=float, help="First learning rate; it falls to 0.", show_default=_defaults("lr")
)
@click.option("--seed", type=int, default=42, help="Same seed, same run.")
@click.option("--val", type=float, default=0.0, help="Share of documents or prompts held out.")
@options.out("Write the model (safetensors), now and then and last.")
@click.option("--log", metavar="FILE", type=options.File(), help="Write one JSON line a step.")
@click.option("--resume", metavar="FILE", type=options.File(), help="Go on with a stopped run.")
@click.option("-q", "--quiet", is_flag=True, help="Print documents only.")
@click.pass_context
def tune(context: click.Context, /, **given: Any) -> int:
    """Tune a trained model: on examples, by a reward, or to your taste.

    Give one of --data, --reward and --prefer. At the end it says what the model was before and what
    it is now.
    """
    one_process("tune")
    run = _resume(given) if given["resume"] else _begin(context, given)
    out = given["out"] or given["resume"]
    _check_files(run, out, given)
    try:
        with log(given["log"], run) as write:
            if not given["quiet"]:
                _introduce(run, given.get("new", ""))
            finished = advance(run, out, write, quiet=given["quiet"])
    except (BrokenPipeError, ValueError):  # nobody reads any more, or a reward failed
        _save(run, out, given)
        raise
    if not finished:
        _save(run, out, given)
        return 130
    if out:
        run.checkpoint().model().save(out)
    _report(run, given["quiet"])
    return 0


def _begin(context: click.Context, given: dict[str, Any]) -> Run[Any]:
    chosen = [way for way in WAYS if given[way]]
    if len(chosen) != 1 or not given["model"]:
        raise click.UsageError(
            "name a MODEL, and one of --data FILE, --reward NAME and --prefer PAIRS"
        )
    (name,) = chosen
    for option, belongs in BELONGS.items():
        source = context.get_parameter_source(option)
        if belongs != name and source is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{option} belongs to --{belongs}")
    if name == "data" and given["beta"] is not None:
        raise click.UsageError("--beta belongs to --reward and --prefer")
    if name == "prefer" and given["val"]:
        raise click.UsageError("--val belongs to --data and --reward")
    way = WAYS[name]
    given |= {key: value for key, value in vars(way).items() if given.get(key) is None}
    start, engine = Checkpoint.load(given["model"]).model(), given["engine"] or engines.default()
    feed: Any = {"data": _fine_tuning, "reward": _reinforcement, "prefer": _preferences}[name](
        start, engine, given
    )
    settings = Settings(given["steps"], given["lr"], Adam(beta1=0.9))
    run: Run[Any] = Run(feed, settings, engine, start=feed.reference.checkpoint)
    return run


def _fine_tuning(start: Checkpoint, engine: str, given: dict[str, Any]) -> FineTuning:
    data, old = dataset.load(given["data"]), None
    grown = grow(start, "".join(set().union(*data.documents) - {MARK}))
    given["new"] = grown.characters[len(start.characters) :]
    old, old_val = lineage.lists(start)[0] if given["replay"] else (None, 0.0)
    return FineTuning(
        data,
        Reference(given["model"], grown, engine),
        given["batch"],
        given["val"],
        given["seed"],
        given["replay"],
        old,
        old_val,
    )


def _reinforcement(start: Checkpoint, engine: str, given: dict[str, Any]) -> Reinforcement:
    name = given["reward"]
    asked = given["prompts"] or (name.partition(":")[2] if name.startswith("answers:") else None)
    return Reinforcement(
        Reference(given["model"], start, engine),
        lineage.reward(start, name),
        name,
        given["beta"],
        given["batch"],
        dataset.load(asked) if asked else None,
        given["group"],
        given["val"],
        given["seed"],
    )


def _preferences(start: Checkpoint, engine: str, given: dict[str, Any]) -> Preferences:
    pairs, of = dataset.load(given["prefer"]), Reference(given["model"], start, engine)
    return Preferences(of, pairs, given["beta"], given["batch"], given["seed"])


def _resume(given: dict[str, Any]) -> Run[Any]:
    path = given["resume"]
    loaded = Checkpoint.load(path)
    if lineage.kind(loaded) not in lineage.TUNED or "adam.t" not in loaded.state:
        raise click.UsageError(f"{path} is not a run of microgpt tune that was stopped")
    if given["model"] or any(given[way] for way in WAYS):
        raise click.UsageError("--resume goes on with a run as it was; give -o, --log and -q only")
    try:
        return Run.resume(loaded, lineage.feed(loaded))
    except ValueError as error:
        raise click.UsageError(f"cannot resume {path}: {error}") from None


def _check_files(run: Run[Any], out: str | None, given: dict[str, Any]) -> None:
    """Refuse, before the first step, files that the run must not write over or cannot write."""
    record = run.feed.record()
    inputs = [record["model"], record.get("data"), record.get("old"), record.get("prompts")]
    inputs += rewards.files(record.get("reward", ""))
    inputs += [given["resume"]] if given["resume"] != out else []
    taken = [path for path in inputs if path]
    for path in filter(None, (out, given["log"])):
        files.target(path, taken)
        taken.append(path)


def _introduce(run: Run[Any], new: str) -> None:
    """Print what is about to happen, and which characters are new to the model."""
    if new:
        note(
            f"the model does not know {', '.join(map(describe, new))}: wte and lm_head get "
            f"{len(new)} new rows each; the others are as they were"
        )
    record, config = run.feed.record(), run.config
    what = {
        "fine-tuning": "learns from {data}",
        "reinforcement": "learns from what it writes itself, rewarded by {reward}, beta {beta}",
        "preferences": "learns from the choices in {data}, beta {beta}",
    }[record["kind"]].format(**record)
    say(f"{record['model']} {what}")
    say(
        f"{run.settings.steps:,} steps of {run.feed.batch_size}, lr {run.settings.lr}, seed "
        f"{record['seed']}; {config.n_params:,} parameters; engine {run.engine_name}",
        flush=True,
    )
    if asked := len(run.feed.questions):
        learned = "does not learn" if record["val"] else "also learns"
        say(f"measured by {asked:,} prompt{'s' * (asked != 1)} that it {learned} from", flush=True)


def _save(run: Run[Any], out: str | None, given: dict[str, Any]) -> None:
    """Keep a run that stops before its end, and say how to go on."""
    path = out or str(files.unused("interrupted.safetensors"))
    run.checkpoint().save(path)
    note(f"stopped after step {run.step} of {run.settings.steps}, and saved; to go on:")
    words = ["microgpt", "tune", "--resume", path]
    note(shlex.join(words + (["--log", given["log"]] if given["log"] else [])))


def _report(run: Run[Any], quiet: bool) -> None:
    """Print what the model was and what it is, and what the same draws write before and after."""
    models = [run.model()]
    if not quiet:
        models.insert(0, Model(run.feed.reference.checkpoint, run.engine_name, run.options))
        _print(compare(dict(zip(("before", "after"), models, strict=True)), run.feed))
        say("what it wrote, and what it writes with the same draws:")
    prompts = run.feed.questions or [""]
    for i in range(SHOWN):
        prompt = prompts[i % len(prompts)]
        *before, after = (model.sample(1, 1.0, seed=i, prefix=prompt)[0] for model in models)
        say("".join(f"  {document:18}" for document in before) + after)


def _print(compared: Comparison) -> None:
    if compared.unknown:
        note(f"what it learned from is not at hand, so no loss is shown: {compared.unknown}")
    for line in table(compared.reports, compared.reward):
        say(line)
    if nearest := [*compared.reports.values()][-1].nearest:
        say("new ones, and the nearest that it learned:")
    for document, near, edits in nearest:
        say(f"  {document:18}{near:18}{edits} edit{'s' * (edits != 1)} away")


@group.command(name="eval")
@options.model
@click.option(
    "--against",
    metavar="BASE",
    type=options.File(),
    help="Compare it with a model.",
    show_default="the one that it was tuned from",
)
@click.option("-n", "count", type=click.IntRange(2), default=2000, help="Documents to sample.")
@click.option("--seed", type=int, default=42, help="Same seed, same documents.")
@options.engine
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def evaluate(
    model: str, against: str | None, count: int, seed: int, engine: str | None, as_json: bool
) -> None:
    """Measure what a model forgot, gained and lost.

    The measure is the model that it was. Its record says what it learned from, what was rewarded,
    and what was held out.
    """
    last = Model.load(model, engine)
    models = {Path(model).name: last}
    if against or lineage.kind(last.checkpoint) in lineage.TUNED:
        base = Checkpoint.load(against) if against else lineage.before(last.checkpoint)
        grown = grow(base, last.tokenizer.characters)
        name = against or str(last.training["feed"]["model"])
        models = {Path(name).name: Model(grown, engine)} | models
    compared = compare(models, None, count, seed)
    if as_json:
        reports = {name: report.record() for name, report in compared.reports.items()}
        say(json.dumps({"reward": compared.reward, "models": reports}, ensure_ascii=False))
    else:
        _print(compared)


LEFT_OR_RIGHT = {  # as terminals send them, and as Windows does
    **dict.fromkeys(("\x1b[D", "\x1bOD", "\xe0K", "\x00K"), 0),
    **dict.fromkeys(("\x1b[C", "\x1bOC", "\xe0M", "\x00M"), 1),
}


@group.command()
@options.model
@options.out("Add the choices to a file: lines chosen<TAB>rejected.")
@click.option("--seed", type=int, show_default="drawn", help="Same seed, same names.")
@options.engine
def prefer(model: str, out: str | None, seed: int | None, engine: str | None) -> None:
    """Choose between two names, again and again, with the arrows.

    Left and right choose, the space bar chooses neither, q ends. Each choice is written at once.
    """
    if out is None:
        raise click.UsageError("name the file for the choices: -o PAIRS")
    files.target(out, [model])
    if os.path.exists(out):
        Preferences.check(dataset.load(out))
    loaded = Model.load(model, engine)
    if not sys.stdin.isatty():
        raise click.UsageError("it needs a terminal, to read the arrows")
    chosen = 0
    with open(out, "a", encoding="utf-8") as file, _keys() as key_pressed:
        note("left or right: the one that you like better; space: neither; q: end")
        note("some 25 choices are enough to see what they change")
        for pair in _pairs(loaded, sampling.fresh_seed() if seed is None else seed):
            say(f"{chosen + 1:>4}  {pair[0]:>20}   {pair[1]}", flush=True)
            while (key := key_pressed()) not in (*LEFT_OR_RIGHT, " ", "q", ""):
                pass
            if key in ("q", ""):
                break
            if key in LEFT_OR_RIGHT:
                best = LEFT_OR_RIGHT[key]
                file.write(f"{pair[best]}{MARK}{pair[1 - best]}\n")
                file.flush()
                chosen += 1
    note(f"{chosen} choices added to {out}; to learn from them:")
    tuned = str(files.unused("mine.safetensors"))
    note(shlex.join(["microgpt", "tune", model, "--prefer", out, "-o", tuned]))


def _pairs(model: Model, seed: int) -> Iterator[tuple[str, str]]:
    """Yield pairs of different names, none of them empty."""
    for i in count(0, 2):
        first, second = model.sample(2, temperature=1.0, seed=(seed + i) % 2**64)
        if first != second and first and second:
            yield first, second


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Give a function that waits for a key; none pressed meanwhile is lost. At the end it is ""."""
    if termios is None:
        yield click.getchar
        return
    here = sys.stdin.fileno()
    before = termios.tcgetattr(here)

    def key_pressed() -> str:
        key = os.read(here, 1)
        return (key + (os.read(here, 2) if key == b"\x1b" else b"")).decode("utf-8", "replace")

    try:
        tty.setcbreak(here, termios.TCSANOW)
        yield key_pressed
    finally:
        termios.tcsetattr(here, termios.TCSADRAIN, before)
