"""Steps of Rosenbrock schemes: a linear equation for each stage, to a tolerance or on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..program.transforms import active
from ..scheme import Scheme
from ..scheme.extension import STRAIGHT
from ..stages.gmres import RTOL
from ..stages.implicit_gradient import solve_linear
from ..stages.kept_jacobian import DenseJacobian
from .adaptive import Adaptive, Counts, Listeners
from .control import Tolerance
from .errors import GaveUp
from .function import Function
from .grid import Grid
from .linearised import Linearised
from .rosenbrock_method import Rosenbrock, rosenbrock_of
from .stage_equation import ADJOINT, Moved, plus, rows, state
from .start_derivatives import StartDerivatives, time_derivative
from .step import Span, Step

#: of GMRES, in units of the tolerance, what the solution of a stage may leave
LEFT = 1e-3


class Stages(Linearised):
    """Takes steps, with the Jacobian and df/dt at the start of each.

    Derivatives of f are autograd's. The gradient is that of the step as it is, J and f_t in it included, so that f is
    differentiated twice; first derivatives. Each step keeps its factors for it.
    """

    def __init__(self, scheme: Rosenbrock, function: Function, tolerance: Tolerance | None, counts: Counts) -> None:
        super().__init__(tolerance, counts)
        self.scheme, self.function = scheme, function
        self._u: Tensor | None = None
        self._moving: StartDerivatives | None = None
        self._first = True

    def goal(self, norm: Tensor) -> Tensor:
        """What GMRES may leave: nothing corrects it later."""
        least = RTOL[norm.dtype] * norm
        return least if self.tolerance is None else least.clamp_min(LEFT)

    def take(self, span: Span, u: Tensor, slope: Tensor) -> tuple[Step, Tensor]:
        """A step from u, of which f at its start is known to be ``slope``, and the error estimate.

        Raises:
            FieldError: f depends on time in a way that autograd does not see.
        """
        if u.numel() and u is not self._u:
            self._begin(span, u, slope)
        # A step whose ends move with a tensor has it in its matrix, whatever u is.
        recorded = u.requires_grad or slope.requires_grad or span.learned is not None
        if u.numel() and recorded and torch.is_grad_enabled() and self._moving is None:
            self._moving = StartDerivatives(self.function, span.time(0.0), u, self.samples(u))
        W = self._found(span, u, slope) if u.numel() else []
        error = plus(torch.zeros_like(u), self.scheme.error, [w.detach() for w in W])
        u1, zero = plus(u, self.scheme.m, W), torch.zeros_like(u)

        def terms(_: Any) -> list[Tensor]:
            size = _size(span, u)
            return [plus(zero, row, W) / size for row in self.scheme.inside]

        return Step(self.function, span, u, u1, start=slope, terms=terms, base=STRAIGHT), error

    def _begin(self, span: Span, u: Tensor, slope: Tensor) -> None:
        """J and f_t at the start of the step."""
        time, kept = span.first, []
        with torch.inference_mode(False):
            start = self.function.time(time)
            shift = torch.zeros((), dtype=start.dtype, device=u.device, requires_grad=True)

            def function(x: Tensor) -> Tensor:
                kept.append(self.function(start + shift, x))
                return kept[-1]

            self.linearise(function, u.detach())
            f_t = time_derivative(kept[-1], shift)
        if f_t is None and self._first:
            self._refuse_hidden(span, u, slope, kept[-1].requires_grad)
        self._f_t, self._u, self._first = f_t, u, False
        self._moving = None

    def _refuse_hidden(self, span: Span, u: Tensor, slope: Tensor, recorded: bool) -> None:
        """Refuse an f that moves with t, or with u where nothing was ``recorded``, and that has no derivative to it."""
        with torch.no_grad():
            size = span.h / 16
            shifted = u if recorded else u + slope * (_size(span, u) / 16)
            other = self.function(span.start + size, shifted)
            gap, largest = (torch.linalg.vector_norm(x, ord=math.inf) for x in (other - slope, slope))
            differs = bool(gap > 1e3 * torch.finfo(u.real.dtype).eps * largest)
        if differs:
            raise FieldError(
                f"f: got values that change with {'t' if recorded else 't or u'} and no derivative to it, expected "
                "one that autograd sees, for a Rosenbrock scheme has f_u and f_t in its steps: float(t), t.item(), "
                "detach(), NumPy and jumps hide it; compute with the tensors, give jumps to StepControl(jump_t=...), "
                "or take 'kvaerno5'"
            )

    def _found(self, span: Span, u: Tensor, slope: Tensor) -> list[Tensor]:
        """W_i of all stages."""
        scheme, h, ahead = self.scheme, span.unit, _size(span, u)
        moving, f_t = self._moving, self._f_t if self._moving is None else self._moving.f_t
        W: list[Tensor] = []
        values: list[Tensor] = []
        for i, gamma in enumerate(scheme.gamma):
            same = scheme.same(i)
            if i == 0:
                values.append(slope)
            elif same is not None:
                values.append(values[same])
            else:
                values.append(self.function(span.time(scheme.nodes[i]), plus(u, scheme.a[i], W)))
            r = values[i] if f_t is None or not scheme.sums[i] else values[i] + f_t * (ahead * scheme.sums[i])
            r = plus(r * (ahead * gamma), [gamma * c for c in scheme.C[i]], W)
            W.append(self._solution(h * gamma, ahead * gamma, r, moving))
        return W

    def _solution(self, weight: float, moved: Any, r: Tensor, moving: StartDerivatives | None) -> Tensor:
        """(I - weight J)^-1 r, which moves with r and, ``moved`` the weight as it moves, with J."""
        samples, weights = self.samples(r), ((weight,),)
        with torch.no_grad():
            found = self.solved(weights, rows(r.detach(), samples))
            if not getattr(self.jacobian, "met", True):
                found = torch.full_like(found, math.nan)
        if not (torch.is_grad_enabled() and r.requires_grad):
            return state(found, r)
        right = rows(r, samples)
        if moving is not None and (product := moving.product(found)) is not None:
            product = product * (moved.reshape(-1, 1) if isinstance(moved, Tensor) else moved)
            right = right + (product - product.detach())
        return state(Moved.apply(right, found, self.function.context, self._transposed(weights)), r)

    def _transposed(self, weights: tuple[tuple[float, ...], ...]) -> Callable[[Tensor], Tensor]:
        if isinstance(self.jacobian, DenseJacobian):
            return self.jacobian.transposed(weights)
        assert self._moving is not None
        z, f = self._moving.z.detach(), self._moving.function
        return lambda bar: solve_linear(lambda x: weights[0][0] * f(x), True, ADJOINT, bar, (z,))


def _size(span: Span, u: Tensor) -> Any:
    """The step size: a tensor where it gets a gradient, or where each sample has one."""
    stretch = span.stretch(u)
    return span.unit if stretch is None else span.unit * stretch


@dataclass
class AdaptiveRosenbrock(Adaptive):
    """Rosenbrock steps as long as the tolerance allows for; ``method`` is the scheme made ready."""

    method: Any

    def __post_init__(self) -> None:
        self._stages = Stages(self.method, self.function, self.tolerance, self.counts)

    def _watch(self) -> None:
        """Steps of any length are stable."""

    def _try(self, span: Span) -> tuple[Step | None, float]:
        step, error = self._stages.take(span, self._u, self._slope)
        with torch.no_grad():
            return step, float(self.tolerance(error, step.u0, step.u1))

    def _gave_up(self, reason: str, h: float) -> GaveUp:
        found = super()._gave_up(reason, h)
        if found.failure.reason == "not finite" and bool(torch.isfinite(self._slope).all()):
            why = "f is finite there, and no step from there is: its derivatives are not finite, or f beside it"
            return GaveUp(replace(found.failure, why=why))
        return found


def rosenbrock_steps(
    scheme: Scheme, function: Function, grid: Grid, u: Tensor, *, counts: Counts, listeners: Listeners
) -> Iterator[Step]:
    """The steps of a Rosenbrock scheme on a grid.

    Raises:
        FieldError: a transform of torch.func around it.
    """
    if active():
        raise FieldError(
            f"solve: got torch.func.{', '.join(active()).lower()} around {scheme.name}, expected none around a "
            "Rosenbrock scheme, whose steps take derivatives of f by autograd; take an implicit scheme, with steps="
        )
    stages = Stages(rosenbrock_of(scheme), function, None, counts)
    for span in grid.spans(function):
        if listeners.before is not None:
            listeners.before(span.start, u, span.h)
        step, _ = stages.take(span, u, function(span.time(0.0), u))
        counts.accept(span.h)
        yield step
        u = step.u1
