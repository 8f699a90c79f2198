"""Gradients of stiff problems beside differences of a reference solution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .problems import OURS, PROBLEMS, SMALL, Problem, in_scipy, in_torch

TOLERANCES = (1e-6, 1e-8)
#: The scheme, its tolerance and the relative error that is claimed. Of the others nothing is: see :func:`by_autograd`.
CLAIMED, BOUND = ("radau_iia3", "1e-08"), 1e-5
#: tolerance of the reference solution, and the step of its differences: their errors are some 1e-7
SHARP, SHIFT = 1e-11, 1e-4


def by_differences(problem: Problem) -> float:
    """du_1(stop; s)/ds at s = 1 of u' = s f(t, u), where f does not depend on t: u(stop; s) = u(s stop; 1)."""
    ends = [replace(problem, stop=problem.stop * (1 + e)) for e in (-SHIFT, SHIFT)]
    before, after = (in_scipy(end, "Radau", SHARP).y[0, -1] for end in ends)
    return float(after - before) / (2 * SHIFT)


def by_autograd(problem: Problem, scheme: str, tolerance: float) -> float:
    """The same of the accepted steps, whose sizes are constants.

    They fit the solution at s = 1. Of one that jumps, at times that depend on s, the short steps no longer fall on the
    jump for any other s: its derivative has an error that is many times that of the solution.
    """
    s = torch.ones((), dtype=torch.float64, requires_grad=True)

    def f(t: Tensor, u: Tensor) -> Any:
        return s * problem.f(t, u)

    end = in_torch(replace(problem, f=f), scheme, tolerance).y[-1, 0]
    return torch.autograd.grad(end, s)[0].item()


def gradient_errors(names: Sequence[str]) -> list[list[str]]:
    """Relative errors, of the problems that are small."""
    rows = [["problem", "tolerance", "method", "relative error of the gradient"]]
    for name in names:
        if name in SMALL:
            problem = PROBLEMS[name]
            right = by_differences(problem)
            for tolerance in TOLERANCES:
                for scheme in OURS:
                    far = abs(by_autograd(problem, scheme, tolerance) / right - 1)
                    rows.append([name, f"{tolerance:.0e}", scheme, f"{far:.1e}"])
    return rows


def gradients_claimed(table: Sequence[Sequence[str]]) -> dict[str, bool]:
    """The bound on the error, where a problem is among them."""
    errors = [float(line[-1]) for line in table[1:] if (line[2], line[1]) == CLAIMED]
    scheme, tolerance = CLAIMED
    what = f"{scheme}: a gradient's relative error of at most {BOUND:g} at tolerance {tolerance}"
    return {f"{what}, got {max(errors):.1e}": max(errors) <= BOUND} if errors else {}
