"""The command line: ``odenets COMMAND``, or ``python -m odenets COMMAND``.

This file stands above all rooms: it alone knows both the commands of odenets.analysis and the benchmarks, which are
loaded when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

STUDY, BENCH = "study", "bench"
USER_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, or 2 for bad input, with one line on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    try:
        if command == STUDY:
            return run(STUDY, arguments[1:])
        if command == BENCH:
            return bench(arguments[1:])
        cli = importlib.import_module("odenets.analysis.cli")
        return cli.main(
            arguments, {STUDY: "depth against accuracy: run, plan and report studies", BENCH: "run a benchmark by name"}
        )
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("odenets"):
            raise
        extra = f"pip install 'odenets[{'benchmarks' if command in (STUDY, BENCH) else 'plot'}]'"
        print(f"error: odenets {command} needs {error.name}, which is not installed: {extra}", file=sys.stderr)
        return USER_ERROR


def run(name: str, arguments: Sequence[str]) -> int:
    """The main function of a benchmark: a file of odenets.benchmarks, or a folder with a ``__main__``."""
    return importlib.import_module(f"odenets.benchmarks.{benchmarks()[name]}").main(arguments)


def bench(arguments: Sequence[str]) -> int:
    """``odenets bench NAME``: NAME's own options follow; without a name, which there are."""
    names = [name for name in benchmarks() if name != STUDY]
    if arguments and arguments[0] in names:
        return run(arguments[0], arguments[1:])
    wanted = not arguments or arguments[0] in ("-h", "--help")
    got = "" if wanted else f"error: got {arguments[0]!r}, expected one of these\n"
    usage = f"{got}usage: odenets bench NAME [-h] [options]\nNAME: {', '.join(names)}"
    print(usage, file=sys.stdout if wanted else sys.stderr)
    return 0 if wanted else USER_ERROR


def benchmarks() -> dict[str, str]:
    """Name -> module of every benchmark, read off the folder: adding one is adding a file."""
    (folder,) = importlib.import_module("odenets.benchmarks").__path__
    files = {path.stem: path.stem for path in Path(folder).glob("*.py") if path.stem != "__init__"}
    found = files | {path.parent.name: f"{path.parent.name}.__main__" for path in Path(folder).glob("*/__main__.py")}
    return dict(sorted(found.items()))


if __name__ == "__main__":
    sys.exit(main())
