"""Print docs/cli.md: every command, as its own --help shows it.

python scripts/cli_help.py > docs/cli.md
"""

import click

from microgpt.cli import commands

print("# The command line\n\nMade by `make docs` from the commands themselves.")
top = click.Context(commands, info_name="microgpt", terminal_width=80)
for name in [None, *commands.list_commands(top)]:
    command = commands.get_command(top, name) if name else commands
    assert command
    context = click.Context(
        command, info_name=name or "microgpt", parent=top if name else None, terminal_width=80
    )
    print(f"\n## `{context.command_path}`\n")
    print(f"```text\n{command.get_help(context)}\n```")
