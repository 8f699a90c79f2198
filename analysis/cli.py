"""The command line: python -m analysis stability | modified | schemes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from odenets import OdenetsError, Scheme, SchemeError, as_scheme, schemes

from .modified import modified_equation
from .table import schemes_page, schemes_table, stability_table

Values = dict[str, list[str]]


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
    stability = commands.add_parser(
        "stability", help="stability intervals, zero-stability, polynomial; a figure with --out", allow_abbrev=False
    )
    _schemes_and_values(stability)
    stability.add_argument("--out", type=Path, help="draw the regions into this file (.png, .svg or .pdf)")
    for axis in ("re", "im"):
        stability.add_argument(f"--{axis}", type=float, nargs=2, metavar=("LOW", "HIGH"), help="ends of the figure")
    stability.add_argument("--scale", action="store_true", help="divide h lambda by the stages, the cost of a step")
    stability.set_defaults(run=_stability)
    modified = commands.add_parser("modified", help="the modified equation in derivative form", allow_abbrev=False)
    _schemes_and_values(modified)
    modified.add_argument("--order", type=int, default=4, help="highest derivative of u (default: 4)")
    modified.add_argument("--latex", action="store_true", help="write LaTeX")
    modified.set_defaults(run=_modified)
    table = commands.add_parser("schemes", help="every scheme with its derived properties", allow_abbrev=False)
    _values(table)
    table.add_argument(
        "--markdown",
        action="store_true",
        help="write the page docs/schemes.md: Markdown, with the meaning of each column",
    )
    table.set_defaults(run=_schemes)
    return parser


def _schemes_and_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("schemes", nargs="+", metavar="scheme", help=f"one of {', '.join(schemes)}")
    _values(parser)


def _values(parser: argparse.ArgumentParser) -> None:
    # argparse takes -1/2 for an option, so --k is for decimals and --set, with its =, for anything.
    parser.add_argument("--k", nargs="+", metavar="K", help="values of the symbol k, e.g. --k -0.5 0 0.5")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SYMBOL=VALUE[,VALUE...]",
        help="values of any symbol, read exactly, e.g. --set k=-1/2,0,1/2; may be repeated",
    )


def _wanted(options: argparse.Namespace) -> Values:
    """Symbol -> values, as text: Scheme.substitute reads them exactly."""
    wanted: Values = {"k": list(options.k)} if options.k else {}
    for item in options.set:
        symbol, _, text = item.partition("=")
        values = [value.strip() for value in text.split(",")]
        if not symbol.isidentifier() or not all(values):
            raise SchemeError(f"--set: got {item!r}, expected SYMBOL=VALUE or SYMBOL=VALUE,VALUE such as k=-1/2,0")
        wanted.setdefault(symbol, []).extend(values)
    return wanted


def _expand(members: Sequence[Scheme], wanted: Values) -> list[Scheme]:
    """Each scheme once, or once for every combination of the values of its own symbols."""
    known = {str(symbol) for scheme in members for symbol in scheme.symbols}
    if unknown := sorted(set(wanted) - known):
        names = ", ".join(scheme.name for scheme in members)
        raise SchemeError(
            f"got values for {', '.join(unknown)}, expected symbols of {names}: {sorted(known) or 'none'}"
        )
    found = []
    for scheme in members:
        own = {str(symbol): wanted[str(symbol)] for symbol in scheme.symbols if str(symbol) in wanted}
        found += [scheme.substitute(dict(zip(own, choice, strict=True))) for choice in product(*own.values())]
    return found


def _chosen(options: argparse.Namespace) -> list[Scheme]:
    return _expand([as_scheme(name) for name in options.schemes], _wanted(options))


def _stability(options: argparse.Namespace) -> str:
    members = _chosen(options)
    if options.out is None:
        if options.re or options.im or options.scale:
            raise OdenetsError("got --re, --im or --scale without --out, expected a file such as --out region.png")
        return stability_table(members)
    from . import plot  # noqa: PLC0415 - loads matplotlib

    path = plot.check_path(options.out)
    figure = plot.stability_region(members, re=options.re, im=options.im, scale=options.scale)
    return f"{stability_table(members)}\n\nWrote {plot.save(figure, path)}"


def _modified(options: argparse.Namespace) -> str:
    equations = [modified_equation(scheme, options.order) for scheme in _chosen(options)]
    if options.latex:
        return "\n".join(equation.latex() for equation in equations)
    return "\n".join(f"{equation.scheme}: {equation}" for equation in equations)


def _schemes(options: argparse.Namespace) -> str:
    members = _expand(list(schemes.values()), _wanted(options))
    return schemes_page(members) if options.markdown else schemes_table(members)
