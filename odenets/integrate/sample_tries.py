"""A step of every sample of a batch, with its own size: by explicit, implicit and Rosenbrock schemes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..fields.context import Context
from ..program import Solve
from ..program.step import State, combine
from ..scheme import Scheme
from ..stages.kept_jacobian import DenseJacobian
from ..stages.stage_equations import weighted
from .adaptive import Counts
from .control import Tolerance
from .implicit import implicit_method
from .linearised import Linearised
from .method import method_of, runs_as_method
from .newton import ACCURACY, MOST, ROUNDINGS
from .rosenbrock import Stages
from .rosenbrock_method import rosenbrock_of
from .sample_function import SampleFunction
from .samples import Spans, row_norms
from .stage_equation import Equation, joined, parts, rows, state
from .step import Step, error_norm, take


class Tried(NamedTuple):
    """A step of some samples: their error norms, NaN where stages were not found, and evaluations that f counts not."""

    step: Step
    norm: Tensor
    extra: Tensor | int = 0


@dataclass(frozen=True)
class Bound:
    """f of the samples that a step is of, also where it is evaluated later, in a backward pass."""

    function: SampleFunction
    samples: Tensor | None

    @property
    def context(self) -> Context:
        """That of f."""
        return self.function.function.context  # type: ignore[attr-defined]

    def time(self, t: Tensor) -> Tensor:
        """A time as f is given it."""
        return t

    def __call__(self, t: Tensor, u: Tensor) -> Tensor:
        """The values."""
        self.function.samples = self.samples
        return self.function(t, u)


class ExplicitTries:
    """Steps of an explicit Runge-Kutta scheme.

    Args:
        scheme: with an error estimate.
        function: f.
        tolerance: its norm is that of each row.

    ``order`` is that of the estimate.
    """

    def __init__(self, scheme: Scheme, function: SampleFunction, tolerance: Tolerance) -> None:
        self.method, self.function, self.tolerance = method_of(scheme, True), function, tolerance
        self.order = self.method.order

    def __call__(self, u: Tensor, slope: Tensor, spans: Spans) -> Tried:
        """A step from u, of which f there is ``slope``."""
        step, values = take(self.method, self.function, spans, u=u, slope=slope)
        with torch.no_grad():
            return Tried(step, _large(spans.sizes * error_norm(self.method, self.tolerance, step, values)))


class ImplicitTries(Linearised):
    """Steps of an implicit Runge-Kutta scheme, the stages of each sample by a Newton iteration of its own.

    That of :class:`.newton.Newton`, with the Jacobian at the start of every step that is tried, and from the stage
    before: so it depends on the sample alone. All iterate until each is done; one that is done stays where it is.
    """

    each = True

    def __init__(self, scheme: Scheme, function: SampleFunction, tolerance: Tolerance) -> None:
        super().__init__(tolerance, Counts())
        self.method, self._gamma = implicit_method(scheme)
        self.function, self.norm = function, tolerance
        self.order = self.method.order
        self._rtol = float(torch.as_tensor(tolerance.rtol).min())

    def __call__(self, u: Tensor, slope: Tensor, spans: Spans) -> Tried:
        """A step from u, of which f there is ``slope``."""
        f, fixed = Bound(self.function, self.function.samples), u.detach()
        begun = self.function.evaluations
        self.linearise(lambda x: f(spans.time(0.0), x), fixed)
        self.function.evaluations = begun
        self.jacobian = _scaled(self.jacobian, spans, u)
        self._f, self._spans, self._near, self._scale = f, spans, fixed, self.scales(fixed)
        self._lost = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        self._extra = torch.ones(len(u), dtype=torch.int64, device=u.device)
        step, values = take(self.method, f, spans, u=u, slope=slope, solver=self._stages)
        with torch.no_grad():
            error = combine(self.method.error, [slope, *values], 0, {}) * spans.stretch(u)
            seen = state(self.solved(((self._gamma,),), rows(error, len(u))), error)
            norm = _large(self.norm(seen, step.u0, step.u1))
        return Tried(step, torch.where(self._lost, math.nan, norm), self._extra)

    def _stages(self, what: Solve, constants: State) -> State:
        """The values F_i, as the solver of a program's step."""
        begun, count = self.function.evaluations, len(constants)
        equation = Equation(self._f, what, self._spans, constants[0], len(constants[0]))  # type: ignore[arg-type]
        with torch.no_grad():
            c = [x.detach() for x in constants]
            z = parts(self._iterated(equation, c, joined([self._near - x for x in c], len(c[0]))), c[0], count)
            self._near = c[-1] + z[-1]
        if torch.is_grad_enabled() and (equation.recorded or any(x.requires_grad for x in constants)):
            z = equation.moving(constants, z)
            self._extra = self._extra + count
        self.function.evaluations = begun
        return tuple(weighted(row, z) for row in what.inverse)

    def _iterated(self, equation: Equation, c: Sequence[Tensor], z: Tensor) -> Tensor:
        """Z in the rows of the samples."""
        eps, scale = torch.finfo(c[0].dtype).eps, self._scale.repeat(1, len(c))
        accuracy = max(ACCURACY, ROUNDINGS * eps / self._rtol) if self._rtol > 0 else ACCURACY
        going, last = ~self._lost, torch.full((), math.nan, dtype=z.dtype, device=z.device)
        for k in range(MOST):
            left = equation.residual(c, parts(z, c[0], len(c)))
            self._extra = self._extra + going * len(c)
            d = self.solved(equation.what.weights, left)
            z = torch.where(going[:, None], z - d, z)
            norm = row_norms(d / scale) * math.sqrt(z.shape[1])
            theta = norm / last
            eta, slow = theta / (1 - theta), (theta >= 1) | (norm * theta ** (MOST - 1 - k) / (1 - theta) > accuracy)
            done = (norm == 0) | ((eta if k else 1) * norm <= accuracy) & ~slow
            broken = ~done & (slow | ~norm.isfinite())
            self._lost = self._lost | (going & broken & left.isfinite().all(1))
            going, last = going & ~done & ~broken, norm
            # One transfer of each iteration.
            if not bool(going.any()):
                break
        self._lost = self._lost | going
        return z


