"""Options that several commands share."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from microgpt import engines

Function = TypeVar("Function", bound=Callable[..., Any])


class File(click.Path):
    """The path of a file, as text; shells complete it, and ~ is the home folder everywhere."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """Return the path."""
        return os.path.expanduser(os.fspath(value))


def _engines(context: click.Context, param: click.Parameter, typed: str) -> list[str]:
    return [name for name in engines.ENGINES if name.startswith(typed)]


model = click.argument("model", type=File())
tokens = click.option(
    "--tokens",
    type=click.IntRange(1),
    default=64,
    help="Of a model of text, not names: how many tokens it may write.",
)
engine = click.option(
    "--engine",
    metavar="NAME",
    shell_complete=_engines,
    show_default="the best one there is",
    help="See `microgpt engines`.",
)
dtype = click.option(
    "--dtype", metavar="NAME", help="Its numbers, where it has several: float32, float64, ..."
)
device = click.option("--device", metavar="NAME", help="pytorch: cpu, cuda, mps, ...")


def of_engine(**given: str | None) -> dict[str, str]:
    """Return the engine's own options, of those that may be given."""
    return {name: value for name, value in given.items() if value is not None}


def data(help: str, default: str) -> Callable[[Function], Function]:
    """Return a decorator that adds --data."""
    return click.option("--data", metavar="NAME|FILE", type=File(), show_default=default, help=help)


def out(help: str) -> Callable[[Function], Function]:
    """Return a decorator that adds -o and --out."""
    return click.option("-o", "--out", metavar="FILE", type=File(), help=help)


def sampling(count: int) -> Callable[[Function], Function]:
    """Return a decorator that adds how names are drawn: `count` at a time by default."""
    options = [
        click.option("-n", "count", type=click.IntRange(0), default=count, help="How many."),
        click.option("--temperature", type=float, default=0.5, help="0 is greedy."),
        click.option("--top-k", type=int, help="Choose among the K likeliest tokens only."),
        click.option("--top-p", type=float, help="Among the likeliest that together reach P."),
        click.option(
            "--seed", type=int, show_default="drawn and shown", help="Same seed, same names."
        ),
    ]

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add
