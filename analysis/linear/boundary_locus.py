"""The boundary locus: the curves in the z plane on which a root zeta lies on the unit circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.given_numbers import integer
from odenets.scheme.shown import Shown

from ..text.tables import render
from .resolve import numeric, z, zeta
from .stability import stability_polynomial

#: A leading coefficient this small beside the others is 0 but for rounding: a branch at infinity.
NEGLIGIBLE = 1e-12
Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False, repr=False)
class BoundaryLocus(Shown):
    """The points z with Phi(e^(i theta), z) = 0.

    Attributes:
        theta: angles in radians from 0 to 2 pi, both included, shape (points,).
        z: shape (branches, points), each row continuous in theta; nan where it passes infinity, so
            that a line drawn along it breaks there.
        scheme: its name.
    """

    theta: npt.NDArray[np.float64]
    z: Complex
    scheme: str = ""

    def __str__(self) -> str:
        finite = np.round(self.z[np.isfinite(self.z)], 12)
        ends = [f"{part.min():.4g} ... {part.max():.4g}" if part.size else "-" for part in (finite.real, finite.imag)]
        rows = [["branches", str(len(self.z))], ["angles", str(len(self.theta))]]
        return render([f"boundary locus {self.scheme}".rstrip(), ""], [*rows, ["Re z", ends[0]], ["Im z", ends[1]]])


def boundary_locus(scheme: Scheme | str, points: int = 721, **values: Any) -> BoundaryLocus:
    """The curves z(theta) on which some zeta = e^(i theta); the boundary of the stability region lies on them.

    For a linear multistep scheme the one curve rho(zeta)/sigma(zeta). Otherwise as many branches as
    Phi has degrees in z, which swap places as theta goes round; neighbouring angles are joined so
    that the branches move least in all. Not every point of the curves is on the boundary: there
    only one root is known to be on the circle.

    Args:
        scheme: a Scheme or a name of the zoo.
        points: angles, at least 3; an odd number includes theta = pi.
        values: exact numbers for all its symbols.

    Raises:
        SchemeError: a symbol without a value, too few points, or roots that do not depend on z.

    Source: Hairer & Wanner, Solving Ordinary Differential Equations II (1996), V.1 (root locus curve).
    """
    found = numeric(scheme, values, "the boundary locus", "")
    points = integer(points, "boundary locus: points", 3)
    phi = stability_polynomial(found)
    if phi.degree(z) < 1:
        raise SchemeError(f"{found.name}: got roots that do not depend on z, expected a step that evaluates f")
    theta = np.linspace(0, 2 * np.pi, points, dtype=np.float64)
    circle = np.exp(1j * theta)
    coefficients = [
        np.broadcast_to(sympy.lambdify(zeta, c, "numpy")(circle), circle.shape)
        for c in sympy.Poly(phi.as_expr(), z).all_coeffs()
    ]
    rows = [_roots(row) for row in np.stack(coefficients, axis=-1)]
    return BoundaryLocus(theta, _joined(np.array(rows)).T, found.name)


def _roots(coefficients: Complex) -> Complex:
    """All zeros, highest power first; those at infinity are nan."""
    large = np.abs(coefficients) > NEGLIGIBLE * np.abs(coefficients).max()
    start = int(np.argmax(large))
    found = np.full(len(coefficients) - 1, np.nan, dtype=complex)
    finite = np.roots(coefficients[start:])
    found[: len(finite)] = finite
    return found


def _joined(rows: Complex) -> Complex:
    """Each row of roots ordered like the one before, moved along as it was moving; shape (points, branches)."""
    last, speed = rows[0], np.zeros_like(rows[0])
    joined = [last]
    for row in rows[1:]:
        ordered = _ordered(row, last + speed)
        gone = np.isnan(ordered)
        # A branch that passes infinity keeps its last finite place to be found from.
        step = ordered - last
        speed = np.where(gone | (np.abs(step) > np.abs(ordered)), 0, step)
        last = np.where(gone, last, ordered)
        joined.append(ordered)
    return np.array(joined)


def _ordered(row: Complex, expected: Complex) -> Complex:
    """The roots in the order of the places they are expected at: the nearest pairs first."""
    distance = np.abs(row[None, :] - expected[:, None])
    distance[np.isnan(distance)] = np.finfo(float).max
    ordered = np.empty_like(row)
    for _ in row:
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        ordered[i] = row[j]
        distance[i, :], distance[:, j] = np.inf, np.inf
    return ordered
