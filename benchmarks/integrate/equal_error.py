"""dopri5 beside torchdiffeq's and diffrax's at equal error, on the front of a work-precision diagram."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
import torchdiffeq
from torch import Tensor

from odenets import solve

from ..common.errors import BenchmarkError
from ..common.pairs import Row, row
from .beside_diffrax import diffrax_run
from .problems import CASES, STOP, case

#: of a work-precision diagram
CURVE = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
#: what a row calls the pair, whose time is the first, and whose the other
PAIRS = (
    ("torchdiffeq", "torchdiffeq", "odenets"),
    ("itself, A/A", "odenets", "again"),
    ("diffrax, compiled", "diffrax", "odenets"),
    ("torchdiffeq, f alone", "torchdiffeq", "f alone"),
)
#: from a start, with a tolerance, with gradients by the start and the weights of f or without: the solution at the end
Run = Callable[[Tensor, float, bool], Tensor]


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


def by_torch(solution: Callable[[Any, Tensor, float], Tensor], f: Any) -> Run:
    """Solves whose gradient, of a sum, is torch's."""

    def run(start: Tensor, tolerance: float, gradients: bool) -> Tensor:
        with torch.set_grad_enabled(gradients):
            end = solution(f, start, tolerance)
            if gradients:
                end.sum().backward()
        return end

    return run


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


def exact_end(f: Any, start: Tensor) -> Tensor:
    """The solution at the end, to 1e-12."""
    with torch.no_grad():
        return solve(f, start, (0.0, STOP), "dop853", rtol=1e-12, atol=1e-12).y[-1]


def errors_of(run: Run, start: Tensor, exact: Tensor) -> list[float]:
    """The errors at the end at all tolerances."""
    return [float((run(start, tolerance, False) - exact).abs().max()) for tolerance in CURVE]


def counts_of(solution: Callable[[Any, Tensor, float], Tensor], f: Any, start: Tensor) -> list[int]:
    """The evaluations at all tolerances."""
    counts = []
    for tolerance in CURVE:
        calls = 0

        def counted(t: Tensor, u: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            value: Tensor = f(t, u)
            return value

        by_torch(solution, counted)(start, tolerance, False)
        counts.append(calls)
    return counts


def runs_of(f: Any, start: Tensor) -> dict[str, Run]:
    """What is timed; "f alone" is f as often as our solves evaluate it: no solver takes less for that."""
    counts, middle = counts_of(ours, f, start), torch.tensor(STOP / 2, dtype=torch.float64)

    def alone(f: Any, y0: Tensor, tolerance: float) -> Tensor:
        for _ in range(counts[CURVE.index(tolerance)]):
            value: Tensor = f(middle, y0)
        return value

    solutions = {"torchdiffeq": theirs, "odenets": ours, "again": ours, "f alone": alone}
    runs = {name: by_torch(solution, f) for name, solution in solutions.items()}
    return runs if find_spec("diffrax") is None else {**runs, "diffrax": diffrax_run(f, STOP)}


def samples_of(runs: Mapping[str, Run], start: Tensor, gradients: bool, rounds: int) -> list[dict[str, list[float]]]:
    """The seconds of each at all tolerances, round by round, one after the other, the order changing."""
    y0, samples = start.clone().requires_grad_(gradients), []
    for run in runs.values():  # kernels and memory; what is compiled
        run(y0, CURVE[0], gradients), run(y0, CURVE[-1], gradients)
    for n in range(rounds):
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for tolerance in CURVE:
            for name in list(runs) if n % 2 else reversed(runs):
                begun = time.process_time()
                runs[name](y0, tolerance, gradients)
                taken[name].append(time.process_time() - begun)
        samples.append(taken)
    return samples


def times(problem: str, batch: int, rounds: int) -> list[Row]:
    """Solves of a problem to equal errors, forward alone and with the gradient of a sum; forward f alone as well."""
    f, start = case(problem, batch)
    runs, exact, rows = runs_of(f, start), exact_end(f, start), []
    errors = {name: errors_of(run, start, exact) for name, run in runs.items() if name != "f alone"}
    levels = common(errors["torchdiffeq"], errors["odenets"])
    errors["f alone"] = errors["odenets"]
    for gradients in (False, True):
        sides = {name: run for name, run in runs.items() if not (gradients and name == "f alone")}
        samples = samples_of(sides, start, gradients, rounds)
        for error in levels:
            at = [{name: at_error(error, errors[name], costs) for name, costs in taken.items()} for taken in samples]
            what = f"{problem}, batch {batch}, error {error:.0e}, {'with gradients' if gradients else 'forward'}"
            for pair, first, other in PAIRS:
                if first in sides and other in sides and min(errors[first]) <= error <= max(errors[first]):
                    rows.append(row(what, pair, [(seconds[first], seconds[other]) for seconds in at]))
    return rows


def equal_errors() -> list[list[str]]:
    """Evaluations of odenets and torchdiffeq for equal errors."""
    rows = [["problem", "batch", "error", "evaluations", "torchdiffeq's", "ratio"]]
    for problem, batch in CASES:
        f, start = case(problem, batch)
        exact = exact_end(f, start)
        known = [(errors_of(by_torch(s, f), start, exact), counts_of(s, f, start)) for s in (ours, theirs)]
        for error in common(known[0][0], known[1][0]):
            own, other = (at_error(error, *curve) for curve in known)
            rows.append([problem, str(batch), f"{error:.0e}", f"{own:.0f}", f"{other:.0f}", f"{own / other:.2f}"])
    return rows
