"""Adaptive implicit steps beside scipy's Radau and BDF: ``odenets bench stiff``.

Claim to be tested: on van der Pol's equation (mu = 1000), Robertson's, the Oregonator, HIRES and the Brusselator of
1000 equations, kvaerno5, radau_iia3 and rodas5p take at most 5 times the time of scipy's Radau given the same function
of torch, and at most 3 times its evaluations, at an error over the tolerance that is no larger than that of BDF or 10;
and the gradient of radau_iia3's solution at tolerance 1e-8 is that of a reference solution to 1e-5 on the small ones.
Beside it Radau with NumPy's function, which is what one would write for it, and Radau against itself (A/A).

Processor time of one thread on one core, in pairs one after the other, the order changing. Both have their Jacobians
by themselves, scipy's by differences, ours by autograd. Evaluations are scipy's nfev, without those for Jacobians; ours
count one for each Jacobian. Gradients are those of the accepted steps, whose sizes are constants.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ..common.paired_command import PairedBenchmark, Tables
from ..common.pairs import Row, beside, one_core
from .gradients import gradient_errors, gradients_claimed
from .problems import OURS, PROBLEMS, error, in_scipy, in_torch, through_torch

TOLERANCES = (1e-4, 1e-6)
#: of the time, of the evaluations, and of the error over the tolerance where that of BDF is smaller
BOUND, MORE, ERROR = 5.0, 3.0, 10.0
WITH_TORCH = "scipy's Radau"
COUNTS = "Steps, with rejected ones of ours, evaluations, and errors at the end"
GRADIENTS = "Gradients to a factor of the time, of the first number at the end"


@dataclass(frozen=True)
class Task:
    """What is measured: the problems, separated by commas, pairs of samples of time."""

    problems: str
    rounds: int


def measure(task: Task) -> list[Row]:
    """Times, against those of scipy's Radau with the function of torch."""
    one_core()
    rows: list[Row] = []
    for name in task.problems.split(","):
        problem = PROBLEMS[name]
        f = through_torch(problem)
        for tolerance in TOLERANCES:
            others = {scheme: partial(in_torch, problem, scheme, tolerance) for scheme in OURS}
            others[f"{WITH_TORCH}, NumPy's f"] = partial(in_scipy, problem, "Radau", tolerance)
            radau = partial(in_scipy, problem, "Radau", tolerance, f)
            rows += beside(f"{name}, {tolerance:.0e}", WITH_TORCH, radau, others, task.rounds)
    return rows


def tables(task: Task) -> Tables:
    """What is counted, and errors."""
    names = task.problems.split(",")
    return {COUNTS: counted(names), GRADIENTS: gradient_errors(names)}


def counted(names: Sequence[str]) -> list[list[str]]:
    """Steps, evaluations and errors of all."""
    rows = [["problem", "tolerance", "method", "steps", "evaluations", "Jacobians", "error over tolerance"]]
    for name in names:
        problem = PROBLEMS[name]
        for tolerance in TOLERANCES:
            what = [name, f"{tolerance:.0e}"]
            for method in ("Radau", "BDF"):
                found = in_scipy(problem, method, tolerance)
                counts = [len(found.t) - 1, found.nfev, found.njev]
                far = error(problem, found.y[:, -1], tolerance)
                rows.append([*what, f"scipy's {method}", *map(str, counts), f"{far:.2g}"])
            for scheme in (*OURS, "kvaerno3", "kencarp4", "trbdf2"):
                solution = in_torch(problem, scheme, tolerance)
                stats, far = solution.stats, error(problem, solution.y[-1], tolerance)
                counts = [stats.accepted + stats.rejected, stats.evaluations, stats.jacobians]
                rows.append([*what, scheme, *map(str, counts), f"{far:.2g}"])
    return rows


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """The bound on times, for each scheme."""
    worst = {scheme: max(row.ratio for row in rows if row.pair == scheme) for scheme in OURS}
    return {
        f"{scheme}: at most {BOUND:g} times the time of {WITH_TORCH} with the same function, got {ratio:.2f}": ratio
        <= BOUND
        for scheme, ratio in worst.items()
    }


def tables_claimed(found: Tables) -> dict[str, bool]:
    """The bounds on what the tables say."""
    return counts_claimed(found[COUNTS]) | gradients_claimed(found[GRADIENTS])


def counts_claimed(table: Sequence[Sequence[str]]) -> dict[str, bool]:
    """The bounds on evaluations and errors, for each scheme."""
    found = {tuple(line[:3]): (float(line[4]), float(line[-1])) for line in table[1:]}
    cases = {key[:2] for key in found}
    told = {}
    for scheme in OURS:
        calls = max(found[(*case, scheme)][0] / found[(*case, WITH_TORCH)][0] for case in cases)
        far = max(found[(*case, scheme)][1] / max(ERROR, found[(*case, "scipy's BDF")][1]) for case in cases)
        told[f"{scheme}: at most {MORE:g} times the evaluations of {WITH_TORCH}, got {calls:.2f}"] = calls <= MORE
        told[f"{scheme}: an error of at most {ERROR:g} tolerances, or BDF's, got {far:.2g} of it"] = far <= 1
    return told


BENCHMARK = PairedBenchmark(
    name="stiff",
    module="odenets.benchmarks.stiff",
    description=__doc__,
    task=Task,
    defaults=Task(problems=",".join(PROBLEMS), rounds=5),
    help={"problems": f"some of {', '.join(PROBLEMS)}"},
    measure=measure,
    title=lambda task: "Adaptive implicit steps beside scipy's",
    claims=claims,
    more=tables,
    claims_of_more=tables_claimed,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
