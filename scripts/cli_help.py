"""Print docs/cli.md: every command, as its own --help shows it.

python scripts/cli_help.py > docs/cli.md
"""

from click.testing import CliRunner

from microgpt.cli.commands import ROOMS, group

print("# The command line\n\nMade by `make docs` from the commands themselves.")
for words in [[], *([name] for name in ROOMS)]:
    shown = CliRunner().invoke(group, [*words, "--help"], "", terminal_width=80).output
    print(f"\n## `{' '.join(['microgpt', *words])}`\n\n```text\n{shown}```")
