"""Random layers against their stochastic differential equations: ``odenets bench weak_convergence``.

Claim to be tested: a network of random layers of step size h approximates the moments of the
solution of its equation with an error of order h (weak order 1), as Euler-Maruyama does. The
equations are linear, so that the moments are known; Monte Carlo with error bars of two standard
errors. Lu et al. (2018), section 4, state the equations.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from odenets import ODENet, ShakeShake, StochasticDepth
from odenets.analysis import plot
from odenets.analysis.plot.style import MARKERS, colours, new_panels, shared_legend
from odenets.fields.layers import Field

from .common.command_line import Parser

SAMPLES = 1_000_000
BATCH = 100_000
STEPS = (2, 4, 8, 16, 32)
SURVIVAL = 0.7


class Linear(nn.Module):
    """The residual function f(x) = rate x."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Rate x."""
        return self.rate * x


@dataclass(frozen=True)
class Problem:
    """Random layers on [0, 1] and their equation dX = drift X dt + diffusion X dB, X(0) = 1."""

    name: str
    field: Callable[[int], Field]
    drift: float
    diffusion: float

    @property
    def moments(self) -> tuple[float, float]:
        """E X(1) and E X(1)^2 of the equation (Ito)."""
        return math.exp(self.drift), math.exp(2 * self.drift + self.diffusion**2)


PROBLEMS = (
    Problem(
        "stochastic depth",
        lambda n: StochasticDepth([Linear(-1.0)] * n, [SURVIVAL] * n, per_sample=True),
        drift=-1.0,
        diffusion=-math.sqrt((1 - SURVIVAL) / SURVIVAL),
    ),
    Problem(
        "shake-shake",
        lambda n: ShakeShake([(Linear(-1.5), Linear(0.5))] * n),
        drift=-0.5,
        diffusion=-2.0 / math.sqrt(12),
    ),
)


def network(problem: Problem, steps: int, x: Tensor) -> Tensor:
    """The state after ``steps`` random layers."""
    return ODENet(problem.field(steps), "euler", h=1 / steps).train()(x)


def euler_maruyama(problem: Problem, steps: int, x: Tensor) -> Tensor:
    """X+ = X + h drift X + sqrt(h) diffusion X eps, eps ~ N(0, 1): Maruyama (1955)."""
    h = 1 / steps
    for _ in range(steps):
        x = x + h * problem.drift * x + math.sqrt(h) * problem.diffusion * x * torch.randn_like(x)
    return x


METHODS = {"network": network, "Euler-Maruyama": euler_maruyama}


def moment_errors(problem: Problem, method: str, steps: int) -> list[tuple[float, float]]:
    """(error, two standard errors) of the first two moments at t = 1."""
    torch.manual_seed(steps)
    start = torch.ones(BATCH, 1, dtype=torch.float64)
    x = torch.cat([METHODS[method](problem, steps, start) for _ in range(SAMPLES // BATCH)])
    return [
        (abs(power.mean().item() - exact), 2 * power.std().item() / math.sqrt(SAMPLES))
        for power, exact in zip((x, x.square()), problem.moments, strict=True)
    ]


def draw(found: dict[tuple[str, str], list[list[tuple[float, float]]]]) -> Figure:
    """Errors of the moments over h, a panel a problem and moment, with the slope of order 1."""
    figure, flat = new_panels(2, len(PROBLEMS), 9, 7, sharex=True)
    panels = [flat[: len(PROBLEMS)], flat[len(PROBLEMS) :]]
    hs = [1 / n for n in STEPS]
    for column, problem in enumerate(PROBLEMS):
        for row, moment in enumerate(("E X", "E X²")):
            axes = panels[row][column]
            for method, colour, marker in zip(METHODS, colours(len(METHODS)), MARKERS, strict=False):
                errors = [per_step[row] for per_step in found[problem.name, method]]
                axes.errorbar(
                    hs,
                    [e for e, _ in errors],
                    yerr=[s for _, s in errors],
                    color=colour,
                    marker=marker,
                    capsize=3,
                    label=method,
                )
            anchor = found[problem.name, "network"][0][row][0]
            axes.plot(
                hs, [anchor * h / hs[0] for h in hs], color="0.45", linestyle="--", linewidth=0.9, label="order 1"
            )
            axes.set(xscale="log", yscale="log", title=f"{problem.name}: {moment}", ylabel="error at t = 1")
            axes.set_xticks(hs, [f"1/{n}" for n in STEPS])
            axes.minorticks_off()
    for axes in panels[-1]:
        axes.set_xlabel("step size $h$")
    shared_legend(figure, flat)
    figure.suptitle(f"Weak convergence of random layers, {SAMPLES:,} samples, bars of two standard errors")
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, print and draw."""
    parser = Parser(prog="odenets bench weak_convergence", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("weak_convergence.png"), help="figure, PNG or SVG")
    options = parser.parse_args(argv)
    plot.check_path(options.out)
    cases = [(problem, method, steps) for problem in PROBLEMS for method in METHODS for steps in STEPS]
    found: dict[tuple[str, str], list[list[tuple[float, float]]]] = {}
    for problem, method, steps in tqdm(cases, unit="case"):
        found.setdefault((problem.name, method), []).append(moment_errors(problem, method, steps))
    for (name, method), errors in found.items():
        for steps, (first, second) in zip(STEPS, errors, strict=True):
            print(f"{name:17} {method:15} h = 1/{steps:<3}", *(f"{e:9.2e} ± {s:.0e}" for e, s in (first, second)))
    plot.save(draw(found), options.out)
    print(f"Wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
