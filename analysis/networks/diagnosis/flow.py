"""The flow that a scheme follows on u' = lambda u: what its growth is to be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import sympy

from odenets import Scheme, SchemeError

from ...linear.generating_polynomials import effective_step
from .jacobian import Array


@dataclass(frozen=True)
class Flow:
    """exp(w) is the exact factor of one step, with w = step * z + shift and z = h lambda.

    Attributes:
        step: the effective step in units of h, 1/(1 + k) for lm; negative where the scheme runs backwards.
        shift: V - 1 where the step does not keep u' = 0: In-ResNet, u+ = (1 - lam) u + h f(u), is
            Euler's step of u' = f - lam u / h. (log V, which is exact for f = 0, was rejected: it would
            call an eigenvalue just right of lam an instability, where Euler's step of that equation grows
            because the equation does.)
    """

    step: float
    shift: float

    def exponent(self, points: Array) -> Array:
        """The exponent w at the points z."""
        found: Array = points if (self.step, self.shift) == (1, 0) else points * self.step + self.shift
        return found

    def inverse(self, exponents: Array) -> Array:
        """The points z at which w has these values; step is not 0."""
        found: Array = exponents if (self.step, self.shift) == (1, 0) else (exponents - self.shift) / self.step
        return found


@lru_cache(maxsize=256)
def flow_of(scheme: Scheme) -> Flow | None:
    """The flow of a scheme with numbers for its symbols; None where it follows none of first order.

    That is lm at k = -1, components that advance by different times, and schemes that neither keep
    u' = 0 nor carry the solution alone.
    """
    step = relative_step(scheme)
    if step is None or not np.isfinite(step):
        return None
    if scheme.series.preconsistent:
        return Flow(step, 0.0)
    return Flow(step, float(scheme.V[0, 0] - 1)) if scheme.carried == 1 else None


@lru_cache(maxsize=256)
def relative_step(scheme: Scheme) -> float | None:
    """The effective step in units of h; inf where the scheme solves a second-order equation, None if undefined."""
    try:
        found = effective_step(scheme)
    except SchemeError:
        return None
    return float("inf") if found in (sympy.oo, sympy.zoo, -sympy.oo) else float(found)
