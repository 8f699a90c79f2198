"""A scheme as the linear multistep scheme that it is, whatever it carries: its generating polynomials."""

from __future__ import annotations

from functools import lru_cache

import sympy
from sympy.polys.matrices import DomainMatrix

from .general_linear_method import GeneralLinearMethod

#: The shift by one step, and the amplification factor of one.
zeta = sympy.Symbol("zeta")


def stage_shift(scheme: GeneralLinearMethod) -> int | None:
    """0 if the one stage is u_n, 1 if it is u_{n+1}, None for any other scheme."""
    if scheme.stages != 1 or scheme.Gamma is not None:
        return None
    if scheme.A.is_zero_matrix and list(scheme.U) == [1] + [0] * (scheme.carried - 1):
        return 0
    if scheme.A.row(0) == scheme.B.row(0) and scheme.U.row(0) == scheme.V.row(0):
        return 1
    return None


def response(
    scheme: GeneralLinearMethod, forcing: sympy.MatrixBase, component: int = 0
) -> tuple[sympy.Expr, sympy.Expr]:
    """Numerator and denominator of e^T (zeta I - V)^-1 forcing, in lowest terms."""
    pencil = DomainMatrix.from_Matrix(zeta * sympy.eye(scheme.carried) - scheme.V, extension=True)
    row = pencil.to_field().inv().to_Matrix().row(component)
    top, bottom = sympy.fraction(sympy.cancel((row * forcing)[0], extension=True))
    return top, bottom


@lru_cache(maxsize=256)
def generating_polynomials(scheme: GeneralLinearMethod) -> tuple[sympy.Poly, sympy.Poly] | None:
    """(rho, sigma) without common factors, rho monic; None where :func:`stage_shift` is None."""
    shift = stage_shift(scheme)
    if shift is None:
        return None
    top, bottom = response(scheme, scheme.B * zeta**shift)
    lead = sympy.Poly(bottom, zeta).LC()
    rho, sigma = (sympy.Poly(sympy.cancel(part / lead, extension=True), zeta, extension=True) for part in (bottom, top))
    return rho, sigma


def multistep_error_constant(rho: sympy.Poly, sigma: sympy.Poly, order: int) -> sympy.Expr:
    """C_{p+1} = sum_j j^(p+1) alpha_j / (p+1)! - sum_j j^p beta_j / p!, normalised by alpha_k = 1.

    Source: Lambert, Computational Methods in Ordinary Differential Equations (1973), section 2.6.
    """
    q = order + 1

    def moment(poly: sympy.Poly, power: int) -> sympy.Expr:
        found = [c * sympy.Integer(j) ** power for j, c in enumerate(reversed(poly.all_coeffs()))]
        return sum(found, start=sympy.Integer(0)) / sympy.factorial(power)

    return sympy.expand(moment(rho, q) - moment(sigma, q - 1))
