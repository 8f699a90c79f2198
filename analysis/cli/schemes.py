"""The command that lists the schemes."""

from __future__ import annotations

import argparse

from odenets import schemes

from .scheme_rows import FILE, written
from .scheme_table import schemes_page, schemes_table
from .shared_options import add_format, add_values, expand, wanted


def _add(parser: argparse.ArgumentParser) -> None:
    add_values(parser)
    add_format(parser)
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="write the page docs/schemes.md: Markdown, with the meaning of each column",
    )
    parser.add_argument("--rows", action="store_true", help=f"compute all rows anew, as {FILE} keeps them")


def _schemes(options: argparse.Namespace) -> str:
    members = expand(list(schemes.values()), wanted(options))
    if options.rows:
        return written(schemes.values()).rstrip("\n")
    return schemes_page(members) if options.markdown else schemes_table(members, form=options.format)


COMMANDS = {"schemes": (_add, _schemes)}
