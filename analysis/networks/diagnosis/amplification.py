"""What a scheme does to a spectrum: max |zeta|, the share outside, and whose fault it is."""

from __future__ import annotations

import numpy as np

from odenets import Scheme

from ...linear.region import TOLERANCE, amplification_factors
from .flow import Flow, flow_of
from .jacobian import Array
from .records import Amplification
from .spectrum import Spectrum

#: Growth that rounding alone may show, relative.
EXCESS = 1e-6
#: What :func:`kinds` tells apart.
INSIDE, GROWS, UNSTABLE, UNKNOWN = range(4)


def amplification(scheme: Scheme, points: Array, margin: float, stride: int = 1) -> Amplification:
    """The records of :class:`Amplification` for z = h lambda.

    Args:
        scheme: with a number for each symbol.
        points: z = h lambda, at least one.
        margin: below this |Re z| is zero, to the accuracy of the eigenvalues.
        stride: the scheme's step in units of h; factors are given per h.
    """
    factors = moduli(scheme, points, margin, stride)
    outside = factors > 1 + TOLERANCE
    whole = float(factors.max()), float(outside.mean())
    flow = flow_of(scheme)
    if flow is None:
        return Amplification(*whole, growing=np.nan, unstable=np.nan, excess=np.nan, worst_unstable=np.nan)
    grows = _grows(flow, points, margin)
    with np.errstate(over="ignore"):
        exact = np.exp(np.maximum(flow.exponent(points).real, 0.0))
    return Amplification(
        *whole,
        growing=float((outside & grows).mean()),
        unstable=float((outside & ~grows).mean()),
        excess=float((outside & grows & (factors > exact * (1 + EXCESS))).mean()),
        worst_unstable=float(factors[~grows].max(initial=0.0)),
        damped=float((grows & (factors < 1 - TOLERANCE)).mean()),
    )


def moduli(scheme: Scheme, points: Array, margin: float, stride: int = 1) -> Array:
    """|zeta| at each z = h lambda: the largest root, per h.

    A partitioned scheme of two components has the eigenvalues +-lambda of x' = f(y), y' = g(x) in
    pairs, and M(z) = M(-z), up to a similarity, has the roots of both. Of these the larger one belongs
    to the eigenvalue whose flow grows and the next to the other one, so that over a spectrum each root
    counts once. On the imaginary axis both take the larger one: neither may grow.
    """
    roots = np.abs(amplification_factors(scheme, points * stride))
    largest = roots.max(axis=-1)
    if scheme.components > 1:
        partner = np.sort(roots, axis=-1)[..., -scheme.components]
        largest = np.where(points.real < -margin, partner, largest)
    found: Array = largest ** (1 / stride)
    return found


def kinds(scheme: Scheme, points: Array, margin: float) -> Array:
    """For each z INSIDE the region, or outside: GROWS as the flow does, UNSTABLE, or UNKNOWN without a flow."""
    outside = moduli(scheme, points, margin) > 1 + TOLERANCE
    flow = flow_of(scheme)
    if flow is None:
        return np.where(outside, UNKNOWN, INSIDE)
    return np.where(outside, np.where(_grows(flow, points, margin), GROWS, UNSTABLE), INSIDE)


def _grows(flow: Flow, points: Array, margin: float) -> Array:
    found: Array = flow.exponent(points).real > margin * abs(flow.step)
    return found


def points_of(spectrum: Spectrum, h: float, tolerance: float) -> tuple[Array, float]:
    """(z = h lambda, what of Re z may be rounding)."""
    found = np.asarray(spectrum.eigenvalues, dtype=complex) * h
    bound = spectrum.norm if np.isfinite(spectrum.norm) else spectrum.radius
    return found, abs(h) * bound * max(tolerance, spectrum.residual)
