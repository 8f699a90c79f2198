"""The data sets of the study: ``odenets data list|get``.

Their files go to the folder data of the current directory, or to --data-dir, where `odenets study` looks for them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from odenets import OdenetsError

from ..common.command_line import INTERRUPTED, USER_ERROR, Parser
from ..common.errors import DataError
from . import sources

COMMAND = "odenets data"
LIST, GET = "list", "get"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    text = "which there are: those of odenets, and those of other packages"
    commands.add_parser(LIST, help=text, description=text, allow_abbrev=False)
    text = "fetch one, check it and lay it where a study finds it; or say what you must do yourself"
    get = commands.add_parser(GET, help=text, description=text, allow_abbrev=False)
    get.add_argument("name", metavar="NAME", help=f"as {COMMAND} {LIST} calls it")
    get.add_argument("--data-dir", type=Path, default=Path("data"), metavar="DIR", help="where it goes; data")
    return parser.parse_args(argv)


def listed(name: str) -> str:
    """A line on a data set; on one of another package that is broken, that it is."""
    try:
        return f"{name:<10} {sources.source(name).about}"
    except DataError as error:
        return f"{name:<10} {error}"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 for a user error, 130 if interrupted."""
    options = parse(argv)
    try:
        if options.command == LIST:
            print(*map(listed, sources.names()), sep="\n")
        else:
            print(sources.source(options.name).get(options.data_dir))
    except KeyboardInterrupt:
        print("interrupted: nothing was kept", file=sys.stderr)
        return INTERRUPTED
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
