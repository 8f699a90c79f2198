"""The schemes and their derived properties as tables of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import sympy

from odenets import Scheme
from odenets.bibliography import cite

from .accuracy import error_constant, order
from .intervals import imaginary_interval, real_interval
from .multistep import effective_step, stage_shift
from .stability import stability_polynomial
from .text import ascending, polynomial_text
from .zero import zero_stable, zero_stable_range

DIGITS = 10  # of a number without a short exact form


def show(number: sympy.Expr) -> str:
    """An exact number or expression for people: a rational as it is, a surd with its decimals."""
    if number == sympy.oo:
        return "inf"
    if number.is_Rational or number.free_symbols:
        return ascending(number)
    decimals = f"{float(number):.{DIGITS}g}"
    return decimals if number.has(sympy.CRootOf) else f"{number} = {decimals}"


def kind(scheme: Scheme) -> str:
    """What the scheme is, from its matrices: Runge-Kutta, linear multistep or general linear."""
    if scheme.carried == 1:
        return "Runge-Kutta"
    return "general linear" if stage_shift(scheme) is None else "linear multistep"


def _interval(of: Callable[[Scheme], sympy.Expr], scheme: Scheme) -> str:
    if scheme.symbols:
        return "depends on " + ", ".join(map(str, scheme.symbols))
    return show(of(scheme))


def _zero_stable(scheme: Scheme) -> str:
    if len(scheme.symbols) == 1:
        return f"{scheme.symbols[0]} in {show_set(zero_stable_range(scheme))}"
    if scheme.symbols:
        return "depends on " + ", ".join(map(str, scheme.symbols))
    return "yes" if zero_stable(scheme) else "no"


def show_set(values: sympy.Set) -> str:
    """A set of real numbers in the usual brackets, e.g. (-1, 1]."""
    if isinstance(values, sympy.Interval):
        left, right = "(" if values.left_open else "[", ")" if values.right_open else "]"
        return f"{left}{values.start}, {values.end}{right}"
    if isinstance(values, sympy.Union):
        return " or ".join(show_set(part) for part in values.args)
    return str(values)


def _amplification(scheme: Scheme) -> str:
    return show(scheme.amplification) if scheme.reversible else "-"


def _source(scheme: Scheme) -> str:
    """Author and year of the full reference."""
    found = re.match(r".*?\(\d{4}\)", cite(scheme.reference))
    return found.group() if found else scheme.reference or "-"


STABILITY: dict[str, Callable[[Scheme], str]] = {
    "scheme": lambda s: s.name,
    "real interval": lambda s: _interval(real_interval, s),
    "imaginary interval": lambda s: _interval(imaginary_interval, s),
    "zero-stable": _zero_stable,
    "stability polynomial": lambda s: polynomial_text(stability_polynomial(s)),
}

SCHEMES: dict[str, Callable[[Scheme], str]] = {
    "scheme": lambda s: s.name,
    "kind": lambda s: f"{s.structure} {kind(s)}",
    "stages": lambda s: str(s.stages),
    "starting": lambda s: str(s.starting_values),
    "order": lambda s: str(order(s)),
    "error constant": lambda s: show(error_constant(s)),
    "effective step": lambda s: show(effective_step(s)),
    "real": lambda s: _interval(real_interval, s),
    "imaginary": lambda s: _interval(imaginary_interval, s),
    "zero-stable": _zero_stable,
    "reversible": lambda s: "yes" if s.reversible else "no",
    "amplification": _amplification,
    "reference": _source,
}


def stability_table(schemes: Iterable[Scheme], *, markdown: bool = False) -> str:
    """Intervals, zero-stability and stability polynomial, one scheme a line."""
    return _table(STABILITY, schemes, markdown)


def schemes_table(schemes: Iterable[Scheme], *, markdown: bool = False) -> str:
    """All derived properties, one scheme a line.

    Columns: the intervals in units of h lambda, the effective step in units of h, the error
    constant as :func:`analysis.error_constant`, the amplification of rounding errors by one step
    undone. What a free symbol decides is said in terms of the symbol.
    """
    return _table(SCHEMES, schemes, markdown)


def _table(columns: dict[str, Callable[[Scheme], str]], schemes: Iterable[Scheme], markdown: bool) -> str:
    rows = [[describe(scheme) for describe in columns.values()] for scheme in schemes]
    return render(list(columns), rows, markdown=markdown)


def render(header: Sequence[str], rows: Sequence[Sequence[str]], *, markdown: bool = False) -> str:
    """Left-aligned columns; with ``markdown`` a Markdown table, bars escaped."""
    if markdown:
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(line[j]) for line in [header, *rows]) for j in range(len(header))]
    ruler = ["-" * width for width in widths]
    ends, bar = (("| ", " |"), " | ") if markdown else (("", ""), "  ")
    lines = []
    for line in [header, ruler, *rows]:
        cells = bar.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append(f"{ends[0]}{cells}{ends[1]}".rstrip())
    return "\n".join(lines)
