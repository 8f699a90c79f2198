"""One step of a Runge-Kutta scheme from t to t + h, and the solution inside of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..program import Evaluate
from ..program.step import Solver, combine
from ..scheme.extension import HERMITE
from .arithmetic import hypotenuse, most
from .control import Tolerance
from .method import Method

#: in the place of a norm of 0 as a divisor
NOTHING = 1e-30
#: f as a step calls it, of a time and a state
Slope = Callable[[Any, Tensor], Tensor]


class Span:
    """The interval of a step.

    Args:
        start, stop: its ends.
        h: the step size, where that is not to be computed from the ends: equal steps have one program.
        learned: the ends as tensors, where one of them is to get a gradient.
        first, last: the times at which the ends are evaluated, where they are others: just beside jumps of f.

    ``unit`` is the step size of the program that takes the step.
    """

    def __init__(
        self,
        start: float,
        stop: float,
        *,
        h: float | None = None,
        learned: tuple[Tensor, Tensor] | None = None,
        first: float | None = None,
        last: float | None = None,
    ) -> None:
        self.start, self.stop, self.learned = start, stop, learned
        self.h = self.unit = stop - start if h is None else h
        self.first = start if first is None else first
        self.last = stop if last is None else last

    def time(self, node: float) -> float | Tensor:
        """Start + node h."""
        if self.learned is not None:
            return self.learned[0] + node * (self.learned[1] - self.learned[0])
        if node == 1:
            return self.last
        return self.start + node * self.h if node else self.first

    def stretch(self, u: Tensor) -> Tensor | None:
        """The learned h over the number h: what a function's value is multiplied by, for its gradient. None for none.

        F is what h goes with in every scheme, so that the step of a program whose h is a number gets h's derivatives.
        """
        if self.learned is None:
            return None
        return ((self.learned[1] - self.learned[0]) / self.h).to(u.real.dtype)


class Step:
    """A step that has been taken: from u0 to u1.

    Args:
        function: f.
        span: its interval.
        u0, u1: the solution at its ends.
        start, end: f at its ends; None where it has not been evaluated.
        terms: of the extension of higher order than its base, from f(t1, u1).
        base: cubic interpolation, or a straight line, for which f(t1, u1) is not asked.
        carried: what the scheme carries besides the solution, at t1.

    ``linear`` has the solution inside interpolated linearly, for those who ask for it.
    """

    linear = False

    def __init__(
        self,
        function: Slope,
        span: Span,
        u0: Tensor,
        u1: Tensor,
        *,
        start: Tensor | None = None,
        end: Tensor | None = None,
        terms: Callable[[Tensor], list[Tensor]] | None = None,
        base: int = HERMITE,
        carried: Sequence[Tensor] = (),
    ) -> None:
        self.function, self.span, self.u0, self.u1 = function, span, u0, u1
        self._start, self._end, self._terms, self._base = start, end, terms, base
        self.carried = carried
        self._inside: tuple[Tensor, list[Tensor]] | None = None

    def settled(self) -> Step:
        """The same without what autograd has recorded, and interpolated by its ends alone."""
        ends = (None if x is None else x.detach() for x in (self._start, self._end))
        start, end = ends
        span = Span(self.span.start, self.span.stop)
        return Step(self.function, span, self.u0.detach(), self.u1.detach(), start=start, end=end)

    @property
    def known_end(self) -> Tensor | None:
        """f(t1, u1), where it has been evaluated."""
        return self._end

    def start_slope(self) -> Tensor:
        """f(t0, u0): known to Runge-Kutta schemes, else evaluated once."""
        if self._start is None:
            self._start = self.function(self.span.time(0.0), self.u0)
        return self._start

    def end_slope(self) -> Tensor:
        """f(t1, u1): a value of a first-same-as-last scheme, else evaluated once, here or by the step after."""
        if self._end is None:
            self._end = self.function(self.span.time(1.0), self.u1)
        return self._end

    def prepare(self) -> None:
        """Compute what is needed to evaluate the solution inside, so that the values of the stages can go."""
        if self._inside is None and not self.linear:
            end = self.end_slope() if self._base == HERMITE else self.u1
            self._inside = self.start_slope(), [] if self._terms is None else self._terms(end)
            self._terms = None

    def of_samples(self, index: Tensor, span: Span) -> Step:
        """The step of some samples, with their interval, where each of them has one of its own."""
        self.prepare()
        assert self._inside is not None
        end = self.end_slope() if self._base == HERMITE else self._inside[0]
        slope, end, *terms = (x.index_select(0, index) for x in (self._inside[0], end, *self._inside[1]))
        u0, u1 = self.u0.index_select(0, index), self.u1.index_select(0, index)
        return Step(self.function, span, u0, u1, start=slope, end=end, terms=lambda _: terms, base=self._base)

    def at(self, t: float | Tensor) -> Tensor:
        """The solution at a time inside: cubic Hermite interpolation, and what the scheme's extension adds to it.

        A tensor t gets its gradient.
        """
        start: Any = self.span.start if self.span.learned is None else self.span.learned[0]
        h: Any = self.span.h if self.span.learned is None else self.span.learned[1] - start
        theta: Any = (t - start) / h
        if self.linear:
            return torch.lerp(self.u0, self.u1, _weight(theta, self.u0))
        self.prepare()
        assert self._inside is not None
        slope, terms = self._inside
        rest = 1 - theta
        if self._base == HERMITE:
            found = torch.lerp(self.u0, self.u1, _weight(theta * theta * (3 - 2 * theta), self.u0))
            found = _add(found, slope, h * theta * rest * rest)
            found = _add(found, self.end_slope(), -h * theta * theta * rest)
            factor = h * (theta * rest) ** 2
        else:
            found, factor = torch.lerp(self.u0, self.u1, _weight(theta, self.u0)), h * theta * rest
        for term in terms:
            found, factor = _add(found, term, factor), factor * theta
        return found


def _weight(weight: Any, like: Tensor) -> Any:
    return weight.to(like.dtype) if isinstance(weight, Tensor) else weight


def _add(u: Tensor, f: Tensor, weight: Any) -> Tensor:
    return u + f * weight.to(f.dtype) if isinstance(weight, Tensor) else torch.add(u, f, alpha=weight)


def take(
    method: Method,
    function: Slope,
    span: Span,
    *,
    u: Tensor,
    slope: Tensor,
    carried: Sequence[Tensor] = (),
    solver: Solver | None = None,
) -> tuple[Step, list[Tensor]]:
    """A step of the method, of which f at its start is known to be ``slope``, and the values of its evaluations.

    ``solver`` finds those of implicit stages, ``carried`` is what the scheme carries besides u.
    """
    first, raw = method.first, {}
    stretch = span.stretch(u)

    def known(what: Evaluate, y: Tensor) -> Tensor:
        if first is None:
            return function.part(what.module, span.time(what.node), y)  # type: ignore[attr-defined, arg-type]
        return slope if what.index == first else function(span.time(what.node), y)  # type: ignore[arg-type]

    def stretched(what: Evaluate, y: Tensor) -> Tensor:
        raw[what.index] = known(what, y)
        return raw[what.index] * stretch  # type: ignore[operator]

    run = method.program.run(span.unit)
    u1, *values = run(known if stretch is None else stretched, (u, *carried), {}, solver)
    after, values = values[: len(carried)], values[len(carried) :]
    if stretch is not None:
        values = [raw[i] if i in raw else value / stretch for i, value in enumerate(values)]
    end = None if method.last is None else values[method.last]
    terms = partial(_terms, method, values)
    return Step(function, span, u, u1, start=slope, end=end, terms=terms, carried=after), values


def error_norm(method: Method, tolerance: Tolerance, step: Step, values: Sequence[Tensor]) -> Any:
    """The norm of the error estimate over the step size, from the values of the step's evaluations.

    Source: Hairer, Norsett & Wanner (1993), II.10, for E^2 / sqrt(E^2 + E_3^2 / 100).
    """
    given = [step.u1, *values]
    first = tolerance(combine(method.error, given, 0, {}), step.u0, step.u1)
    if not method.third:
        return first
    third = tolerance(combine(method.third, given, 0, {}), step.u0, step.u1)
    return first * (first / most(hypotenuse(first, third / 10), NOTHING))


def _terms(method: Method, values: Sequence[Tensor], end: Tensor) -> list[Tensor]:
    return [combine(row, [end, *values, end], 0, {}) for row in method.extension]
