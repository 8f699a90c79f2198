"""The largest stable step for a given spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.program import compile_scheme

from .ray import reach
from .region import amplification_factors
from .resolve import numeric, z, zeta
from .stability import stability_polynomial
from .zero_stability import zero_stable

Complex = npt.NDArray[np.complex128]
Float = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

#: Amplification above 1 that is taken for rounding: roots count as stable while |zeta| <= 1 + this.
TOLERANCE = 1e-12
#: An eigenvalue this near to an axis, beside its modulus, is one on the axis but for its own rounding.
ON_AXIS = 1e-12
#: Roots of Phi(zeta, 0) nearer than this may be one multiple root, found to a root of the rounding error.
MULTIPLE = 1e-3
#: Distance from z = 0 at which it is seen where such roots go.
NEAR = 1e-6
#: Relative width to which the limit is bisected.
WIDTH = 1e-12
#: Points of the first scan over all step sizes, and of each verification below the limit that was found.
SCAN, VERIFY = 256, 512
#: |z| up to which a step that is never limited is tested.
FAR = 1e8


@dataclass(frozen=True)
class OptimalStep:
    """The largest stable step for a spectrum.

    Attributes:
        h: the step, in units of 1/lambda; 0 where none is stable, inf where all are.
        limiting: the eigenvalue that limits it; None where nothing does.
        per_stage: h divided by the function evaluations of a step (6 for dopri5, whose 7th stage only the
            embedded weights use).
        unstable: the eigenvalues for which no step however small is stable; h is 0 if there are any.
        tolerance: |zeta| up to 1 + tolerance counts as stable.
    """

    h: float
    limiting: complex | None
    per_stage: float
    unstable: tuple[complex, ...]
    tolerance: float


def optimal_step(scheme: Scheme | str, eigenvalues: npt.ArrayLike, **values: Any) -> OptimalStep:
    """The largest h for which h' lambda is in the closed stability region for all lambda and all h' in (0, h].

    Real negative and imaginary eigenvalues are answered exactly, by the stability intervals, since on
    the axes a scan cannot tell stability from growth like y^4. For the others max |zeta| is scanned
    over the steps, the first exit bisected to a relative 1e-12 and every step below it verified on a
    finer grid. That the very smallest steps are unstable is decided by first derivatives: a root on
    the circle at z = 0 must not be moved outwards. A tongue of instability narrower than 1/500 of
    h and not on an axis may be missed.

    Args:
        scheme: a Scheme or a name of the zoo.
        eigenvalues: lambda, complex, of any shape, e.g. of a Jacobian; 0 limits nothing if the scheme
            is zero-stable.
        values: exact numbers for all its symbols.

    Returns:
        An :class:`OptimalStep`.

    Raises:
        SchemeError: a symbol without a value, no eigenvalues, or some that are not finite.

    Source: Ketcheson & Ahmadia (2012), Optimal Stability Polynomials for Numerical Integration of
        Initial Value Problems, section 2, for the notion.
    """
    found = numeric(scheme, values, "the optimal step", "")
    given = np.unique(_checked(eigenvalues))
    # Coefficients are real: a conjugate pair is one question.
    spectrum, which = np.unique(given.real + 1j * np.abs(given.imag), return_inverse=True)
    started = _starts_stable(found, spectrum)
    if not started.all():
        unstable = tuple(complex(x) for x in given[~started[which.ravel()]])
        return OptimalStep(0.0, unstable[0], 0.0, unstable, TOLERANCE)
    spectrum = spectrum[spectrum != 0]
    axis = _on_axis(spectrum)
    h, limiting = _exact_limit(found, spectrum[axis])
    if not axis.all():
        h, limiting = min((h, limiting), _scanned_limit(found, spectrum[~axis], h), key=lambda limit: limit[0])
    if limiting is not None and limiting not in given:
        limiting = limiting.conjugate()
    return OptimalStep(h, limiting, h / compile_scheme(found, 1.0).evaluations, (), TOLERANCE)


def _checked(eigenvalues: npt.ArrayLike) -> Complex:
    try:
        spectrum = np.asarray(eigenvalues, dtype=complex).ravel()
    except (TypeError, ValueError) as error:
        raise SchemeError(f"optimal step: got eigenvalues {eigenvalues!r}, expected complex numbers") from error
    if not spectrum.size or not np.isfinite(spectrum).all():
        raise SchemeError(
            f"optimal step: got {spectrum.size} eigenvalues, {np.isfinite(spectrum).sum()} of them finite, "
            "expected at least one and all finite"
        )
    return spectrum


def _on_axis(spectrum: Complex) -> Truth:
    """Which are real or imaginary, their own rounding aside."""
    return np.minimum(np.abs(spectrum.real), np.abs(spectrum.imag)) <= ON_AXIS * np.abs(spectrum)


def _direction(eigenvalue: complex) -> sympy.Expr:
    """Of an eigenvalue on an axis; the lower half of the imaginary one mirrors the upper."""
    if abs(eigenvalue.real) < abs(eigenvalue.imag):
        return sympy.I
    return sympy.Integer(1 if eigenvalue.real > 0 else -1)


def _starts_stable(scheme: Scheme, spectrum: Complex) -> Truth:
    """For which eigenvalues some interval (0, h] of steps is stable."""
    good = np.zeros(spectrum.shape, dtype=bool)
    axis, zero = _on_axis(spectrum), spectrum == 0
    good[zero] = bool(zero.any()) and zero_stable(scheme)
    good[axis & ~zero] = [reach(scheme, _direction(x)) != 0 for x in spectrum[axis & ~zero]]
    if not axis.all():
        good[~axis] = _drawn_inwards(scheme, spectrum[~axis] / np.abs(spectrum[~axis]))
    return good


def _drawn_inwards(scheme: Scheme, directions: Complex) -> Truth:
    """Whether no root leaves the unit disc as z leaves 0, by d log |zeta| of those on the circle there."""
    phi = stability_polynomial(scheme).as_expr()
    roots = np.roots([complex(c) for c in sympy.Poly(phi.subs(z, 0), zeta).all_coeffs()])
    rim = roots[np.abs(roots) > 1 - MULTIPLE]
    if (np.abs(rim) > 1 + MULTIPLE).any():
        return np.zeros(directions.shape, dtype=bool)
    by_zeta, by_z = (sympy.lambdify(zeta, phi.diff(x).subs(z, 0), "numpy")(rim) + 0 * rim for x in (zeta, z))
    if (np.abs(by_zeta) < MULTIPLE).any():
        # Roots that meet part like z or its square root: it shows at once.
        near = np.abs(amplification_factors(scheme, NEAR * directions)).max(axis=-1)
        return np.asarray(near <= 1 + TOLERANCE)
    # Where the derivative is 0 the scan decides.
    growth = ((-by_z / by_zeta / rim) * directions[:, None]).real
    return np.asarray((growth <= ON_AXIS).all(axis=-1))


def _exact_limit(scheme: Scheme, spectrum: Complex) -> tuple[float, complex | None]:
    """The least reach(direction) / |lambda| over eigenvalues on the axes."""
    limits = [float(reach(scheme, _direction(x))) / float(abs(x)) for x in spectrum]
    if min(limits, default=np.inf) == np.inf:
        return np.inf, None
    return min(limits), complex(spectrum[int(np.argmin(limits))])


def _scanned_limit(scheme: Scheme, spectrum: Complex, cap: float) -> tuple[float, complex | None]:
    """The first step, below ``cap``, at which some eigenvalue is unstable, and which one; inf if there is none."""
    largest = np.abs(spectrum).max()

    def radius(h: Float) -> Float:
        return np.abs(amplification_factors(scheme, h[:, None] * spectrum)).max(axis=-1)

    def stable(h: Float) -> Truth:
        return np.asarray((radius(h) <= 1 + TOLERANCE).all(axis=-1))

    part = np.arange(1, SCAN) / SCAN
    steps = np.concatenate([part / (1 - part), np.geomspace(SCAN, FAR, 20)]) / largest
    low, high = _first_exit(stable, np.append(steps[steps < cap], cap) if cap < np.inf else steps)
    while high < np.inf:
        low, high = _bisected(stable, low, high)
        earlier = _first_exit(stable, low * np.arange(1, VERIFY + 1) / VERIFY)
        if earlier[1] == np.inf:
            return low, complex(spectrum[int(np.argmax(radius(np.array([high]))[0]))])
        low, high = earlier
    return np.inf, None


def _first_exit(stable: Callable[[Float], Truth], steps: Float) -> tuple[float, float]:
    """The last stable step before the first unstable one, and that one; inf if there is none."""
    before = 0.0
    for chunk in np.array_split(steps, max(1, len(steps) // 32)):
        good = stable(chunk)
        if not good.all():
            n = int(np.argmin(good))
            return float(chunk[n - 1]) if n else before, float(chunk[n])
        before = float(chunk[-1])
    return before, np.inf


def _bisected(stable: Callable[[Float], Truth], low: float, high: float) -> tuple[float, float]:
    """The pair drawn together: low stable (or 0), high unstable."""
    while high - low > WIDTH * high:
        middle = (low + high) / 2
        if stable(np.array([middle]))[0]:
            low = middle
        else:
            high = middle
    return low, high
