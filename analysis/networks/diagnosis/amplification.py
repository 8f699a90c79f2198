"""What a scheme does to a spectrum: max |zeta|, the share outside, and whose fault it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from odenets import Scheme

from ...linear.double_points import at_double_point
from ...linear.region import TOLERANCE, amplification_factors
from .flow import Flow, flow_of
from .jacobian import Array
from .records import Amplification
from .spectrum_record import Spectrum

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
    factors, double = roots_at(scheme, points, margin, stride)
    outside = (factors > 1 + TOLERANCE) | double
    rim = (np.abs(factors - 1) <= TOLERANCE) & (np.abs(points) > margin)
    whole = {"maximum": factors.max(), "outside": outside.mean(), "boundary": rim.mean(), "double": double.mean()}
    whole = {name: float(value) for name, value in whole.items()}
    flow = flow_of(scheme)
    if flow is None:
        return Amplification(**whole, growing=np.nan, unstable=np.nan, excess=np.nan, worst_unstable=np.nan)
    grows = _grows(flow, points, margin)
    with np.errstate(over="ignore"):
        exact = np.exp(np.maximum(flow.exponent(points).real, 0.0))
    return Amplification(
        **whole,
        growing=float((outside & grows).mean()),
        unstable=float((outside & ~grows).mean()),
        excess=float((outside & grows & (factors > exact * (1 + EXCESS))).mean()),
        worst_unstable=float(factors[~grows].max(initial=0.0)),
        damped=float((grows & (factors < 1 - TOLERANCE)).mean()),
    )


def of_decided(scheme: Scheme, points: Array, margin: float, undecided: Array) -> Amplification:
    """:func:`amplification` by the eigenvalues that are known well enough; shares are of all all the same."""
    share = float(undecided.mean())
    if share == 0:
        return amplification(scheme, points, margin)
    if share == 1:
        return Amplification(np.nan, 0.0, 0.0, 0.0, 0.0, 0.0, undecided=1.0)
    found = amplification(scheme, points[~undecided], margin)
    parts = ("outside", "growing", "unstable", "excess", "damped", "boundary", "double")
    scaled: dict[str, Any] = {name: (1 - share) * getattr(found, name) for name in parts}
    return replace(found, undecided=share, **scaled)


def roots_at(scheme: Scheme, points: Array, margin: float, stride: int = 1) -> tuple[Array, Array]:
    """At each z = h lambda |zeta|, the largest root, per h; and whether it is a multiple root of modulus 1.

    Where it is one, to the accuracy of z, |zeta| is 1, not what rounding makes of it.

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
    double = at_double_point(scheme, points * stride, margin * stride)
    return np.where(double, 1.0, largest ** (1 / stride)), double


def kinds(scheme: Scheme, points: Array, margin: float) -> Array:
    """For each z INSIDE the region, or outside: GROWS as the flow does, UNSTABLE, or UNKNOWN without a flow."""
    factors, double = roots_at(scheme, points, margin)
    outside = (factors > 1 + TOLERANCE) | double
    flow = flow_of(scheme)
    if flow is None:
        return np.where(outside, UNKNOWN, INSIDE)
    return np.where(outside, np.where(_grows(flow, points, margin), GROWS, UNSTABLE), INSIDE)


def does_not_grow(scheme: Scheme, points: Array, margin: float) -> Array:
    """For each z whether the flow does not grow; everywhere where there is none to compare with."""
    flow = flow_of(scheme)
    found: Array = np.ones(points.shape, dtype=bool) if flow is None else ~_grows(flow, points, margin)
    return found


def _grows(flow: Flow, points: Array, margin: float) -> Array:
    found: Array = flow.exponent(points).real > margin * abs(flow.step)
    return found


def points_of(spectrum: Spectrum, h: float, tolerance: float) -> tuple[Array, float]:
    """(z = h lambda, what of Re z may be rounding)."""
    found = np.asarray(spectrum.eigenvalues, dtype=complex) * h
    bound = spectrum.norm if np.isfinite(spectrum.norm) else spectrum.radius
    return found, abs(h) * bound * max(tolerance, spectrum.residual)
