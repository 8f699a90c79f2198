"""Global error against the step size, measured in float64 on a problem whose solution is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from odenets import FieldError, NewtonKrylov, ODENet, Scheme, SchemeError, TimeField, as_scheme
from odenets.scheme.given_numbers import integer
from odenets.scheme.shown import Shown

from ..linear.generating_polynomials import effective_step
from ..linear.resolve import numeric
from ..linear.zero_stability import zero_stable
from ..text.tables import render

#: Errors below this many units of rounding of the solution say nothing of the order; so many a step below.
NOISE, NOISE_OF_A_STEP = 1e3, 8.0
#: Tolerance of the stages of implicit schemes: each step may add as much to the error, so nearly as small as rounding.
STAGES = 1e-15
#: Numbers of steps, and those tried besides where an error among them is at the rounding level.
STEPS, COARSER = (8, 16, 32, 64, 128), (4, 2, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Convergence(Shown):
    """Errors of one scheme at the end of an interval.

    Attributes:
        scheme: its name; order: the order derived from its coefficients.
        h: step sizes, shape (n,).
        error: max |u_N - u(t1)|, likewise.
        scale: max |u(t1)|, which rounding is measured by.
        fewest: steps that the largest of ``h`` is taken.
        effective_step: the time that a step advances u' = f by, in units of h; for lm 1/(1 + k).
        zero_stable: whether solutions stay bounded where f = 0; preconsistent: whether they are constant there.
    """

    scheme: str
    order: int
    h: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    scale: float
    fewest: int = 1
    effective_step: float = 1.0
    zero_stable: bool = True
    preconsistent: bool = True

    def __str__(self) -> str:
        head = [f"{self.scheme}: order {self.order}, observed {self.observed_order:.2f}", "error"]
        table = render(head, [[f"h = {h:.4g}", f"{e:.3g}"] for h, e in zip(self.h, self.error, strict=True)])
        return f"{table}\n{self.reason}" if self.reason else table

    @property
    def reason(self) -> str:
        """Why the errors do not go to 0 with h, where they do not because of the coefficients; else ""."""
        step = self.effective_step
        if not np.isfinite(step):
            return f"{self.scheme} follows no equation of first order (1 is a double root where f = 0)"
        if not self.zero_stable:
            return f"{self.scheme} is not zero-stable: errors grow with the number of steps, whatever f is"
        if not self.preconsistent:
            return f"{self.scheme} does not keep u' = 0, so that it converges to no solution of u' = f"
        if self.order > 0 or step == 1:
            return ""
        return (
            f"{self.scheme} advances u' = f by h_eff = {step:.4g} h a step: it converges to the solution of "
            f"u' = {step:.4g} f, not of u' = f"
        )

    @property
    def clear(self) -> npt.NDArray[np.bool_]:
        """Where the error is finite and above rounding, which grows with the steps."""
        steps = self.h.max() / self.h * self.fewest
        rounding = np.maximum(NOISE, NOISE_OF_A_STEP * steps) * np.finfo(np.float64).eps * self.scale
        return np.isfinite(self.error) & (self.error > rounding)

    @property
    def observed_order(self) -> float:
        """Slope of log error over log h between the two smallest errors above rounding; NaN below two of them."""
        h, error = self.h[self.clear], self.error[self.clear]
        if len(h) < 2:
            return float("nan")
        finest = np.argsort(error)[:2]
        return float(np.diff(np.log(error[finest]))[0] / np.diff(np.log(h[finest]))[0])


def convergence(
    scheme: Scheme | str,
    f: Callable[[Tensor, Tensor], Tensor],
    exact: Callable[[float], Any],
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    steps: Sequence[int] | None = None,
    **values: Any,
) -> Convergence:
    """The errors a scheme makes on u' = f(t, u) over [t0, t1], by an ODENet of ``steps`` layers each.

    Args:
        scheme: a Scheme or a name of the zoo, of one function a step.
        f: torch function of (t, u), u of shape (d,).
        exact: t -> the solution, d numbers; exact(t0) is where the scheme starts.
        t0: start of the interval.
        t1: its end.
        steps: numbers of steps, different. By default 8, 16, ..., 128, and as many of 4, 2, 1 as it takes to
            have two errors above rounding (a scheme of order 6 may have none of 16 steps and more).
        values: exact numbers for its symbols.

    A scheme whose effective step is not h (lm at k other than 0) has order 0: its errors go to a constant, or grow
    where it is not zero-stable; :attr:`Convergence.reason` says so, and what it solves instead.

    Raises:
        SchemeError: a symbol without a value.
        FieldError: steps that are not positive and different, a solution that is not finite.

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), II.3.
    """
    found = numeric(scheme, values, "convergence", "")
    given = STEPS if steps is None else steps
    counts = [integer(count, "convergence: steps", error=FieldError) for count in given]
    if not counts or len(set(counts)) != len(counts):
        raise FieldError(f"convergence: got steps = {counts}, expected different positive integers")
    start, end = (torch.as_tensor(exact(t), dtype=torch.float64).reshape(-1) for t in (t0, t1))
    if not bool(start.isfinite().all() and end.isfinite().all()) or start.shape != end.shape:
        raise FieldError(f"convergence: got the solution {start.tolist()} and {end.tolist()}, expected finite numbers")
    # The stages of an implicit scheme to nearly all digits: the solver's tolerance is not the scheme's error.
    solver = None if found.explicit else NewtonKrylov(rtol=STAGES, atol=STAGES)

    def error(count: int) -> float:
        net = ODENet(TimeField(f, t0, t1, count), found, solver=solver)
        return float((net(start).detach() - end).abs().max())

    def curve(errors: dict[int, float]) -> Convergence:
        h = np.array([(t1 - t0) / count for count in errors])
        return Convergence(found.name, found.order, h, np.array([*errors.values()]), scale, min(errors), *judged)

    scale = float(end.abs().max())
    judged = float(effective_step(found)), zero_stable(found), found.series.preconsistent
    errors = {count: error(count) for count in counts}
    for count in COARSER if steps is None else ():
        if curve(errors).clear.sum() >= 2 or count <= found.starting_values:
            break
        errors = {count: error(count), **errors}
    return curve(errors)


def convergence_of(
    schemes: Sequence[Scheme | str],
    f: Callable[[Tensor, Tensor], Tensor],
    exact: Callable[[float], Any],
    **options: Any,
) -> list[Convergence]:
    """:func:`convergence` of several schemes.

    Raises:
        SchemeError: no scheme, or what convergence raises.
    """
    if not schemes:
        raise SchemeError("convergence: got no scheme, expected at least one")
    return [convergence(as_scheme(scheme), f, exact, **options) for scheme in schemes]
