"""Adaptive steps beside torchdiffeq's and scipy's: ``odenets bench integrate``.

Claim to be tested: dopri5 takes at most 0.35 of torchdiffeq's process CPU time on one core with a single sample and
0.5 with 256, forward, at equal error, on van der Pol's equation, a network of width 64 and the heat equation, and
dopri5 and bosh3 take as many evaluations as scipy's RK45 and RK23 at equal error, to a tenth, in the geometric mean.
Steps of its own for each sample take less time than shared ones on 256 equations with mu from 1 to 100, at 1e-8.

Times at equal error: in each round both solve at all tolerances, one after the other, and the time for an error is
that on the front of the work-precision diagram, the logarithm of time interpolated linearly over that of the error at
the end; the ratio is taken in each round. Where both compute a network for a batch, its evaluations are what they
spend the time on. Evaluations beside scipy's at equal error are their ratio times (ratio of the errors)^(1 / order).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from tqdm import tqdm

from odenets import schemes, solve

from .common.command_line import Parser
from .common.errors import BenchmarkError
from .common.files import write_atomic, write_json
from .common.machine import processor, versions
from .common.markdown import markdown
from .common.pairs import HEAD, Row, compare, in_new_process, row

#: of the time at equal error, by the size of the batch
BOUNDS = {1: 0.35, 256: 0.5}
MORE, OWN = 1.1, 1.0
STOP = 10.0
#: of the batch of equations with mu from 1 to 100: most of them are past several of their jumps
LONG, SAMPLES = 100.0, 256
TOLERANCES = (1e-3, 1e-5, 1e-8)
#: of a work-precision diagram
CURVE = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
CASES = [(problem, batch) for problem in ("vdp", "mlp", "heat") for batch in (1, 256)]
PEERS = {"dopri5": "RK45", "bosh3": "RK23", "dop853": "DOP853"}


def vdp(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Van der Pol's equation, mu = 5."""
    return stack([u[..., 1], 5 * (1 - u[..., 0] ** 2) * u[..., 1] - u[..., 0]], -1)


def lotka_volterra(t: Any, u: Any, stack: Callable[..., Any] = torch.stack) -> Any:
    """Predator and prey."""
    return stack([u[..., 0] * (1.5 - u[..., 1]), u[..., 1] * (u[..., 0] - 3)], -1)


def heat(t: Any, u: Tensor) -> Tensor:
    """The heat equation on 32 points, with a largest eigenvalue of 40, so that it is mildly stiff."""
    wide = nn.functional.pad(u, (1, 1))
    return 10 * (wide[..., 2:] - 2 * u + wide[..., :-2])


