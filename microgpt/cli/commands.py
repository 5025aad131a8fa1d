"""All commands by subject, and how one of them is found, run, and refused."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import click

from microgpt import __version__
from microgpt.cli import terminal
from microgpt.cli.interrupts import leaving_at_once

# By subject: each command, the room that holds it, and its line in the help of microgpt.
COMMANDS = {
    "Train": {
        "train": ("train", "Train a model, and print twenty of its names."),
    },
    "Tune a model": {
        "tune": ("tune", "Tune a trained model: on examples, by a reward, or to your taste."),
        "prefer": ("tune", "Choose between two names, again and again, with the arrows."),
        "eval": ("tune", "Measure what a model forgot, gained and lost."),
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
    "Learn": {
        "school": ("school", "Write gpt.py again, function by function, in twelve lessons."),
    },
    "Scale": {
        "compare": ("compare", "Show models beside MicroGPT: same, changed, or only bigger."),
        "inspect": ("model", "Look inside a model: what each layer says and looks at."),
        "export": ("model", "Write a model for others: a folder of Hugging Face, or ONNX."),
        "ladder": ("ladder", "Train from gpt.py's model to a small Llama: what each brick buys."),
        "scaling": (
            "scaling",
            "Fit a scaling law to small runs; predict a larger one; train it.",
        ),
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
ROOMS = {name: room for commands in COMMANDS.values() for name, (room, _) in commands.items()}
COMPLETE = "_MICROGPT_COMPLETE"  # set by a shell that asks for completions


def run(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status, having said in one line what was wrong."""
    terminal.prepare()
    try:
        return _run(sys.argv[1:] if argv is None else list(argv))
    finally:
        terminal.settle()


def _run(words: list[str]) -> int:
    try:
        if instruction := os.environ.get(COMPLETE):
            from click.shell_completion import shell_complete  # seldom needed

            return shell_complete(group, {}, "microgpt", COMPLETE, instruction)
        with group.make_context("microgpt", words) as context:
            status = group.invoke(context)
            terminal.flush()
            return status or 0
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except click.ClickException as error:
        return _refuse(error.format_message())
    except BrokenPipeError:  # the reader of our output has seen enough
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}")
    except ValueError as error:
        return _refuse(str(error))
    except MemoryError:
        return _refuse("there is not enough memory for this; make the model smaller")


def _refuse(message: str) -> int:
    with suppress(OSError):
        terminal.note(f"microgpt: {' '.join(message.split())}")
    return 2


class Named(click.Command):
    """A command whose help says where it was written, if it could not be."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Parse; click prints the help in here."""
        with terminal.naming(terminal.OUTPUT):
            return super().parse_args(context, args)


class Rooms(Named, click.Group):
    """A group of the commands in COMMANDS; a room is imported when its command is used."""

    command_class = Named

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names of the commands, subject by subject."""
        return list(ROOMS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        if name in ROOMS:
            with leaving_at_once():
                import_module(f"microgpt.cli.{ROOMS[name]}")  # its commands join this group
        return super().get_command(context, name)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by subject, without importing them."""
        for subject, commands in COMMANDS.items():
            with formatter.section(subject):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


@click.group(
    cls=Rooms,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 80,
        "show_default": True,
    },
    no_args_is_help=False,
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="microgpt", message="%(prog)s %(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """A complete GPT that you can hold in your head: train it, sample it, look inside.

    Start reading at microgpt/gpt.py, the whole algorithm in 200 lines.
    """
    if context.invoked_subcommand is None:
        for line in context.get_help().splitlines():
            terminal.say(line)
