"""The `microgpt` command: it parses, calls, shows progress and prints. Nothing is computed here.

Each room of this package holds the commands of a subject, and is imported when one of them is used.
A new command takes a line in COMMANDS, and a function in its room.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from microgpt import __version__

# By subject: each command, the room that holds it, and its line in the help of microgpt.
COMMANDS = {
    "Train": {
        "train": ("train", "Train a model, and print twenty of its names."),
    },
    "Use a model": {
        "sample": ("model", "Invent new names, a line each."),
        "chat": ("model", "Complete what you type, line after line; Ctrl-D ends it."),
        "score": ("model", "Tell how likely documents are, token by token (nats)."),
        "info": ("model", "Show a model's sizes, parameters, vocabulary and record."),
    },
    "Look inside": {
        "xray": ("windows", "Watch gpt.py learn from one document, line by line."),
        "lab": ("windows", "Open the lab: a page that shows the model at work."),
    },
    "Super Nintendo": {
        "rom": ("console", "Make a Super Nintendo cartridge of a model."),
        "play": ("console", "Run a cartridge in an emulator; print its names."),
    },
    "This machine": {
        "engines": ("engines", "List the engines, and how to get those that are missing."),
        "bench": ("engines", "Time a training step of each engine, beside gpt.py."),
    },
}
ROOMS = {name: room for group in COMMANDS.values() for name, (room, _) in group.items()}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 if it worked, 2 and one line if it could not, 130 on Ctrl-C."""
    try:
        status = commands(argv, prog_name="microgpt", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        status = _complain(error.format_message())
    except BrokenPipeError:  # the reader of our output has seen enough
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


def note(line: str) -> None:
    """Say something on the side: on standard error, out of the way of the output."""
    print(line, file=sys.stderr, flush=True)


def _complain(message: str) -> int:
    note(f"microgpt: {' '.join(message.split())}")
    return 2


class Rooms(click.Group):
    """A group of the commands in COMMANDS; a room is imported when its command is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands, subject by subject."""
        return list(ROOMS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if name in ROOMS:
            import_module(f"microgpt.cli.{ROOMS[name]}")  # its commands join this group
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by subject, without importing them."""
        for subject, group in COMMANDS.items():
            with formatter.section(subject):
                formatter.write_dl([(name, line) for name, (_, line) in group.items()])


@click.group(
    cls=Rooms,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="microgpt", message="%(prog)s %(version)s")
@click.pass_context
def commands(context: click.Context) -> None:
    """A complete GPT that you can hold in your head: train it, sample it, look inside.

    Start reading at microgpt/gpt.py, the whole algorithm in 200 lines.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
