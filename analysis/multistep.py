"""The generating polynomials of a linear multistep scheme, and what a scheme takes for u' = 1."""

from __future__ import annotations

from typing import Any

import sympy
from sympy.polys.matrices import DomainMatrix

from odenets import Scheme, SchemeError

from .resolve import resolve, zeta
from .stability import characteristic


def multistep_polynomials(scheme: Scheme | str, **values: Any) -> tuple[sympy.Poly, sympy.Poly]:
    """(rho, sigma) with rho(E) u_n = h sigma(E) f(u_n), E the shift by one step.

    Read off the matrices, not off the name: eliminating the carried values from y+ = h B f + V y
    leaves det(E I - V) u = e_1^T adj(E I - V) B h f. So Momentum ResNet is found to be a two-step
    scheme in disguise. Common factors are removed and rho is monic.

    Args:
        scheme: any scheme with one stage at u_n or at u_{n+1}.
        values: exact numbers for its symbols; the others stay symbolic.

    Returns:
        Two sympy Polys in :data:`analysis.zeta`; lm: (zeta - 1)(zeta + k) and zeta.

    Raises:
        SchemeError: several stages, or a stage at another point (one-leg schemes).

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), III.2.
    """
    found = resolve(scheme, values)
    shift = stage_shift(found)
    if shift is None:
        where = f"{found.stages} stages" if found.stages > 1 else "a stage that is neither u_n nor u_{n+1}"
        raise SchemeError(
            f"{found.name} got {where}, expected one stage at u_n or u_{{n+1}}: only a linear multistep scheme "
            "has polynomials rho and sigma; use stability_polynomial for its stability"
        )
    pencil = DomainMatrix.from_Matrix(zeta * sympy.eye(found.carried) - found.V, extension=True)
    rho = characteristic(found.V)
    response = pencil.to_field().inv().to_Matrix().row(0) * found.B
    sigma = rho * response[0] * zeta**shift
    top, bottom = sympy.fraction(sympy.cancel(sigma / rho, extension=True))
    lead = sympy.Poly(bottom, zeta).LC()
    return tuple(sympy.Poly(sympy.cancel(part / lead, extension=True), zeta, extension=True) for part in (bottom, top))


def stage_shift(scheme: Scheme) -> int | None:
    """0 if the one stage is u_n, 1 if it is u_{n+1}, None for any other scheme."""
    if scheme.stages != 1:
        return None
    if scheme.A.is_zero_matrix and list(scheme.U) == [1] + [0] * (scheme.carried - 1):
        return 0
    if scheme.A.row(0) == scheme.B.row(0) and scheme.U.row(0) == scheme.V.row(0):
        return 1
    return None


def effective_step(scheme: Scheme | str, **values: Any) -> sympy.Expr:
    """The time one step advances u' = f by, in units of h: sigma(1) / rho'(1).

    1 for a consistent scheme; 1/(1 + k) for lm, which solves (1 + k) u' = f. In the matrices of the
    scheme, e_1^T adj(I - V) B 1 / chi'(1) with chi(zeta) = det(zeta I - V): the drift under u' = 1,
    for schemes of any number of stages.

    Returns:
        An exact number or an expression in the free symbols; oo where chi has the double root 1
        (lm at k = -1), since the scheme then solves a second-order equation.

    Raises:
        SchemeError: values that do not fit, or carried values that do not depend on each other.

    Source: Lu, Zhong, Li & Dong (2018), section 3, for lm.
    """
    found = resolve(scheme, values)
    shifted = sympy.Matrix(sympy.eye(found.carried) - found.V)
    drift = (shifted.adjugate() * found.B * sympy.ones(found.stages, 1))[0]
    slope = characteristic(found.V).diff(zeta).subs(zeta, 1)
    top, bottom = (sympy.cancel(part, extension=True) for part in (drift, slope))
    if bottom == 0:
        if top == 0:
            raise SchemeError(
                f"{found.name}: got an eigenvalue 1 of V that is neither simple nor a Jordan block, expected one "
                "solution among the carried values; analyse them one by one"
            )
        return sympy.oo
    return sympy.cancel(top / bottom, extension=True)
