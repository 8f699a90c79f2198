"""Explicit steps that are as long as stability lets them be: their solution is right, and their gradient is not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import sympy
import torch
from torch import Tensor

from ..scheme import Scheme
from .errors import IntegrationWarning
from .function import Function
from .step import Step

#: One in so many steps is looked at, all of them near the limit; so many in a row beyond it are told.
EVERY, ROW = 4, 8
#: of the real interval: from there on stability may hold the step size, and not the tolerance
NEAR = 0.9
#: |R| is compared with 1 to so much: some tableaus are printed in decimals
ROUNDING = 1e-6


@lru_cache(maxsize=64)
def real_interval(scheme: Scheme) -> float | None:
    """The largest x with |R(-y)| <= 1 for y from 0 to x, to 2e-4 of s^2; None of schemes that are not Runge-Kutta's.

    R(z) = 1 + z b 1 + z^2 b A 1 + z^3 b A^2 1 + ..., looked at point by point: odenets.analysis.real_interval is exact,
    takes up to seconds for it, and stands above this room.
    """
    if not (scheme.explicit and scheme.one_step and scheme.carried == 1):
        return None
    powers = [sympy.ones(scheme.stages, 1)]
    for _ in range(scheme.stages - 1):
        powers.append(scheme.A * powers[-1])
    weights = [1.0, *(float((scheme.B.row(0) * power)[0]) for power in powers)]
    points = np.linspace(0, 2 * scheme.stages**2 + 1, 20_001)  # no interval is longer than 2 s^2
    beyond = np.abs(np.polynomial.polynomial.polyval(-points, weights)) > 1 + ROUNDING
    return float(points[beyond.argmax()])


@dataclass
class StabilityWatch:
    """Warns where a solve with gradients takes steps that are longer than stability allows for.

    An adaptive solution has no need of shorter ones: fast components are not in it, or their errors grow a little in
    one step and are seen and damped in the next. A derivative does: with the sizes as they were, what it has of them
    is multiplied by |R(h lambda)| > 1 in step after step. |lambda| of the fastest is found by the nonlinear power
    method, by an evaluation for each look: v <- (f(t, u + e v) - f(t, u))/e, normed.

    Args:
        function: f.
        name: of the scheme.
        interval: its :func:`real_interval`.

    Source: Sommeijer, Shampine & Verwer (1998), RKC: an explicit solver for parabolic PDEs, section 2.
    """

    function: Function
    name: str
    interval: float
    _wait: int = field(default=EVERY, init=False)
    _row: int = field(default=0, init=False)
    _along: Tensor | None = field(default=None, init=False)

    def look(self, step: Step, end: Tensor) -> None:
        """At a step, and f at its end."""
        self._wait -= 1
        # Steps that are taken without a record are run again with one, for all that is known here.
        if self._wait or (torch.is_grad_enabled() and not end.requires_grad):
            return
        try:
            with torch.no_grad():
                reached = abs(step.span.h) * self._fastest(step.span.stop, step.u1, end) / (NEAR * self.interval)
        except Exception:  # f may refuse states beside the solution, such as negative ones; it is not asked again
            return
        self._row = self._row + 1 if reached > 1 else 0
        self._wait = 1 if reached > 1 / 2 else EVERY
        if self._row == ROW:
            self._wait = 0  # told, and never again
            self._tell(step.span.stop)

    def _fastest(self, t: float, u: Tensor, slope: Tensor) -> float:
        """An estimate of |lambda|, better at each call."""
        if self._along is None:
            drawn = torch.randn(u.shape, generator=torch.Generator().manual_seed(0), dtype=u.dtype)
            self._along = (drawn / torch.linalg.vector_norm(drawn)).to(u.device)
        e = torch.finfo(u.dtype).eps ** 0.5 * torch.linalg.vector_norm(u).clamp(min=1.0)
        change = (self.function(t, u + e * self._along) - slope) / e
        size = torch.linalg.vector_norm(change)
        self._along = change / size.clamp(min=1e-30)
        return float(size)

    def _tell(self, t: float) -> None:
        warnings.warn(
            f"{self.name}: {ROW} steps in a row up to t = {t:.4g} were longer than its stability allows for "
            f"(h |lambda| > {NEAR * self.interval:.2g}): the problem is stiff. The solution is right to the tolerance, "
            "but its gradient may be wrong by any factor; take an implicit scheme as 'kvaerno5', or odeint_adjoint",
            IntegrationWarning,
            stacklevel=2,
        )
