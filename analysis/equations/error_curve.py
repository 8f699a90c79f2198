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

from ..linear.resolve import numeric

#: Errors below this many units of rounding of the solution say nothing of the order.
NOISE = 1e3
#: Tolerance of the stages of implicit schemes.
STAGES = 1e-14


@dataclass(frozen=True, eq=False)
class Convergence:
    """Errors of one scheme at the end of an interval.

    Attributes:
        scheme: its name; order: the order derived from its coefficients.
        h: step sizes, shape (n,).
        error: max |u_N - u(t1)|, likewise.
        scale: max |u(t1)|, which rounding is measured by.
    """

    scheme: str
    order: int
    h: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    scale: float

    @property
    def clear(self) -> npt.NDArray[np.bool_]:
        """Where the error is finite and above rounding."""
        return np.isfinite(self.error) & (self.error > NOISE * np.finfo(np.float64).eps * self.scale)

    @property
    def observed_order(self) -> float:
        """Slope of log error over log h between the two smallest errors above rounding; NaN below two of them."""
        h, error = self.h[self.clear], self.error[self.clear]
        if len(h) < 2:
            return float("nan")
        finest = np.argsort(h)[:2]
        return float(np.diff(np.log(error[finest]))[0] / np.diff(np.log(h[finest]))[0])


def convergence(
    scheme: Scheme | str,
    f: Callable[[Tensor, Tensor], Tensor],
    exact: Callable[[float], Any],
    *,
    t0: float = 0.0,
    t1: float = 1.0,
    steps: Sequence[int] = (8, 16, 32, 64, 128),
    **values: Any,
) -> Convergence:
    """The errors a scheme makes on u' = f(t, u) over [t0, t1], by an ODENet of ``steps`` layers each.

    Args:
        scheme: a Scheme or a name of the zoo, of one function a step.
        f: torch function of (t, u), u of shape (d,).
        exact: t -> the solution, d numbers; exact(t0) is where the scheme starts.
        t0: start of the interval.
        t1: its end.
        steps: numbers of steps, different.
        values: exact numbers for its symbols.

    Raises:
        SchemeError: a symbol without a value.
        FieldError: steps that are not positive and different, a solution that is not finite.

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), II.3.
    """
    found = numeric(scheme, values, "convergence", "")
    counts = list(steps)
    if not counts or len(set(counts)) != len(counts):
        raise FieldError(f"convergence: got steps = {counts}, expected different positive integers")
    start, end = (torch.as_tensor(exact(t), dtype=torch.float64).reshape(-1) for t in (t0, t1))
    if not bool(start.isfinite().all() and end.isfinite().all()) or start.shape != end.shape:
        raise FieldError(f"convergence: got the solution {start.tolist()} and {end.tolist()}, expected finite numbers")
    # The stages of an implicit scheme to nearly all digits: the solver's tolerance is not the scheme's error.
    solver = None if found.explicit else NewtonKrylov(rtol=STAGES, atol=STAGES)
    errors = []
    for count in counts:
        net = ODENet(TimeField(f, t0, t1, count), found, solver=solver)
        errors.append(float((net(start).detach() - end).abs().max()))
    h = np.array([(t1 - t0) / count for count in counts])
    return Convergence(found.name, found.order, h, np.array(errors), float(end.abs().max()))


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
