"""Print docs/cli.md: every command, as its own --help shows it.

python scripts/cli_help.py > docs/cli.md
"""

from collections.abc import Iterator

import click
from click.testing import CliRunner

from microgpt.cli.commands import ROOMS, group


def commands(command: click.Command | None) -> Iterator[list[str]]:
    """Yield the words that follow a command: none, and of a group each of its own commands."""
    yield []
    for name in command.commands if isinstance(command, click.Group) else ():
        yield [name]


print("# The command line\n\nMade by `make docs` from the commands themselves.")
context = click.Context(group)
inner = [[name, *below] for name in ROOMS for below in commands(group.get_command(context, name))]
for words in [[], *inner]:
    argv = [*words, "--help"]
    shown = CliRunner().invoke(group, argv, prog_name="microgpt", terminal_width=80).output
    print(f"\n## `{' '.join(['microgpt', *words])}`\n\n```text\n{shown}```")
