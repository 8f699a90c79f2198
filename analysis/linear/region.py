"""The stability region on a grid and at given points: the one part of the analysis in floating point."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.given_numbers import integer
from odenets.scheme.shown import Shown

from ..text.tables import render
from .double_points import at_double_point
from .resolve import numeric, z
from .stability import stability_matrix

#: Rounding allowed for in |zeta| <= 1; a double root on the circle is only found to its square root.
TOLERANCE = 1e-8
#: degree of a polynomial from which on its powers are not summed up
LONG = 14
#: coefficients of Chebyshev polynomials are at most twice the bound on the interval, which is 1 of stabilised schemes
BOUNDED = 10
#: points evaluated at a time
PIECE = 8192
Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Region(Shown):
    """Amplification on a rectangular grid of z = h lambda.

    Attributes:
        re: the real parts, shape (columns,); im: the imaginary parts, shape (rows,).
        radius: max |zeta|, shape (rows, columns); inf where a stage equation has no solution.
        scheme: its name.
    """

    re: Float
    im: Float
    radius: Float
    scheme: str = ""

    def __str__(self) -> str:
        finite = self.radius[np.isfinite(self.radius)]
        rows = [
            ["points", f"{len(self.im)} x {len(self.re)}"],
            ["Re z", f"{self.re[0]:g} ... {self.re[-1]:g}"],
            ["Im z", f"{self.im[0]:g} ... {self.im[-1]:g}"],
            ["stable", f"{self.stable.mean():.1%}"],
            ["max |zeta|", f"{finite.min():.3g} ... {finite.max():.3g}" if finite.size else "inf"],
        ]
        return render(["stability region", ""], rows)

    @property
    def stable(self) -> npt.NDArray[np.bool_]:
        """Where max |zeta| <= 1, rounding aside: the closure of the region (see :func:`is_stable`)."""
        return self.radius <= 1 + TOLERANCE


def stability_region(
    scheme: Scheme | str,
    re: Sequence[float] = (-5.0, 1.0),
    im: Sequence[float] = (-4.0, 4.0),
    resolution: int = 400,
    **values: Any,
) -> Region:
    """The spectral radius max |zeta| over a grid of ``resolution`` x ``resolution`` points of the z plane.

    Args:
        scheme: a Scheme or a name of the zoo.
        re: ends of the rectangle along the real axis, in units of h lambda.
        im: the same along the imaginary axis.
        resolution: points along each side, at least 2.
        values: numbers for all its symbols.

    Raises:
        SchemeError: a symbol without a value, an empty rectangle, a resolution below 2.
    """
    found = numeric(scheme, values, "the stability region", "")
    x, y = grid("stability region", re, im, resolution)
    return Region(x, y, spectral_radius(found, x, y), found.name)


def grid(what: str, re: Sequence[float], im: Sequence[float], resolution: int) -> tuple[Float, Float]:
    """The coordinates of a rectangular grid; SchemeError for one that is empty or of fewer than 2 points a side."""
    for name, ends in (("re", re), ("im", im)):
        if len(ends) != 2 or not np.isfinite(ends).all() or not ends[0] < ends[1]:
            raise SchemeError(f"{what}: got {name} = {tuple(ends)}, expected two finite numbers, low < high")
    resolution = integer(resolution, f"{what}: resolution", 2)
    x, y = (np.linspace(low, high, resolution, dtype=np.float64) for low, high in (re, im))
    return x, (y - y[::-1]) / 2 if im[0] == -im[1] else y  # symmetric to the last digit


def is_stable(
    scheme: Scheme | str, points: npt.ArrayLike, *, tolerance: float = TOLERANCE, **values: Any
) -> npt.NDArray[np.bool_]:
    """Whether each point z lies in the stability region, by the root condition.

    All |zeta| <= 1 + tolerance, and no multiple one on the circle but where M(z) is diagonalisable there
    (V = I): the points z at which that fails are known exactly (:func:`.double_points.double_points`).
    Distances of roots that were computed say nothing, since an error e in z moves a double root by sqrt(e).

    Args:
        scheme: a Scheme or a name of the zoo.
        points: complex z = h lambda, of any shape.
        tolerance: rounding allowed for, in |zeta| and in the distance of z from such a point.
        values: numbers for all its symbols.

    Returns:
        An array of bool of the shape of ``points``.

    Raises:
        SchemeError: a symbol without a value.
    """
    found = numeric(scheme, values, "stability", "")
    at = np.asarray(points, dtype=complex)
    inside = np.abs(amplification_factors(found, at)).max(axis=-1) <= 1 + tolerance
    return np.asarray(inside & ~at_double_point(found, at, tolerance))


def step_matrices(scheme: Scheme, points: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """M(z), shape (*points.shape, carried, carried); not finite where it has a pole.

    Entries in lowest terms are evaluated, not I - zA inverted: LAPACK refuses a whole batch for one point
    that happens to be a pole.
    """
    functions = _entries(scheme)
    values = np.empty((*points.shape, len(functions), len(functions)), dtype=complex)
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, row in enumerate(functions):
            for j, entry in enumerate(row):
                values[..., i, j] = entry(points)
    return values


@lru_cache(maxsize=256)
def _entries(scheme: Scheme) -> list[list[Callable[[Any], Any]]]:
    """The entries of M as functions of z, by Horner's scheme: powers of complex numbers take many times as long."""
    matrix = stability_matrix(scheme)
    return [[_function(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)]


def _function(entry: sympy.Expr) -> Callable[[Any], Any]:
    long = entry.is_polynomial(z) and sympy.degree(entry, z) >= LONG
    if long and (series := _by_chebyshev(entry)) is not None:
        return series
    parts = [sympy.horner(part, wrt=z) if part.has(z) else part for part in sympy.fraction(entry)]
    found: Callable[[Any], Any] = sympy.lambdify(z, sympy.N(parts[0] / parts[1], 17), "numpy")
    return found


def _by_chebyshev(entry: sympy.Expr) -> Callable[[Any], Any] | None:
    """A polynomial of many stages by Chebyshev polynomials on [-L, 0]: powers of z would cancel to nothing there.

    L is twice the mean of the zeros, which stabilised schemes have spread over their real interval. None where that is
    no such interval, the polynomial not bounded on it as theirs is, or the coefficients are no fractions.
    """
    poly = sympy.Poly(entry, z)
    lead, second, *_ = poly.all_coeffs()
    length = 2 * second / (poly.degree() * lead)
    if not all(c.is_Rational for c in poly.all_coeffs()) or length <= 0:
        return None
    length = sympy.Rational(length).limit_denominator(1000)
    coefficients = [sympy.Integer(0)] * (poly.degree() + 1)
    for k, c in enumerate(reversed(poly.compose(sympy.Poly(length * (z - 1) / 2, z)).all_coeffs())):
        for j in range(k // 2 + 1):  # x^k = 2^(1-k) sum of binomial(k, j) T_{k-2j}, T_0 once
            coefficients[k - 2 * j] += c * sympy.binomial(k, j) / sympy.Integer(2) ** (k - (2 * j != k))
    numbers, scale = [float(c) for c in coefficients], 2 / float(length)
    if max(map(abs, numbers)) > BOUNDED:
        return None
    return lambda points: np.polynomial.chebyshev.chebval(1 + scale * np.asarray(points), numbers)


def amplification_factors(scheme: Scheme, points: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """Eigenvalues of M(z), shape (*points.shape, carried); inf where M has a pole."""
    values = step_matrices(scheme, points)
    poles = ~np.isfinite(values).all(axis=(-2, -1))
    values[poles] = 0
    roots = _EIGENVALUES.get(scheme.carried, np.linalg.eigvals)(values).astype(np.complex128, copy=False)
    roots[poles] = np.inf
    return roots


def _of_two(m: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    half, product = (m[..., 0, 0] + m[..., 1, 1]) / 2, m[..., 0, 0] * m[..., 1, 1] - m[..., 0, 1] * m[..., 1, 0]
    larger = _larger_root(half, product)
    other = np.divide(product, larger, out=np.zeros_like(larger), where=larger != 0)
    return np.stack([larger, other], axis=-1)


def _larger_root(half: Any, product: Any) -> Any:
    """The larger root of zeta^2 - 2 half zeta + product: by the formula, the sign chosen so that nothing cancels."""
    root = np.sqrt(half * half - product)
    return half + np.where((half * np.conj(root)).real < 0, -root, root)


_EIGENVALUES = {1: lambda m: m[..., 0], 2: _of_two}


def spectral_radius(scheme: Scheme, x: Float, y: Float) -> Float:
    """Max |zeta| at x + iy, shape (len(y), len(x)), in pieces that stay in the processor's cache.

    Coefficients are real, so that it is the same at conjugate points: of a grid that is symmetric, half is computed.
    """
    half = len(y) // 2
    if half and (y == -y[::-1]).all():
        lower = spectral_radius(scheme, x, y[: len(y) - half])
        return np.concatenate([lower, lower[:half][::-1]])
    rows = max(1, PIECE // len(x))
    radius = _radius(scheme)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [radius(x[None, :] + 1j * y[start : start + rows, None]) for start in range(0, len(y), rows)]
    return np.concatenate(found)


def _radius(scheme: Scheme) -> Callable[[npt.NDArray[np.complex128]], Float]:
    matrix = stability_matrix(scheme)
    if scheme.carried > 2:
        return lambda points: np.abs(amplification_factors(scheme, points)).max(axis=-1)
    if scheme.carried == 1:
        largest = _function(matrix[0, 0])
    else:
        half, product = (_function(sympy.cancel(e, extension=True)) for e in (matrix.trace() / 2, matrix.det()))

        def largest(points: Any) -> Any:
            return _larger_root(half(points), product(points))

    def radius(points: npt.NDArray[np.complex128]) -> Float:
        found = np.broadcast_to(np.abs(largest(points)), points.shape)
        return found if np.isfinite(found).all() else np.where(np.isfinite(found), found, np.inf)

    return radius
