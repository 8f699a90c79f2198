"""The minimal polynomial, whose root condition says whether the powers of a matrix stay bounded."""

from __future__ import annotations

from functools import lru_cache

import sympy
from sympy.polys.matrices import DomainMatrix

from odenets import Scheme

from .resolve import zeta
from .stability import characteristic, numerator, stability_matrix


@lru_cache(maxsize=256)
def minimal_stability_polynomial(scheme: Scheme) -> sympy.Poly:
    """The :func:`reduced_minimal_polynomial` of M(z), in (zeta, z)."""
    return reduced_minimal_polynomial(stability_matrix(scheme))


def reduced_minimal_polynomial(matrix: sympy.MatrixBase) -> sympy.Poly:
    """The minimal polynomial of a matrix over the rational functions in z, without factors zeta^m.

    Its roots are the eigenvalues other than 0, each as often as its largest Jordan block is long:
    the powers of the matrix are bounded if and only if it meets the root condition. The
    characteristic polynomial will not do: it has the double root 1 for V = I, which is harmless.
    """
    full = characteristic(matrix)
    poly = numerator(full)
    if poly.gcd(poly.diff(zeta)).degree(zeta) == 0:
        return poly  # simple eigenvalues: the two polynomials agree
    return numerator(_minimal(matrix))


def _minimal(matrix: sympy.MatrixBase) -> sympy.Expr:
    """The first linear relation between I, M, M^2, ... as a polynomial in zeta."""
    exact = DomainMatrix.from_Matrix(sympy.Matrix(matrix), extension=True).to_field()
    size = exact.shape[0]
    power = DomainMatrix.eye(size, exact.domain)
    columns = [_column(power)]
    while True:
        power = power * exact
        columns.append(_column(power))
        relations = DomainMatrix.hstack(*columns).nullspace()
        if relations.shape[0]:
            row = relations.to_Matrix().row(0)
            return sum((c * zeta**j for j, c in enumerate(row)), start=sympy.Integer(0))


def _column(matrix: DomainMatrix) -> DomainMatrix:
    entries = [[entry] for row in matrix.to_dense().rep.to_list() for entry in row]
    return DomainMatrix(entries, (len(entries), 1), matrix.domain)
