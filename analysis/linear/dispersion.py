"""Dispersion and dissipation: what a scheme does to the phase and the amplitude of an oscillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.exact import is_zero
from odenets.scheme.shown import Shown

from ..text.expressions import show
from ..text.tables import render
from .principal_root import Branch, principal_series
from .resolve import numeric, z, zeta
from .stability import stability_polynomial

#: Longest step of the continuation along the axis, in y = omega h.
FINE = 0.01
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class PhaseError(Shown):
    """What one step does to u' = i omega u, y = omega h, by the principal root zeta(i y).

    Attributes:
        dispersion_order: q in y - arg zeta(i y) = c y^(q+1) + ...; dispersion_constant: that c, exact.
        dissipation_order: q in 1 - |zeta(i y)| = d y^(q+1) + ..., oo where the amplitude is kept
            exactly; dissipation_constant: that d, exact (0 with oo); negative: the oscillation grows.
        y: points in radians a step, shape (points,).
        dispersion: y - arg zeta(i y) in radians a step, arg continuous from 0; shape (points,).
        dissipation: 1 - |zeta(i y)|, shape (points,).
        scheme: its name.
    """

    dispersion_order: int
    dispersion_constant: sympy.Expr
    dissipation_order: sympy.Expr
    dissipation_constant: sympy.Expr
    y: Float
    dispersion: Float
    dissipation: Float
    scheme: str = ""

    def __str__(self) -> str:
        parts = (
            ("dispersion", self.dispersion_order, self.dispersion_constant, self.dispersion),
            ("dissipation", self.dissipation_order, self.dissipation_constant, self.dissipation),
        )
        rows = [[name, str(order), show(constant), f"{abs(curve).max():.3g}"] for name, order, constant, curve in parts]
        head = [f"on u' = i omega u {self.scheme}".rstrip(), "order", "constant", f"largest up to y = {self.y[-1]:.4g}"]
        return render(head, rows)


def dispersion_dissipation(scheme: Scheme | str, y: npt.ArrayLike | None = None, **values: Any) -> PhaseError:
    """Phase error (dispersion) and amplitude error (dissipation) of one step on u' = i omega u.

    The leading terms come from the exact series of log zeta(z) at 0. Whether the dissipation is 0
    identically is decided too: zeta and its mirror image at the unit circle are algebraic functions
    that agree altogether if they do to an order above the degree of a resultant. The curves follow
    the principal root from y = 0; where roots of several carried values meet, it is the one the
    tangent leads to.

    Args:
        scheme: a Scheme or a name of the zoo.
        y: omega h, increasing, not negative, shape (points,); by default 400 points up to pi.
        values: exact numbers for all its symbols.

    Returns:
        A :class:`PhaseError`; rk4 has dispersion y^5/120 and dissipation y^6/144, leapfrog no
        dissipation. Constants of schemes known in decimals are rounded to their digits.

    Raises:
        SchemeError: a symbol without a value, points that are no increasing sequence, or no
            principal root (see :func:`odenets.analysis.principal_series`).

    Source: van der Houwen & Sommeijer (1987), Explicit Runge-Kutta (-Nystrom) Methods with Reduced
        Phase Errors for Computing Oscillating Solutions, section 2.
    """
    found = numeric(scheme, values, "the phase error", "")
    points = _checked(np.linspace(0, np.pi, 400) if y is None else y)
    phase, amplitude = _leading(found)
    if found.digits is not None:
        phase, amplitude = ((n, sympy.N(c, found.digits) if c else c) for n, c in (phase, amplitude))
    angle, modulus = _curves(found, points)
    return PhaseError(int(phase[0]), phase[1], *amplitude, points, points - angle, 1 - modulus, found.name)


def _checked(y: npt.ArrayLike) -> Float:
    points = np.asarray(y, dtype=np.float64)
    good = points.ndim == 1 and points.size and np.isfinite(points).all()
    if not good or points[0] < 0 or (np.diff(points) <= 0).any():
        raise SchemeError(
            f"phase error: got y of shape {points.shape}, expected one row of finite, increasing numbers, none negative"
        )
    return points


def _leading(scheme: Scheme) -> tuple[tuple[sympy.Expr, sympy.Expr], tuple[sympy.Expr, sympy.Expr]]:
    """(order, constant) of y - arg zeta(i y) and of 1 - |zeta(i y)|, from log zeta = sum c_j z^j.

    Re(c_j (i y)^j) is left for even j, Im for odd ones. The resultant in zeta of Phi(zeta, i y) and
    its mirror image is a polynomial in y of degree at most 2 d_zeta d_z: beyond that order the even
    coefficients vanish for ever.
    """
    phi = stability_polynomial(scheme)
    decisive = 2 * phi.degree(zeta) * phi.degree(z)
    logarithm = _logarithm(principal_series(scheme, max(decisive, scheme.order + 2) + 2))
    errors = [-c for c in logarithm]
    errors[1] += 1
    odd = next((j for j, c in enumerate(errors) if j % 2 and not is_zero(c)), None)
    even = next((j for j, c in enumerate(errors) if j % 2 == 0 and not is_zero(c)), None)
    if odd is None:
        raise SchemeError(
            f"{scheme.name}: got a phase right to order {len(errors) - 1}, expected a lower one: no algebraic "
            "function of this degree follows exp so far; report the scheme"
        )
    phase = sympy.Integer(odd - 1), errors[odd] * (-1) ** ((odd - 1) // 2)
    if even is None:
        return phase, (sympy.oo, sympy.Integer(0))
    return phase, (sympy.Integer(even - 1), errors[even] * (-1) ** (even // 2))


def _logarithm(series: list[sympy.Expr]) -> list[sympy.Expr]:
    """Coefficients of log of a series that starts with 1: j a_j = sum_i i c_i a_{j-i}."""
    found: list[sympy.Expr] = [sympy.Integer(0)]
    for j in range(1, len(series)):
        rest = sum((i * found[i] * series[j - i] for i in range(1, j)), start=sympy.Integer(0))
        found.append(sympy.expand(sympy.radsimp(sympy.expand(series[j] - rest / j))))
    return found


def _curves(scheme: Scheme, points: Float) -> tuple[Float, Float]:
    """Continuous argument and modulus of the principal root at i y."""
    counts = np.maximum(1, np.ceil(np.diff(points, prepend=0.0) / FINE)).astype(int)
    starts = np.concatenate([[0.0], points[:-1]])
    pieces = [np.linspace(a, b, n + 1)[1:] for a, b, n in zip(starts, points, counts, strict=True)]
    roots = Branch(scheme).along(1j * np.concatenate(pieces))
    angle = np.unwrap(np.concatenate([[0.0], np.angle(roots)]))[1:]
    chosen = np.cumsum(counts) - 1
    return angle[chosen], np.abs(roots)[chosen]
