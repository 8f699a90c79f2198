"""The order star: where a scheme grows faster than the exact solution."""

from __future__ import annotations

from collections.abc import Sequence
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
from .region import Float, amplification_factors, grid
from .resolve import numeric

Complex = npt.NDArray[np.complex128]
#: Spokes from the origin, and points on each, along which the principal root is continued.
ANGLES, RADII = 240, 100


@dataclass(frozen=True, eq=False, repr=False)
class OrderStar(Shown):
    """|zeta(z) e^-z| on a rectangular grid, zeta the principal root.

    Attributes:
        re: the real parts, shape (columns,); im: the imaginary parts, shape (rows,).
        ratio: |zeta(z) e^-z|, shape (rows, columns); inf at poles.
        order: p in zeta(z) = e^z - C z^(p+1) + ...: the order on u' = lambda u.
        constant: that C, exact; a Float where the scheme is known in decimals.
        sectors: p + 1, how many sectors of width pi/(p+1) the star has at the origin.
        scheme: its name.
    """

    re: Float
    im: Float
    ratio: Float
    order: int
    constant: sympy.Expr
    sectors: int
    scheme: str = ""

    def __str__(self) -> str:
        rows = [
            ["order of zeta(z)", str(self.order)],
            ["error constant", show(self.constant)],
            ["sectors at 0", str(self.sectors)],
            ["points", f"{len(self.im)} x {len(self.re)}"],
            ["Re z", f"{self.re[0]:g} ... {self.re[-1]:g}"],
            ["Im z", f"{self.im[0]:g} ... {self.im[-1]:g}"],
            ["in the star", f"{self.star.mean():.1%}"],
        ]
        return render(["order star", ""], rows)

    @property
    def star(self) -> npt.NDArray[np.bool_]:
        """The set A = {z : |zeta(z)| > |e^z|}."""
        return self.ratio > 1


def order_star(
    scheme: Scheme | str,
    re: Sequence[float] = (-6.0, 6.0),
    im: Sequence[float] = (-6.0, 6.0),
    resolution: int = 400,
    **values: Any,
) -> OrderStar:
    """|R(z) e^-z| over a grid; |zeta(z) e^-z| of the principal root where several values are carried.

    The order star of a multistep scheme lives on a Riemann surface. Given is the sheet of the
    principal root, continued from the origin straight outwards: its branch cuts run from the branch
    points away from the origin, drawn to a degree.

    Args:
        scheme: a Scheme or a name of the zoo.
        re: ends of the rectangle along the real axis, in units of h lambda.
        im: the same along the imaginary axis.
        resolution: points along each side, at least 2.
        values: exact numbers for all its symbols.

    Raises:
        SchemeError: a symbol without a value, an empty rectangle, a resolution below 2, or no
            principal root (see :func:`odenets.analysis.principal_series`).

    Source: Wanner, Hairer & Norsett (1978), Order Stars and Stability Theorems; Hairer & Wanner,
        Solving Ordinary Differential Equations II (1996), IV.4 and V.4.
    """
    found = numeric(scheme, values, "the order star", "")
    x, y = grid("order star", re, im, resolution)
    order, constant = _contact(found)
    points = x[None, :] + 1j * y[:, None]
    roots = amplification_factors(found, points)
    root = roots[..., 0] if found.carried == 1 else _sheet(Branch(found), found, points, roots)
    with np.errstate(over="ignore"):
        ratio = np.abs(root) * np.exp(-points.real)
    return OrderStar(x, y, ratio, order, constant, order + 1, found.name)


def _contact(scheme: Scheme) -> tuple[int, sympy.Expr]:
    """(p, C) of zeta = e^z - C z^(p+1) + ... with p at most the number of free coefficients of Phi, 2 s + 2 r."""
    series = principal_series(scheme, 2 * (scheme.stages + scheme.carried) + 4)
    errors = [1 / sympy.factorial(j) - c for j, c in enumerate(series)]
    first = next((j for j, c in enumerate(errors) if not (is_zero(c) or abs(c) < scheme.tolerance)), None)
    if first is None:
        raise SchemeError(
            f"{scheme.name}: got a root that follows e^z to order {len(errors) - 1}, expected a lower one"
        )
    constant = sympy.expand(sympy.radsimp(errors[first]))
    return first - 1, constant if scheme.digits is None else sympy.N(constant, scheme.digits)


def _sheet(branch: Branch, scheme: Scheme, points: Complex, roots: Complex) -> Complex:
    """The principal root on the grid: of the roots there, the one the nearest point of a spoke leads to."""
    radii = np.linspace(0, np.abs(points).max(), RADII + 1)
    spokes = radii[:, None] * np.exp(2j * np.pi * np.arange(ANGLES) / ANGLES)
    found = np.ones(spokes.shape, dtype=complex)
    candidates = amplification_factors(scheme, spokes[1:])
    for n in range(1, RADII + 1):
        guess = branch.predict(found[n - 1], spokes[n - 1], spokes[n])
        found[n] = branch.nearest(candidates[n - 1], guess)
    i = np.rint(np.abs(points) / radii[1]).astype(int)
    j = np.rint(np.angle(points) * ANGLES / (2 * np.pi)).astype(int) % ANGLES
    return branch.nearest(roots, branch.predict(found[i, j], spokes[i, j], points))