class RosenbrockTries(Stages):
    """Steps of a Rosenbrock scheme, the program that of h = 1, with h f_u in the place of f_u."""

    each = True

    def __init__(self, scheme: Scheme, function: SampleFunction, tolerance: Tolerance) -> None:
        made = rosenbrock_of(scheme)
        super().__init__(made, function, tolerance, Counts())  # type: ignore[arg-type]
        self.norm, self.order, self.samplewise = tolerance, made.order, function

    def __call__(self, u: Tensor, slope: Tensor, spans: Spans) -> Tried:
        """A step from u, of which f there is ``slope``."""
        self.function: Any = Bound(self.samplewise, self.samplewise.samples)
        self._u = None
        step, error = self.take(spans, u, slope)
        with torch.no_grad():
            return Tried(step, _large(self.norm(error, step.u0, step.u1)))

    def _begin(self, span: Any, u: Tensor, slope: Tensor) -> None:
        super()._begin(span, u, slope)
        self.jacobian = _scaled(self.jacobian, span, u)


def tries_of(scheme: Scheme) -> Any:
    """What takes steps of a scheme with an error estimate."""
    if runs_as_method(scheme):
        return ExplicitTries
    return ImplicitTries if scheme.Gamma is None else RosenbrockTries


def _scaled(jacobian: Any, spans: Spans, u: Tensor) -> DenseJacobian:
    """That of the step size of each sample times f."""
    found: DenseJacobian = jacobian.times(spans.stretch(u).reshape(-1))
    return found


def _large(norm: Tensor) -> Tensor:
    """The norm, infinite where it is none; a number to forward mode as well, which no_grad does not end."""
    return norm.nan_to_num(math.inf, math.inf).detach()