def network() -> nn.Module:
    """f(t, u) of two layers of width 64."""
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))

    class Called(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner.double()

        def forward(self, t: Tensor, u: Tensor) -> Tensor:
            return 3 * self.inner(u)

    return Called()


def case(problem: str, batch: int) -> tuple[Any, Tensor]:
    """The function of a problem, and its start."""
    f = {"vdp": vdp, "heat": heat}.get(problem) or network()
    generator = torch.Generator().manual_seed(0)
    start = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    if problem == "heat":
        start = torch.linspace(0, math.pi, 34, dtype=torch.float64).sin()[None, 1:-1]
    return f, start + 0.5 * (batch > 1) * torch.randn(batch, start.shape[1], dtype=torch.float64, generator=generator)


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


def errors_and_counts(problem: str, batch: int) -> dict[Any, tuple[list[float], list[float]]]:
    """For both packages the errors at the end and the evaluations at all tolerances."""
    f, start = case(problem, batch)
    calls = [0]

    def counted(t: Tensor, u: Tensor) -> Tensor:
        calls[0] += 1
        value: Tensor = f(t, u)
        return value

    found: dict[Any, tuple[list[float], list[float]]] = {ours: ([], []), theirs: ([], [])}
    with torch.no_grad():
        exact = solve(f, start, (0.0, STOP), "dop853", rtol=1e-12, atol=1e-12).y[-1]
        for final, (errors, counts) in found.items():
            for tolerance in CURVE:
                calls[0] = 0
                errors.append(float((final(counted, start, tolerance) - exact).abs().max()))
                counts.append(calls[0])
    return found


def times(problem: str, batch: int, rounds: int) -> list[Row]:
    """Solves of a problem to equal errors, forward alone and with the gradient of a sum."""
    f, start = case(problem, batch)
    known, rows = errors_and_counts(problem, batch), []
    for backward in (False, True):
        y0 = start.clone().requires_grad_(backward)

        def run(final: Any, tolerance: float, y0: Tensor = y0, backward: bool = backward) -> float:
            begun = time.process_time()
            with torch.set_grad_enabled(backward):
                end = final(f, y0, tolerance)
                if backward:
                    end.sum().backward()
            return time.process_time() - begun

        sides = (theirs, ours, ours)
        for final in sides[:2]:  # kernels and memory
            run(final, CURVE[0]), run(final, CURVE[-1])
        samples = []
        for n in range(rounds):
            taken = np.zeros((len(sides), len(CURVE)))
            for k, tolerance in enumerate(CURVE):
                for side in (0, 1, 2) if n % 2 else (2, 1, 0):
                    taken[side, k] = run(sides[side], tolerance)
            samples.append(taken)
        for error in common(known[ours][0], known[theirs][0]):
            at = [[at_error(error, known[final][0], taken[i]) for i, final in enumerate(sides)] for taken in samples]
            what = f"{problem}, batch {batch}, error {error:.0e}, {'with gradients' if backward else 'forward'}"
            for pair, first, other in (("torchdiffeq", 0, 1), ("itself, A/A", 1, 2)):
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


def vdp_batch(t: Tensor, u: Tensor) -> Tensor:
    """Van der Pol's equation, mu the third component."""
    x, v, mu = u.split(1, 1)
    return torch.cat([v, mu * (1 - x * x) * v - x, torch.zeros_like(mu)], 1)


def batch_start() -> Tensor:
    """All at (2, 0), mu from 1 to 100."""
    mu = torch.logspace(0, 2, SAMPLES, dtype=torch.float64)
    return torch.stack([torch.full_like(mu, 2.0), torch.zeros_like(mu), mu], 1)


def torchode_solution(start: Tensor, tolerance: float) -> Tensor:
    """The same by torchode, whose samples have their own steps as well; its controller is integral by default."""
    import torchode  # noqa: PLC0415 - nothing here needs it

    term = torchode.ODETerm(lambda t, u: vdp_batch(t[:, None], u))
    control = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
    problem = torchode.InitialValueProblem(
        y0=start, t_eval=torch.tensor([0.0, LONG], dtype=torch.float64).expand(len(start), 2)
    )
    return torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control).solve(problem).ys[:, -1]


def own_times(rounds: int) -> list[Row]:
    """Solves in steps of each sample's own, beside shared ones, and beside torchode where it is installed."""
    start, rows = batch_start(), []

    def timed(final: Callable[[], Any]) -> float:
        begun = time.process_time()
        with torch.no_grad():
            final()
        return time.process_time() - begun

    for tolerance in TOLERANCES[1:]:
        options: dict[str, Any] = {"rtol": tolerance, "atol": tolerance}
        runs = {
            "shared steps": lambda o=options: solve(vdp_batch, start, (0, LONG), **o),
            "torchode": lambda tol=tolerance: torchode_solution(start, tol),
            "itself, A/A": lambda o=options: solve(vdp_batch, start, (0, LONG), per_sample=True, **o),
        }
        if find_spec("torchode") is None:
            del runs["torchode"]
        own = partial(timed, runs["itself, A/A"])
        what = f"vdp, mu 1 to 100, batch {SAMPLES}, {tolerance:.0e}, steps of its own for each sample"
        rows += [compare(what, pair, [partial(timed, run), own], rounds) for pair, run in runs.items()]
    return rows


def own_steps() -> list[list[str]]:
    """Steps and errors of shared steps and of each sample's own."""
    start = batch_start()
    exact = solve(vdp_batch, start, (0, LONG), "dop853", rtol=1e-11, atol=1e-12, per_sample=True).y[-1]
    rows = [["tolerance", "steps", "tried", "evaluations of f of a sample, mean", "largest error"]]
    for tolerance in TOLERANCES[1:]:
        for own in (False, True):
            found = solve(vdp_batch, start, (0, LONG), rtol=tolerance, atol=tolerance, per_sample=own)
            tried = torch.as_tensor(found.stats.accepted + found.stats.rejected).double()
            mean = torch.as_tensor(found.stats.evaluations).double().mean()
            counts = f"{tried.min():.0f} to {tried.max():.0f}" if own else f"{tried:.0f}"
            error = float((found.y[-1] - exact).abs().max())
            rows.append([f"{tolerance:.0e}", "own" if own else "shared", counts, f"{mean:.0f}", f"{error:.1e}"])
    return rows


