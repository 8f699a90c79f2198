"""What schemes do to a spectrum: max |zeta|, the share outside, and whose fault it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import sympy

from odenets import Scheme, SchemeError, as_scheme
from odenets.program import compile_scheme

from ..multistep import effective_step
from ..region import TOLERANCE, amplification_factors
from .operator import Array
from .records import Alternative, Amplification, Coefficient
from .spectrum import Spectrum

#: Growth that rounding alone may show, relative.
EXCESS = 1e-6


def amplification(scheme: Scheme, points: Array, margin: float, stride: int = 1) -> Amplification:
    """The records of :class:`Amplification` for z = h lambda.

    Args:
        scheme: with a number for each symbol.
        points: z = h lambda, at least one.
        margin: below this |Re z| is zero, to the accuracy of the eigenvalues.
        stride: the scheme's step in units of h; factors are given per h.
    """
    factors = np.abs(amplification_factors(scheme, points * stride)).max(axis=-1) ** (1 / stride)
    grows = points.real > margin
    outside = factors > 1 + TOLERANCE
    step = relative_step(scheme)
    time = step if step is not None and np.isfinite(step) else 0.0
    with np.errstate(over="ignore"):
        flow = np.exp(np.maximum(points.real * time, 0.0))
    return Amplification(
        maximum=float(factors.max()),
        outside=float(outside.mean()),
        growing=float((outside & grows).mean()),
        unstable=float((outside & ~grows).mean()),
        excess=float((outside & grows & (factors > flow * (1 + EXCESS))).mean()),
        worst_unstable=float(factors[~grows].max(initial=0.0)),
    )


def points_of(spectrum: Spectrum, h: float, tolerance: float) -> tuple[Array, float]:
    """(z = h lambda, what of Re z may be rounding)."""
    found = np.asarray(spectrum.eigenvalues, dtype=complex) * h
    bound = spectrum.norm if np.isfinite(spectrum.norm) else spectrum.radius
    return found, abs(h) * bound * max(tolerance, spectrum.residual)


@lru_cache(maxsize=256)
def relative_step(scheme: Scheme) -> float | None:
    """The effective step in units of h; inf where the scheme solves a second-order equation, None if undefined."""
    try:
        found = effective_step(scheme)
    except SchemeError:
        return None
    return float("inf") if found in (sympy.oo, sympy.zoo, -sympy.oo) else float(found)


@lru_cache(maxsize=256)
def parasitic_roots(scheme: Scheme) -> tuple[complex, ...]:
    """Eigenvalues of V but for those next to 1 that are the solution's own, one for each component."""
    return tuple(other_roots(np.array(scheme.V.tolist(), dtype=float), scheme.components))


def other_roots(matrix: Array, principal: int) -> list[complex]:
    """Eigenvalues of a matrix less the ``principal`` ones nearest 1, the largest first."""
    roots = sorted(np.linalg.eigvals(matrix).astype(complex), key=lambda root: abs(root - 1))
    return sorted(map(complex, roots[principal:]), key=abs, reverse=True)


def reduced(scheme: Scheme) -> Scheme:
    """The part of a starting step that makes the solution, where nothing else it carries goes into it.

    That is the starter: the stages that only fill the history say nothing about the solution.
    """
    if scheme.carried == 1 or not (scheme.U[:, 1:].is_zero_matrix and scheme.V[0, 1:].is_zero_matrix):
        return scheme
    needed: set[int] = set()
    more = {j for j in range(scheme.stages) if scheme.B[0, j] != 0}
    while more - needed:
        needed |= more
        more = {j for i in needed for j in range(scheme.stages) if scheme.A[i, j] != 0}
    kept = sorted(needed)
    blocks = (scheme.A.extract(kept, kept), scheme.U.extract(kept, [0]), scheme.B.extract([0], kept), scheme.V[:1, :1])
    modules = tuple(scheme.modules[j] for j in kept)
    return Scheme(scheme.name, *blocks, modules=modules, digits=scheme.digits, strict=False)


def substituted(scheme: Scheme, coefficients: Sequence[Coefficient]) -> Scheme:
    """The scheme with its learned coefficients at their means."""
    known = {str(symbol) for symbol in scheme.symbols}
    return scheme.substitute({c.symbol: c.mean for c in coefficients if c.symbol in known})


def corner_range(
    scheme: Scheme, coefficients: Sequence[Coefficient], points: Array, margin: float
) -> tuple[float, float] | None:
    """Smallest and largest max |zeta| over the corners of the coefficients' ranges; None where they have none."""
    if all(c.low == c.high for c in coefficients):
        return None
    corners = product(*[{c.low, c.high} for c in coefficients])
    names = [c.symbol for c in coefficients]
    found = [
        amplification(scheme.substitute(dict(zip(names, corner, strict=True))), points, margin).maximum
        for corner in corners
    ]
    return min(found), max(found)


def alternatives(
    schemes: Sequence[Scheme | str], coefficients: Sequence[Coefficient], points: Array, margin: float
) -> tuple[Alternative, ...]:
    """Each scheme on the same points; symbols take the layer's own values of that name.

    A scheme with a symbol that the layer has no value for is left out.
    """
    values = {c.symbol: c.mean for c in coefficients}
    found = []
    for given in schemes:
        scheme = as_scheme(given)
        names = [str(symbol) for symbol in scheme.symbols]
        if not set(names) <= set(values):
            continue
        found.append(_alternative(scheme, {name: values[name] for name in names}, points, margin))
    return tuple(found)


def _alternative(scheme: Scheme, values: Mapping[str, Any], points: Array, margin: float) -> Alternative:
    settled = scheme.substitute(values)
    cost = compile_scheme(settled, 1.0).evaluations
    at_step = amplification(settled, points, margin)
    at_cost = at_step if cost == 1 else amplification(settled, points, margin, stride=cost)
    return Alternative(_label(scheme, values), cost, settled.explicit, at_step, at_cost)


def _label(scheme: Scheme, values: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{name}={value:.3g}" for name, value in values.items())
    return f"{scheme.name}({shown})" if shown else scheme.name
