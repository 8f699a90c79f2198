"""dopri5 beside torchdiffeq's at equal error: times, and evaluations, on the front of a work-precision diagram."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchdiffeq
from torch import Tensor

from odenets import solve

from ..common.errors import BenchmarkError
from ..common.pairs import Row, row
from .problems import CASES, STOP, case

#: of a work-precision diagram
CURVE = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)


def ours(f: Any, y0: Tensor, tolerance: float) -> Tensor:
    """Our solution at the end."""
    return solve(f, y0, (0.0, STOP), "dopri5", rtol=tolerance, atol=tolerance).y[-1]


def theirs(f: Any, y0: Tensor, tolerance: float) -> Tensor:
    """That of torchdiffeq."""
    t = torch.tensor([0.0, STOP], dtype=torch.float64)
    return torchdiffeq.odeint(f, y0, t, method="dopri5", rtol=tolerance, atol=tolerance)[-1]


def at_error(error: float, errors: Sequence[float], costs: Sequence[float]) -> float:
    """The least cost of an error: on the front of a work-precision diagram, linear between logarithms."""
    order = np.argsort(errors)
    front = np.minimum.accumulate(np.asarray(costs, dtype=float)[order])
    return float(np.exp(np.interp(math.log(error), np.log(np.asarray(errors)[order]), np.log(front))))


def common(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The largest power of ten that lies in both ranges of errors, one in the middle, and the smallest.

    Raises:
        BenchmarkError: there is none.
    """
    low, high = max(min(first), min(second)), min(max(first), max(second))
    powers = [10.0**n for n in range(math.floor(math.log10(high)), math.ceil(math.log10(low)) - 1, -1)]
    if not powers:
        raise BenchmarkError(f"got errors {first} and {second}, expected a power of ten that both reach")
    return sorted({powers[0], powers[len(powers) // 2], powers[-1]}, reverse=True)


def errors_and_counts(problem: str, batch: int) -> dict[Any, tuple[list[float], list[int]]]:
    """For both packages the errors at the end and the evaluations at all tolerances."""
    f, start = case(problem, batch)
    calls = [0]

    def counted(t: Tensor, u: Tensor) -> Tensor:
        calls[0] += 1
        value: Tensor = f(t, u)
        return value

    found: dict[Any, tuple[list[float], list[int]]] = {ours: ([], []), theirs: ([], [])}
    with torch.no_grad():
        exact = solve(f, start, (0.0, STOP), "dop853", rtol=1e-12, atol=1e-12).y[-1]
        for final, (errors, counts) in found.items():
            for tolerance in CURVE:
                calls[0] = 0
                errors.append(float((final(counted, start, tolerance) - exact).abs().max()))
                counts.append(calls[0])
    return found


def times(problem: str, batch: int, rounds: int) -> list[Row]:
    """Solves of a problem to equal errors, forward alone and with the gradient of a sum.

    And f alone, evaluated as often as our solves do, forward: no solver that takes these steps takes less.
    """
    f, start = case(problem, batch)
    known, rows = errors_and_counts(problem, batch), []
    middle = torch.tensor(STOP / 2, dtype=torch.float64)

    def alone(f: Any, y0: Tensor, tolerance: float) -> Tensor:
        for _ in range(known[ours][1][CURVE.index(tolerance)]):
            value: Tensor = f(middle, y0)
        return value

    for backward in (False, True):
        y0 = start.clone().requires_grad_(backward)

        def run(final: Any, tolerance: float, y0: Tensor = y0, backward: bool = backward) -> float:
            begun = time.process_time()
            with torch.set_grad_enabled(backward):
                end = final(f, y0, tolerance)
                if backward:
                    end.sum().backward()
            return time.process_time() - begun

        sides = (theirs, ours, ours) if backward else (theirs, ours, ours, alone)
        for final in sides[:2]:  # kernels and memory
            run(final, CURVE[0]), run(final, CURVE[-1])
        samples = []
        for n in range(rounds):
            taken = np.zeros((len(sides), len(CURVE)))
            for k, tolerance in enumerate(CURVE):
                for side in range(len(sides)) if n % 2 else reversed(range(len(sides))):
                    taken[side, k] = run(sides[side], tolerance)
            samples.append(taken)
        for error in common(known[ours][0], known[theirs][0]):
            errors = [known[theirs if final is theirs else ours][0] for final in sides]
            at = [[at_error(error, errors[i], taken[i]) for i in range(len(sides))] for taken in samples]
            what = f"{problem}, batch {batch}, error {error:.0e}, {'with gradients' if backward else 'forward'}"
            pairs = ("torchdiffeq", 0, 1), ("itself, A/A", 1, 2), ("torchdiffeq, f alone", 0, 3)
            for pair, first, other in pairs[: len(sides) - 1]:
                rows.append(row(what, pair, [(seconds[first], seconds[other]) for seconds in at]))
    return rows


def equal_errors() -> list[list[str]]:
    """Evaluations of both packages for equal errors."""
    rows = [["problem", "batch", "error", "evaluations", "torchdiffeq's", "ratio"]]
    for problem, batch in CASES:
        known = errors_and_counts(problem, batch)
        for error in common(known[ours][0], known[theirs][0]):
            own, other = (at_error(error, *known[final]) for final in (ours, theirs))
            rows.append([problem, str(batch), f"{error:.0e}", f"{own:.0f}", f"{other:.0f}", f"{own / other:.2f}"])
    return rows
