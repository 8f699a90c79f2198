"""The command line, python -m analysis COMMAND. Each module here is a group of commands, listed in GROUPS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from odenets import OdenetsError

from . import equations, figures, linear, network, tables

GROUPS = (linear, equations, figures, network, tables)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 for bad input, with one line on stderr."""
    options = _parser().parse_args(argv)
    try:
        print(options.run(options))
    except (OdenetsError, ImportError) as error:
        print(f"python -m analysis: error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="What a numerical scheme does, derived exactly.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (command for group in GROUPS for command in group.COMMANDS):
        own = commands.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        command.add(own)
        own.set_defaults(run=command.run)
    return parser
