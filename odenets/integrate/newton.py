"""The stages of implicit steps by Newton's method, with a Jacobian that is kept while it serves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..program import Solve
from ..program.step import State
from ..stages.stage_equations import weighted
from .adaptive import Counts
from .control import Tolerance
from .function import Function
from .linearised import Linearised
from .stage_equation import Equation, parts, rows, state
from .stage_guess import Guess
from .step import Span, Step

#: iterations, after which, or where they would not suffice at the rate measured, the stages count as not found
MOST = 8
#: the Jacobian is renewed for the next step where the iteration was slower (Hairer & Wanner 1996, IV.8)
SLOW = 0.03
#: the largest error of the stages in units of the tolerance, and at least so many of rounding
ACCURACY, ROUNDINGS = 0.03, 10


class NotFound(Exception):
    """The iteration for the stages does not converge; ``finite`` says whether f was."""

    def __init__(self, finite: bool) -> None:
        super().__init__()
        self.finite = finite


class Newton(Linearised):
    """Solves the equations Z = W F(c + Z) of the stages of a step, as the solver of a program's step.

    Simplified Newton, Z <- Z - (I - W x J)^-1 (Z - W F(c + Z)), J = f_u at the start of this step or of one before. It
    ends where eta |dZ| is at most 0.03 in units of the tolerance, eta = theta / (1 - theta), theta the rate
    |dZ| / |dZ before|; for the first iteration that of the stages before, to the power 0.8.

    The gradient of the stages is that of the implicit function theorem, whatever the iteration was; first derivatives.

    Source: Hairer & Wanner (1996), IV.8.
    """

    def __init__(self, function: Function, tolerance: Tolerance, counts: Counts) -> None:
        super().__init__(tolerance, counts)
        self.function, self.fresh = function, False
        self._eta, self._slowest = 1.0, 0.0
        self._u: Tensor | None = None
        self._rtol = float(torch.as_tensor(tolerance.rtol).min())

    def begin(self, span: Span, u: Tensor, before: Step | None) -> None:
        """A step from u is tried; ``before`` is the last one."""
        if u is not self._u:
            self.fresh = False
            if self._slowest > SLOW:
                self.jacobian = None
            self._u, self._guess = u, Guess(None if before is None else before.settled())
            self._scale = self.scales(u.detach()) if u.numel() else u
        self.span, self._slowest = span, 0.0
        self._guess.begin(span, u)
        if self.jacobian is None and u.numel():
            self.renew()

    def renew(self) -> None:
        """The Jacobian at the start of the step."""
        assert self._u is not None
        u, time = self._u.detach(), self.span.time(0.0)
        self.linearise(lambda x: self.function(time, x), u)
        self.fresh, self._eta, self._scale = True, 1.0, self.scales(u)

    def filtered(self, weight: float, error: Tensor) -> Tensor:
        """(I - weight J)^-1 error: an estimate that is right for stiff components too."""
        if not error.numel():
            return error
        return state(self.solved(((weight,),), rows(error, self.samples(error))), error)

    def __call__(self, what: Solve, constants: State) -> State:
        """The values F_i; NotFound where the iteration does not converge."""
        if not constants[0].numel():  # whatever they are, they solve it
            return constants
        equation = Equation(self.function, what, self.span, constants[0], self.samples(constants[0]))
        with torch.no_grad():
            fixed = [c.detach() for c in constants]
            z = self._iterated(equation, fixed, [y - c for y, c in zip(self._guess(what), fixed, strict=True)])
            if len(z) == 1:
                self._guess.learn(what, fixed[0] + z[0])
        if torch.is_grad_enabled() and (equation.recorded or any(c.requires_grad for c in constants)):
            z = equation.moving(constants, z)
        return tuple(weighted(row, z) for row in what.inverse)

    def _iterated(self, equation: Equation, c: Sequence[Tensor], z: list[Tensor]) -> list[Tensor]:
        eps, last, eta = torch.finfo(c[0].dtype).eps, math.nan, self._eta
        accuracy = max(ACCURACY, ROUNDINGS * eps / self._rtol) if self._rtol > 0 else ACCURACY
        scale = self._scale if len(c) == 1 else self._scale.repeat(1, len(c))
        for k in range(MOST):
            left = equation.residual(c, z)
            d = self.solved(equation.what.weights, left)
            norm = float(torch.linalg.vector_norm(d / scale))
            if not math.isfinite(norm):
                raise NotFound(finite=bool(torch.isfinite(left).all()))
            z = [x - y for x, y in zip(z, parts(d, c[0], len(c)), strict=True)]
            eta = max(eta, eps) ** 0.8
            if k:
                theta = norm / last
                self._slowest = max(self._slowest, theta)
                if theta >= 1 or norm * theta ** (MOST - 1 - k) / (1 - theta) > accuracy:
                    break
                eta = theta / (1 - theta)
            if norm == 0 or eta * norm <= accuracy:
                self._eta = eta
                return z
            last = norm
        raise NotFound(finite=True)
