"""The `microgpt` command: it parses, calls, shows progress and prints. Nothing is computed here.

The table of all commands is in commands.py; each other room holds the commands of a subject, and is
imported when one of them is used.
"""

import sys
from collections.abc import Sequence
from typing import NoReturn

from microgpt.cli.interrupts import leaving_at_once


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 if it worked, 2 and one line if it could not, 130 on Ctrl-C."""
    try:
        with leaving_at_once():
            from microgpt.cli import commands
        status = commands.run(argv)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
