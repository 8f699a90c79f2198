"""What the commands share: schemes and values of their symbols, files to draw into."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from odenets import OdenetsError, Scheme, SchemeError, as_scheme, schemes

from ..text.tables import FORMATS, table
from .users_objects import imported

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Values = dict[str, list[str]]


def add_schemes(parser: argparse.ArgumentParser, *, tables: bool = True) -> None:
    """One scheme or several, values of their symbols, and the form of a table."""
    named = f"one of {', '.join(schemes)}; or your own, MODULE:NAME or FILE.py:NAME"
    parser.add_argument("schemes", nargs="+", metavar="scheme", help=named)
    add_values(parser)
    if tables:
        add_format(parser)


def add_format(parser: argparse.ArgumentParser) -> None:
    """The form of a table."""
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table (default: text)")


def add_network(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Of a network that MODULE:FACTORY builds: its arguments and weights, and the batch that it is diagnosed at."""
    parser.add_argument(
        "--args", nargs="+", default=[], metavar="NAME=VALUE", help="its arguments, e.g. depth=20 scheme=lm"
    )
    parser.add_argument("--weights", type=Path, metavar="FILE", help="its state_dict (torch.save); default: untrained")
    parser.add_argument("--input", type=Path, required=required, metavar="FILE", help="a batch, as .npy or .pt")
    parser.add_argument("--samples", type=int, default=2, help="samples of the batch to analyse (default: 2)")
    parser.add_argument(
        "--dtype",
        choices=("float64", "float32"),
        default="float64",
        help="float32 takes a third of the time, for five digits",
    )


def shown(options: argparse.Namespace, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in the form asked for."""
    return table(header, rows, options.format)


def together(options: argparse.Namespace, found: str, *others: str, before: str = "") -> str:
    """The table with what is said beside it; in CSV and JSON, which programs read, that goes to stderr."""
    first = [before] if before else []
    if options.format not in ("csv", "json"):
        return "\n\n".join([*first, found, *others])
    for line in (*first, *others):
        print(line, file=sys.stderr)
    return found


def scheme_of(text: str) -> Scheme:
    """The scheme of a name, or a user's own: MODULE:NAME, or FILE.py:NAME.

    Raises:
        OdenetsError: a file, module or name that is not there, or that is no Scheme.
    """
    place, colon, name = text.rpartition(":")
    if not colon:
        return as_scheme(text)
    found = imported(place, name, text, "MODULE:NAME or FILE.py:NAME of a Scheme")
    if not isinstance(found, Scheme):
        raise OdenetsError(f"{text}: got a {type(found).__name__}, expected a Scheme")
    return found


def add_values(parser: argparse.ArgumentParser) -> None:
    """Values of symbols."""
    parser.add_argument("--k", nargs="+", metavar="K", help="values of the symbol k, e.g. --k -1/2 0 0.5")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SYMBOL=VALUE[,VALUE...]",
        help="values of any symbol, read exactly, e.g. --set k=-1/2,0,1/2; may be repeated",
    )


def add_ends(parser: argparse.ArgumentParser) -> None:
    """Ends of a figure of the complex plane."""
    for axis in ("re", "im"):
        parser.add_argument(f"--{axis}", type=float, nargs=2, metavar=("LOW", "HIGH"), help="ends of the figure")


def add_out(parser: argparse.ArgumentParser, what: str) -> None:
    """A file to draw into."""
    parser.add_argument("--out", type=Path, help=f"draw {what} into this file (.png, .svg or .pdf)")


def chosen(options: argparse.Namespace) -> list[Scheme]:
    """The schemes asked for, once for every combination of values of their symbols."""
    return expand([scheme_of(name) for name in options.schemes], wanted(options))


def wanted(options: argparse.Namespace) -> Values:
    """Symbol -> values, as text: Scheme.substitute reads them exactly."""
    found: Values = {"k": [value.strip() for value in options.k]} if options.k else {}
    for item in options.set:
        symbol, _, text = item.partition("=")
        values = [value.strip() for value in text.split(",")]
        if not symbol.isidentifier() or not all(values):
            raise SchemeError(f"--set: got {item!r}, expected SYMBOL=VALUE or SYMBOL=VALUE,VALUE such as k=-1/2,0")
        found.setdefault(symbol, []).extend(values)
    return found


def expand(members: Sequence[Scheme], values: Values) -> list[Scheme]:
    """Each scheme once, or once for every combination of the values of its own symbols."""
    known = {str(symbol) for scheme in members for symbol in scheme.symbols}
    if unknown := sorted(set(values) - known):
        names = ", ".join(scheme.name for scheme in members)
        raise SchemeError(
            f"got values for {', '.join(unknown)}, expected symbols of {names}: {sorted(known) or 'none'}"
        )
    found = []
    for scheme in members:
        own = {str(symbol): values[str(symbol)] for symbol in scheme.symbols if str(symbol) in values}
        found += [scheme.substitute(dict(zip(own, choice, strict=True))) for choice in product(*own.values())]
    return found


def check_place(option: str, path: Path) -> None:
    """OdenetsError unless the file can be written. What is not there yet is not there afterwards."""
    try:
        target, there = path.resolve(), path.exists()  # of a link what it leads to
        target.open("a", encoding="utf-8").close()
        if not there:
            target.unlink()
    except OSError as error:
        raise OdenetsError(f"{option}: got {str(path)!r}, expected a place to write to: {error}") from error


def drawn(out: Path | None, draw: Callable[[Any], Figure]) -> list[str]:
    """The line that tells of the figure, or nothing where none is wanted; ``draw`` is given odenets.analysis.plot."""
    if out is None:
        return []
    from .. import plot  # noqa: PLC0415 - loads matplotlib

    path = plot.check_path(out)
    return [f"Wrote {plot.save(draw(plot), path)}"]


def refuse_ends_without_out(options: argparse.Namespace, *names: str) -> None:
    """OdenetsError for options of a figure without --out."""
    if options.out is None and any(getattr(options, name) for name in names):
        listed = " or ".join([", ".join(f"--{name}" for name in names[:-1]), f"--{names[-1]}"])
        raise OdenetsError(f"got {listed} without --out, expected a file such as --out region.png")
