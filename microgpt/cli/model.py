"""What a trained model does: microgpt sample, chat, score and info."""

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from microgpt import checkpoint, sampling
from microgpt.cli import commands, note
from microgpt.model import Model, Score


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
    loaded = Model.load(model, engine)
    unseeded = given["seed"] is None
    if unseeded:
        given["seed"] = sampling.fresh_seed()
    names = loaded.sample(**given)
    if unseeded and not as_json:
        note(f"--seed {given['seed']}")
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
    loaded = Model.load(model, engine)
    sampling.Sampling(temperature)
    while True:
        try:
            prefix = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        try:
            print(*loaded.sample(1, temperature, prefix=prefix), flush=True)
        except ValueError as error:  # a slip of the fingers does not end the conversation
            note(str(error))


@commands.command()
@click.argument("model")
@click.argument("text", nargs=-1)
@click.option("--engine", metavar="NAME", help="See `microgpt engines`; the best by default.")
def score(model: str, text: tuple[str, ...], engine: str | None) -> None:
    """Tell how likely documents are, token by token (nats).

    Reads them from the command line, else from standard input, one a line.
    """
    loaded = Model.load(model, engine)
    lines = text or (line.strip() for line in sys.stdin if line.strip())
    for line in lines:
        _print_score(loaded.score(line))


def _print_score(scored: Score) -> None:
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
    """Show a model's sizes, parameters, vocabulary and record."""
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
        note("the run is not finished; --resume goes on with it")
