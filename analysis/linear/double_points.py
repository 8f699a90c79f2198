"""The points z at which a multiple root zeta lies on the unit circle: bounded roots, and growth all the same."""

from __future__ import annotations

from functools import lru_cache

import mpmath
import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme

from .minimal_polynomial import minimal_stability_polynomial
from .resolve import z, zeta
from .stability import stability_matrix

#: Digits of the points. Where a matrix of size r is defective its eigenvalues are right to DIGITS/r of them.
DIGITS = 60
NEAR = 1e-9  # of eigenvalues at the points: beyond what is left of the digits for six that coincide
EQUAL = 1e-15  # of what is known to nearly all digits: an eigenvalue's modulus and 1, a singular value and 0


@lru_cache(maxsize=256)
def double_points(scheme: Scheme) -> tuple[complex, ...]:
    """All z where M(z) has an eigenvalue on the unit circle that is not semi-simple; there |M(z)^n| grows like n.

    ± i for leapfrog, ± 2i for symplectic Euler. The roots of Phi(zeta, z) meet where its discriminant in
    zeta vanishes, which is a polynomial in z: finitely many points, found without a rounding error. What M
    is like there is then read off with 60 digits. In floating point the question has no answer: an error e in z
    moves a double root by the square root of e, so that next to i leapfrog looks stable, or unstable by 1e-8.

    Args:
        scheme: with a number for each symbol.

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), III.3 (root condition).
    """
    phi = sympy.Poly(minimal_stability_polynomial(scheme).as_expr(), zeta)
    if phi.degree() < 2:
        return ()
    top = sympy.Poly(sympy.numer(sympy.together(phi.discriminant())), z, extension=True)
    if top.degree() < 1:
        return ()
    with mpmath.workdps(DIGITS):
        points = top.sqf_part().nroots(n=DIGITS, maxsteps=500)
        return tuple(complex(point) for point in points if _grows(scheme, point))


def _grows(scheme: Scheme, point: sympy.Expr) -> bool:
    """Whether M(point) has a Jordan block of an eigenvalue of modulus 1."""
    entries = [entry.evalf(DIGITS, subs={z: point}) for entry in stability_matrix(scheme)]
    if not all(entry.is_number and entry.is_finite for entry in entries):
        return False  # a pole of M: infinite, not on the circle
    matrix = mpmath.matrix(scheme.carried, scheme.carried)
    for i, entry in enumerate(entries):
        matrix[divmod(i, scheme.carried)] = mpmath.mpmathify(entry)
    values = list(mpmath.eig(matrix, left=False, right=False))
    while values:
        cluster = [value for value in values if abs(value - values[0]) < NEAR]
        values = [value for value in values if abs(value - values[0]) >= NEAR]
        mean = sum(cluster) / len(cluster)
        if (
            len(cluster) > 1
            and abs(abs(mean) - 1) < EQUAL
            and _vectors(matrix - mean * mpmath.eye(len(matrix))) < len(cluster)
        ):
            return True
    return False


def _vectors(matrix: mpmath.matrix) -> int:
    """Dimension of the kernel."""
    return sum(bool(size < EQUAL) for size in mpmath.svd(matrix, compute_uv=False))


def at_double_point(scheme: Scheme, points: npt.NDArray[np.complex128], margin: float) -> npt.NDArray[np.bool_]:
    """Which of the points z are, to ``margin``, such a point."""
    near = [np.abs(points - point) <= margin for point in double_points(scheme)]
    return np.any(near, axis=0) if near else np.zeros(points.shape, dtype=bool)