def evaluations() -> list[list[str]]:
    """Evaluations beside scipy's, and what their ratio would be at equal error."""
    rows = [["problem", "scheme", "tolerance", "evaluations", "scipy's", "error", "scipy's", "ratio at equal error"]]
    for f, start in ((vdp, [2.0, 0.0]), (lotka_volterra, [1.0, 1.0])):

        def plain(t: float, u: Any, f: Any = f) -> Any:
            return f(t, u, np.stack)

        exact = solve_ivp(plain, (0, STOP), start, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
        for name, peer in PEERS.items():
            for tol in TOLERANCES:
                y0 = torch.tensor(start, dtype=torch.float64)
                found = solve(f, y0, (0, STOP), name, rtol=tol, atol=tol)
                theirs = solve_ivp(plain, (0, STOP), start, method=peer, rtol=tol, atol=tol)
                errors = [float(np.abs(y - exact).max()) for y in (found.y[-1].numpy(), theirs.y[:, -1])]
                ratio = found.stats.evaluations / theirs.nfev * (errors[0] / errors[1]) ** (1 / schemes[name].order)
                counts = [str(found.stats.evaluations), str(theirs.nfev)]
                rows.append([f.__name__, name, f"{tol:.0e}", *counts, *(f"{e:.1e}" for e in errors), f"{ratio:.3f}"])
    return rows


def claims(rows: Iterable[Row], counts: Sequence[Sequence[str]]) -> str:
    """What is claimed, and whether it holds."""
    slowest = {
        (problem, batch): max(
            r.ratio
            for r in rows
            if r.part.startswith(f"{problem}, batch {batch}, error") and "forward" in r.part and "A/A" not in r.pair
        )
        for problem, batch in CASES
    }
    own = next(r.ratio for r in rows if r.pair == "shared steps" and "1e-08" in r.part)
    logs = [math.log(float(row[-1])) for row in counts[1:]]
    mean = math.exp(sum(logs) / len(logs))
    told = [
        *(
            (f"{problem}, batch {batch}, forward: time over torchdiffeq's at equal error", ratio, BOUNDS[batch])
            for (problem, batch), ratio in slowest.items()
        ),
        ("evaluations over scipy's at equal error", mean, MORE),
        ("time of each sample's own steps over that of shared ones, 1e-08", own, OWN),
    ]
    return "\n".join(
        f"- {what}: at most {bound} claimed, {found:.3f}: {'holds' if found <= bound else 'FAILS'}"
        for what, found, bound in told
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes them beside the numbers."""
    parser = Parser(prog="odenets bench integrate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="pairs of each row (default: 9)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/integrate"), help="folder of the results")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.here:
        what = json.loads(options.here)
        print(json.dumps([asdict(row) for row in (times(**what) if "problem" in what else own_times(**what))]))
        return 0
    if options.rounds < 2:
        parser.error(f"--rounds: got {options.rounds}, expected at least 2")
    rows: list[Row] = []
    for problem, batch in tqdm(CASES, unit="case", disable=None):
        what = {"problem": problem, "batch": batch, "rounds": options.rounds}
        rows += in_new_process("odenets.benchmarks.integrate", what)
    rows += in_new_process("odenets.benchmarks.integrate", {"rounds": max(2, options.rounds // 3)})
    counts, steps, equal = evaluations(), own_steps(), equal_errors()
    facts = {"processor": processor(), "pairs": options.rounds, **versions()}
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = ["# Adaptive steps", claims(rows, counts), "\n".join([HEAD, *map(str, rows)])]
    parts += [
        markdown("Evaluations beside torchdiffeq's, at equal error", equal),
        markdown("Evaluations beside scipy's", counts),
        markdown(f"Steps of {SAMPLES} equations to t = {LONG:g}", steps),
    ]
    page = "\n\n".join([*parts, told]) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    record = {**facts, "times": [asdict(row) for row in rows], "evaluations": counts, "steps": steps, "equal": equal}
    write_json(options.out / "integrate.json", record)
    write_atomic(options.out / "integrate.md", page.encode())
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
