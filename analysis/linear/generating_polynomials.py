"""The generating polynomials of a linear multistep scheme, and what a scheme takes for u' = 1."""

from __future__ import annotations

from typing import Any

import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.multistep_form import generating_polynomials, response, stage_shift

from .resolve import resolve, zeta
from .stability import shares, to_digits


def multistep_polynomials(scheme: Scheme | str, **values: Any) -> tuple[sympy.Poly, sympy.Poly]:
    """(rho, sigma) with rho(E) u_n = h sigma(E) f(u_n), E the shift by one step.

    Read off the matrices, not off the name: eliminating the carried values from y+ = h B f + V y
    leaves det(E I - V) u = e_1^T adj(E I - V) B h f. So Momentum ResNet is found to be a two-step
    scheme in disguise. Common factors are removed and rho is monic.

    Args:
        scheme: any scheme with one stage at u_n or at u_{n+1}.
        values: exact numbers for its symbols; the others stay symbolic.

    Returns:
        Two sympy Polys in :data:`odenets.analysis.zeta`; lm: (zeta - 1)(zeta + k) and zeta.

    Raises:
        SchemeError: several stages, or a stage at another point (one-leg schemes).

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), III.2.
    """
    found = resolve(scheme, values)
    polynomials = generating_polynomials(found)
    if polynomials is None:
        where = f"{found.stages} stages" if found.stages > 1 else "a stage that is neither u_n nor u_{n+1}"
        raise SchemeError(
            f"{found.name} got {where}, expected one stage at u_n or u_{{n+1}}: only a linear multistep scheme "
            "has polynomials rho and sigma; use stability_polynomial for its stability"
        )
    return polynomials


def steps(scheme: Scheme | str) -> int:
    """The k of a k-step scheme: the degree of rho and sigma; for others one more than their starting values.

    Momentum ResNet counts 2, though it carries a velocity and needs no starting step.
    """
    found = resolve(scheme, {})
    if stage_shift(found) is None:
        return found.starting_values + 1
    return max(int(poly.degree()) for poly in multistep_polynomials(found))


def effective_step(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The time one step advances u' = f by, in units of h: sigma(1) / rho'(1).

    1 for a consistent scheme; 1/(1 + k) for lm, which solves (1 + k) u' = f. For any number of
    stages sigma/rho is read as the response of the solution to a constant f, in lowest terms,

        e_1^T (zeta I - V)^-1 B c,   c_i the factor of f in the stage's h F(Y_i),

    so that V = I, the rule for partitioned schemes, is no special case; f is shared out among
    several functions as in :func:`odenets.analysis.stability_matrix`. Where u' = 0 is not kept (In-ResNet,
    u' = f - lambda u / h) it is the step of the f term.

    Returns:
        An exact number or an expression in the free symbols, rounded where the scheme is known in
        decimals; oo where rho has the double root 1 (lm at k = -1), since the scheme then solves a
        second-order equation.

    Raises:
        SchemeError: values that do not fit, or components that advance by different times.

    Source: Lu, Zhong, Li & Dong (2018), section 3, for lm.
    """
    found = resolve(scheme, values)
    steps = {_advance(found, component) for component in range(found.components)}
    if len(steps) > 1:
        raise SchemeError(f"{found.name}: got components that advance by {steps}, expected one time for all")
    (step,) = steps
    return step if found.digits is None else to_digits(step, found.digits - 2)


def _advance(scheme: Scheme, component: int) -> sympy.Expr:
    """sigma(1) / rho'(1) of one component of the solution."""
    series = scheme.series
    factors = [series.to_sympy(c) for c in series.stage_constants]
    slopes = sympy.Matrix([c * share for c, share in zip(factors, shares(scheme), strict=True)])
    top, bottom = response(scheme, scheme.B * slopes, component)
    slope = bottom.diff(zeta).subs(zeta, 1)
    return sympy.oo if sympy.cancel(slope) == 0 else sympy.cancel(top.subs(zeta, 1) / slope, extension=True)
