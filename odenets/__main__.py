"""The command line: ``odenets COMMAND``, or ``python -m odenets COMMAND``.

This file stands above all rooms: it alone knows both the commands of odenets.analysis and the benchmarks, which are
loaded when they are asked for.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .analysis.text.console import missing, print_anywhere

STUDY, DATA, BENCH = "study", "data", "bench"
OTHERS = {
    STUDY: "depth against accuracy: run, plan and report studies",
    DATA: "data sets of the studies: list them, get one",
    BENCH: "run a benchmark by name",
}
USER_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0, or 2 for bad input, with one line on stderr."""
    print_anywhere()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments[:1] == [BENCH]:
            return bench(arguments[1:])
        if arguments and arguments[0] in OTHERS:
            return run(arguments[0], arguments[1:])
        return importlib.import_module("odenets.analysis.cli").main(arguments, OTHERS)
    except ImportError as error:
        advice = missing(error)
        if advice is None:
            raise
        return refuse(advice)


def run(name: str, arguments: Sequence[str]) -> int:
    """The main function of a benchmark: a file of odenets.benchmarks or of its speed, or a folder with ``__main__``."""
    return importlib.import_module(f"odenets.benchmarks.{benchmarks()[name]}").main(arguments)


def bench(arguments: Sequence[str]) -> int:
    """``odenets bench NAME``: NAME's own options follow; without a name, which there are."""
    names = [name for name in benchmarks() if name not in OTHERS]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: odenets bench NAME [-h] [options]\n\nNAME: {', '.join(names)}")
        return 0
    wanted = arguments[0].replace("-", "_")
    if wanted in names:
        return run(wanted, arguments[1:])
    close = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return refuse(f"unknown benchmark {arguments[0]!r}; {hint}Known: {', '.join(names)}")


def benchmarks() -> dict[str, str]:
    """Name -> module of every benchmark, read off the folders: adding one is adding a file, here or in speed/."""
    (folder,) = importlib.import_module("odenets.benchmarks").__path__
    root = Path(folder)
    found = {path.parent.name: path for path in root.glob("*/__main__.py")}
    found |= {path.stem: path for path in (*root.glob("*.py"), *root.glob("speed/*.py")) if path.stem != "__init__"}
    return {name: ".".join(path.relative_to(root).with_suffix("").parts) for name, path in sorted(found.items())}


def refuse(message: str) -> int:
    """One line on stderr, and the status of bad input."""
    print(f"odenets: error: {message}", file=sys.stderr)
    return USER_ERROR


if __name__ == "__main__":
    sys.exit(main())
