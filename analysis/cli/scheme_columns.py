"""The columns of the tables of schemes: what each says of a scheme, and what that means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.bibliography import cite

from ..linear.accuracy import error_constant, order
from ..linear.generating_polynomials import effective_step, stage_shift, steps
from ..linear.intervals import imaginary_interval, real_interval
from ..linear.resolve import zeta
from ..linear.sector import a_alpha, l_stable, region_is_bounded
from ..linear.stability import stability_polynomial
from ..linear.zero_stability import zero_stable, zero_stable_range
from ..text.expressions import ascending, join_terms, show, show_set, starts_negative

NONE = "-"
MANY = 4  # authors named in full
#: Behind the name of a scheme whose properties are those for linear f.
LINEAR_SIGN = "†"
LINEAR_NOTE = (
    f"{LINEAR_SIGN} Some stage does not start from u (PolyNet): order, error constant and stability hold for "
    "linear f only."
)


@dataclass(frozen=True)
class Column:
    """One column: its head, what it says of a scheme, and the sentence that explains it."""

    head: str
    text: Callable[[Scheme], str]
    meaning: str = ""


def kind(scheme: Scheme) -> str:
    """What it is, from its matrices: Runge-Kutta, additive, linear multistep, partitioned or general linear."""
    if scheme.components > 1:
        return "partitioned"
    if scheme.carried == 1:
        return "Runge-Kutta" if not scheme.several else "additive"
    return "general linear" if stage_shift(scheme) is None else "linear multistep"


def _name(scheme: Scheme) -> str:
    return f"{scheme.name} {LINEAR_SIGN}" if scheme.linear_only else scheme.name


def _depends(scheme: Scheme) -> str:
    return "depends on " + ", ".join(map(str, scheme.symbols))


def _number(of: Callable[[Scheme], sympy.Expr]) -> Callable[[Scheme], str]:
    """A number, where no symbol is free."""
    return lambda scheme: _depends(scheme) if scheme.symbols else show(of(scheme))


def _sector(column: Callable[[Scheme], str], never: str) -> Callable[[Scheme], str]:
    """The column, but ``never`` where no value of a free symbol lets a sector be stable."""
    return lambda scheme: never if region_is_bounded(scheme) else column(scheme)


def _verdict(of: Callable[[Scheme], bool]) -> Callable[[Scheme], str]:
    return lambda scheme: _depends(scheme) if scheme.symbols else _yes(of(scheme))


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"


def _order(scheme: Scheme) -> str:
    return str(order(scheme)) if scheme.embedded is None else f"{order(scheme)}({scheme.embedded_order})"


def _error_constant(scheme: Scheme) -> str:
    constant = error_constant(scheme)
    return NONE if constant is None else show(constant)


def _zero_stable(scheme: Scheme) -> str:
    if len(scheme.symbols) != 1:
        return _verdict(zero_stable)(scheme)
    stable = zero_stable_range(scheme)
    return "yes" if stable == sympy.Reals else f"{scheme.symbols[0]} in {show_set(stable)}"


def _amplification(scheme: Scheme) -> str:
    if not scheme.reversible:
        return NONE
    try:
        return _depends(scheme) if len(scheme.symbols) > 1 else show(scheme.amplification)
    except SchemeError:  # no formula for the eigenvalues
        return _depends(scheme)


def _polynomial(poly: sympy.Poly) -> str:
    """By descending powers of zeta, e.g. ``zeta**2 - (1 + 3*z/2)*zeta + z/2``."""
    terms = []
    for (power,), coefficient in sympy.Poly(poly.as_expr(), zeta).terms():
        sign = "-" if starts_negative(sympy.expand(coefficient)) else ""
        positive = sympy.expand(-coefficient if sign else coefficient)
        factor = f"({ascending(positive)})" if positive.is_Add else ascending(positive)
        factors = [] if positive == 1 and power else [factor]
        factors += [] if power == 0 else ["zeta"] if power == 1 else [f"zeta**{power}"]
        terms.append(sign + "*".join(factors))
    return join_terms(terms)


def _source(scheme: Scheme) -> str:
    """Authors, the first of many, and year of the full reference."""
    found = re.match(r"(.*?) (\(\d{4}\))", cite(scheme.reference))
    if found is None:
        return scheme.reference or NONE
    authors = found[1].split(", ")
    shown = found[1] if len(authors) <= MANY else f"{authors[0]} et al."
    return f"{shown} {found[2]}"


NAME = Column("scheme", _name, "its name in `odenets.schemes`")
ZERO_STABLE = Column("zero-stable", _zero_stable, "whether it stays bounded on u' = 0, however many layers there are")

STABILITY = (
    NAME,
    Column("real interval", _number(real_interval)),
    Column("imaginary interval", _number(imaginary_interval)),
    ZERO_STABLE,
    Column("stability polynomial", lambda s: _polynomial(stability_polynomial(s))),
)

SCHEMES = (
    NAME,
    Column("kind", lambda s: f"{s.structure} {kind(s)}", "what its matrices make it"),
    Column(
        "stages",
        lambda s: str(s.stages),
        "function evaluations a step, one less where the last is the next one's first",
    ),
    Column("steps", lambda s: str(steps(s)), "k of a k-step scheme"),
    Column("starting", lambda s: str(s.starting_values), "steps a one-step scheme must do first"),
    Column("order", _order, "p, from all rooted trees; in brackets that of the embedded weights"),
    Column("error constant", _error_constant, "C of the local error C z^(p+1) on u' = lambda u, z = h lambda"),
    Column("effective step", lambda s: show(effective_step(s)), "time a step advances u' = f by, in units of h"),
    Column(
        "real",
        _number(real_interval),
        "largest x with [-x, 0] in the closed stability region, in h lambda; additive schemes share lambda equally",
    ),
    Column("imaginary", _number(imaginary_interval), "largest y with [-iy, iy] in it; of partitioned schemes, h omega"),
    Column(
        "A(alpha)",
        _sector(_number(a_alpha), "0"),
        "largest sector around the negative real axis in it, in degrees; 90: A-stable",
    ),
    Column("L-stable", _sector(_verdict(l_stable), "no"), "A-stable, and infinitely stiff parts vanish in one step"),
    ZERO_STABLE,
    Column("reversible", lambda s: _yes(s.reversible), "whether a step can be undone explicitly"),
    Column("amplification", _amplification, "factor by which undoing a step multiplies rounding errors"),
    Column("reference", _source, "author and year"),
)
