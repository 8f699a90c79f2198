"""Implicit steps as long as the tolerance allows for: the schemes, their error estimates, and the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import sympy
import torch

from ..program.step import combine
from ..scheme import Scheme
from ..scheme.stage_graph import strongly_connected
from .adaptive import Adaptive
from .control import StepControl
from .errors import WHY, GaveUp
from .method import Method, method_of, row
from .newton import Newton, NotFound
from .step import Span, Step, take

#: without the memory of a PI controller, which the step sizes of stiff problems have left behind, and a step smaller:
#: a step that is rejected costs as many as ten evaluations for each stage
CONTROL = StepControl(safety=0.8, exponents=(1,))
#: a step size that would grow by less stays, and with it the factors of the matrices (Hairer & Wanner 1996, IV.8)
WORTH = 1.2


@lru_cache(maxsize=256)
def runs_implicit(scheme: Scheme) -> bool:
    """Whether a scheme is an implicit Runge-Kutta scheme with an error estimate, its own or :func:`estimate`'s."""
    plain = scheme.carried == 1 and not scheme.explicit and not scheme.symbols
    if not plain or scheme.linear_only or scheme.Gamma is not None or scheme.order < 1:
        return False
    if scheme.several:
        return scheme.embedded is not None and len(_solved_for(scheme)) == 1
    if any(scheme.modules):
        return False
    nodes = [0.0, *map(float, scheme.nodes)]
    return scheme.embedded is not None or min(np.diff(sorted(nodes))) > 1e-6


def _solved_for(scheme: Scheme) -> set[int]:
    """The functions that stages which are to be solved for evaluate."""
    A, groups = scheme.A, strongly_connected(scheme.A)
    return {scheme.modules[i] for group in groups for i in group if len(group) > 1 or A[i, i] != 0}


@lru_cache(maxsize=64)
def implicit_method(scheme: Scheme) -> tuple[Method, float]:
    """The method of an implicit scheme, its error estimate in terms of f(t_n, u_n) and F_i, and gamma of the filter.

    The estimate is that of the embedded weights, gamma the last entry of A's diagonal that is not 0, or 0 if all are,
    and nothing is filtered. Without embedded weights it is h (gamma f(t_n, u_n) + sum (bhat_i - b_i) F_i), bhat such
    that the quadrature formula with gamma at the node 0 is of order s, and gamma the real eigenvalue of A, or the s-th
    root of its determinant. For Radau IIA with three stages that is the estimate of Hairer & Wanner (1996), IV.8.
    """
    method = method_of(scheme, True)
    if scheme.embedded is not None:
        return method, float(next((x for x in reversed(list(scheme.A.diagonal())) if x != 0), 0))
    A, nodes = (np.array(part, dtype=float) for part in (scheme.A.tolist(), scheme.nodes))
    eigenvalues = np.linalg.eigvals(A)
    real = eigenvalues[abs(eigenvalues.imag) < 1e-9].real
    gamma = float(real[0]) if len(real) else float(abs(np.linalg.det(A)) ** (1 / len(A)))
    moments = 1 / np.arange(1, len(A) + 1)
    moments[0] -= gamma
    difference = np.linalg.solve(np.vander(nodes, increasing=True).T, moments) - np.array(scheme.B, dtype=float)[0]
    exact = {0: gamma} | {i + 1: x for i, x in enumerate(difference)}
    error = row({slot: sympy.Rational(float(x)) for slot, x in exact.items() if x})
    return replace(method, error=error, order=min(len(A), scheme.order)), gamma


@dataclass
class Implicit(Adaptive):
    """Implicit steps: the stages by :class:`Newton`, the estimate filtered by (I - h gamma J)^-1.

    Not that of an additive scheme: what the explicit part leaves in stiff components is in its solution undamped, and
    must be seen. Nor do its stages start from the step before, extrapolated: see :func:`.several.refuse_inside`.

    A step whose stages are not found is tried again with the Jacobian of its start, and then with a smaller step size.

    Args:
        gamma: of :func:`implicit_method`.
        others: see :class:`Adaptive`.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        scheme = self.method.scheme
        # Of an additive scheme the iteration is for one of its functions alone.
        self._several = scheme.several
        solved = self.function.parts[min(_solved_for(scheme))] if self._several else self.function
        self._newton = Newton(solved, self.tolerance, self.counts)
        self._before: Step | None = None
        self._lost = False

    def _try(self, span: Span) -> tuple[Step | None, float]:
        newton = self._newton
        before = None if self._several else self._before
        newton.begin(span, self._u, before if before is not None and before.u1 is self._u else None)
        try:
            step, values = take(self.method, self.function, span, u=self._u, slope=self._slope, solver=newton)
        except NotFound as lost:
            self._lost = lost.finite
            if newton.fresh:
                return None, math.inf
            newton.renew()
            return self._try(span)
        self._lost, self._before = False, step
        with torch.no_grad():
            error = combine(self.method.error, [self._slope, *values], 0, {}) * span.h
            seen = error if self._several else newton.filtered(self.gamma * span.h, error)
            norm = float(self.tolerance(seen, step.u0, step.u1))
        return step, norm

    def _grown(self, size: float, factor: float) -> float:
        return size if 1 <= factor < WORTH else size * factor

    def _gave_up(self, reason: str, h: float) -> GaveUp:
        found = super()._gave_up(reason, h)
        if self._lost and found.failure.reason in ("not finite", "step too small"):
            return GaveUp(replace(found.failure, reason="stages not found", why=WHY["stages not found"]))
        return found
