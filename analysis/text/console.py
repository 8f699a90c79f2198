"""What every command has to do with the terminal: characters that it lacks, negative numbers, what is not installed."""

from __future__ import annotations

import argparse
import codecs
import re
import sys
import unicodedata
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

#: What has no decomposition into ASCII; the rest of what we print does (o with an accent: o).
PLAIN = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{DAGGER}": "+",
    "\N{GREEK SMALL LETTER LAMDA}": "lambda",
    "\N{SQUARE ROOT}": "sqrt",
    "\N{LATIN SMALL LETTER O WITH STROKE}": "o",
}
NAME = "odenets.plain"
#: numbers below 0, also as fractions, complex or in a row: -1e-3, -.5, -1., -1/2, -2+1j, -1,-2, -inf
NEGATIVE = re.compile(r"-(\.?\d[\d.,eEj/+_ -]*|inf|nan)$")
#: Module -> the extra that brings it. What else is missing is no matter of extras.
EXTRAS = {
    "PIL": "benchmarks",
    "filelock": "benchmarks",
    "markdown": "benchmarks",
    "matplotlib": "plot",
    "sklearn": "benchmarks",
    "submitit": "cluster",
    "tqdm": "benchmarks",
    "yaml": "benchmarks",
}


def print_anywhere() -> None:
    """Let output be printed in any encoding: what it lacks is written in ASCII instead.

    On Windows a file or a pipe has the encoding of the country, and a report that ended in UnicodeEncodeError after
    hours of training would be lost. A terminal in UTF-8 prints as before.
    """
    codecs.register_error(NAME, _plainly)
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream that somebody has put in its place, as a notebook does
            stream.reconfigure(errors=NAME)  # type: ignore[union-attr]


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return PLAIN.get(character) or decomposed or "?"


class Parser(argparse.ArgumentParser):
    """Takes -1e-3, -1. and -1/2 for numbers, where argparse takes them for options. No option of ours is a number."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ArgumentParser's; a word that begins with a space is never an option."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([f" {x}" if NEGATIVE.match(x) else x for x in words], namespace)


def require(*modules: str) -> None:
    """Raises what importing the first that is not installed would: before hours of work that need it in the end."""
    for module in modules:
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def watched() -> bool:
    """Whether somebody looks at stderr, and tqdm is there to draw a bar on it."""
    return sys.stderr.isatty() and find_spec("tqdm") is not None


def missing(error: ImportError) -> str | None:
    """What to do about a module that is not installed, or None where that is not known and the error is a fault."""
    name = error.name or ""
    if name in ("odenets.analysis", "odenets.benchmarks"):
        return f"{name} is missing: odenets is not installed here; pip install --constraint constraints.txt -e ."
    package = name.partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package in EXTRAS:
        return f"{package} is not installed: pip install 'odenets[{EXTRAS[package]}]'"
    return str(error) if "pip install" in str(error) else None
