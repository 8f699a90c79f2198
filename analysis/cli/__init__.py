"""The commands of ``odenets`` on schemes and networks. Each module here is a group of commands, listed in GROUPS."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from odenets import OdenetsError, __version__

from ..text.console import Parser, missing, print_anywhere
from . import diagnosis, equations, figures, linear_stability, schemes

GROUPS = (linear_stability, equations, figures, diagnosis, schemes)


def main(argv: Sequence[str] | None = None, others: Mapping[str, str] | None = None) -> int:
    """Run one command; returns the exit status: 0, or 2 for bad input, with one line on stderr.

    Args:
        argv: the arguments; by default those of the process.
        others: commands that somebody else runs, and what help says of them.
    """
    print_anywhere()
    options = _parser(others or {}).parse_args(argv)
    try:
        print(options.run(options))
    except (OdenetsError, ImportError) as error:
        message = missing(error) if isinstance(error, ImportError) else str(error)
        if message is None:
            raise
        print(f"odenets: error: {message}", file=sys.stderr)
        return 2
    return 0


def _parser(others: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="odenets",
        description="Residual networks as numerical schemes: what a scheme, or a trained network, does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"odenets {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (command for group in GROUPS for command in group.COMMANDS):
        own = commands.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        command.add(own)
        own.set_defaults(run=command.run)
    for name, text in others.items():
        commands.add_parser(name, help=text, add_help=False)
    return parser
