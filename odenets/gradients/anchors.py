"""Where to store states so that undoing the steps between them stays exact enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import sympy

from ..scheme import Scheme
from .checkpoint_schedule import checkpointed_segments


@dataclass(frozen=True)
class SegmentPlan:
    """Steps start ... stop - 1 between two stored states; undone, or run again.

    ``predicted`` is the relative error that undoing them is expected to leave.
    """

    start: int
    stop: int
    undone: bool
    predicted: float = 0.0


def place_anchors(
    inverses: Sequence[np.ndarray | None], growth: Sequence[float], unit: float, limit: float
) -> tuple[SegmentPlan, ...]:
    """Segments as long as the predicted error allows, from the last step to the first.

    Args:
        inverses: for each step V^-1, of shape (entries of a coefficient, r, r); None where it cannot be undone.
        growth: for each step the factor by which the errors were measured to grow beyond what V^-1 says.
        unit: unit roundoff of the state's dtype.
        limit: largest predicted error.

    Rounding errors are taken as random and independent, one of relative size ``unit`` in each carried
    value at each step, so their covariance S goes to g^2 V^-1 (S + I) V^-T in a step back (Higham &
    Mary 2019 on why the square root of the number of steps is right where worst cases are not).
    """
    plans: list[SegmentPlan] = []
    stop = len(inverses)
    while stop > 0:
        start, predicted = _reach(inverses, growth, stop, limit / unit)
        # To undo one step takes the state before it, to measure by; then it may as well be run again.
        undone = stop - start > 1
        plans.append(SegmentPlan(start, stop, True, predicted * unit) if undone else SegmentPlan(stop - 1, stop, False))
        stop = plans[-1].start
    return tuple(reversed(plans))


def joined(plans: Iterable[SegmentPlan], first: int) -> tuple[SegmentPlan, ...]:
    """The segments from step ``first`` on; steps that are run again, in segments as checkpointing has them.

    So a network of which no step can be undone stores as many states as one with checkpoints.
    """
    found: list[SegmentPlan] = []
    taken = (plan for plan in plans if plan.stop > first)
    for undone, group in groupby(taken, key=attrgetter("undone")):
        steps = list(group)
        segments = checkpointed_segments(steps[0].start, steps[-1].stop, None)
        found += steps if undone else (SegmentPlan(start, stop, False) for start, stop, _ in segments)
    return tuple(found)


def _reach(
    inverses: Sequence[np.ndarray | None], growth: Sequence[float], stop: int, limit: float
) -> tuple[int, float]:
    """First step of the longest segment that ends at ``stop``, and its error in units of rounding."""
    covariance, error, start = np.zeros(1), 0.0, stop
    while start > 0:
        back = inverses[start - 1]
        if back is None or not math.isfinite(growth[start - 1]):
            break
        grown = covariance + np.eye(back.shape[-1]) if start < stop else np.eye(back.shape[-1])
        grown = growth[start - 1] ** 2 * (back @ grown @ back.swapaxes(-1, -2))
        size = math.sqrt(float(np.trace(grown, axis1=-2, axis2=-1).max()) / back.shape[-1])
        if not size <= limit:
            break
        covariance, error, start = grown, size, start - 1
    return start, error


def learn_growth(
    growth: Sequence[float], plans: Sequence[SegmentPlan], measured: Mapping[tuple[int, int], float]
) -> list[float]:
    """The growth factors after the errors of some segments have been measured.

    Where an error was larger than predicted, the steps of the segment share the factor; where it was
    smaller, they are given back a tenth of it at a time, never below 1, since one small error in many
    may be chance.
    """
    found = list(growth)
    for plan in plans:
        error = measured.get((plan.start, plan.stop))
        if error is None or not plan.undone:
            continue
        ratio = error / plan.predicted if math.isfinite(error) else math.inf
        factor = ratio ** ((1.0 if ratio > 1 else 0.1) / (plan.stop - plan.start))
        for n in range(plan.start, plan.stop):
            found[n] = max(1.0, found[n] * factor)
    return found


@lru_cache(maxsize=256)
def _inverse_function(scheme: Scheme) -> Any:
    return sympy.lambdify(scheme.symbols, scheme.inverse[3].tolist(), "numpy")


def inverse_matrix(scheme: Scheme, values: Mapping[str, Sequence[float]]) -> np.ndarray | None:
    """V^-1 at the values of the coefficients, shape (entries, r, r); None where it is not finite or there is none."""
    if not scheme.reversible:
        return None
    with np.errstate(all="ignore"):
        arguments = [np.asarray(values[str(symbol)], dtype=float) for symbol in scheme.symbols]
        rows = _inverse_function(scheme)(*arguments)
    size = max((argument.size for argument in arguments), default=1)
    entries = [np.broadcast_to(np.asarray(x, dtype=float), size) for row in rows for x in row]
    found = np.stack(entries, -1).reshape(size, len(rows), len(rows))
    return found if np.isfinite(found).all() else None
