"""What a step of an implicit scheme costs: ``odenets bench implicit``.

Claim to be tested: where the state is so small (5 samples of 3 numbers) that Python is most of the time, a step of
backward Euler, or of Radau IIA with two stages, takes at most twice the time of Newton's method as one would write it
by hand: one Jacobian a step by torch.func, its factors kept, corrections until all are below the same tolerance, which
is all that its loop asks. The network also tells samples apart, falls back on a line search or on GMRES where a
correction does not shorten, asks whether f is pure, and reports; and it can be differentiated, which the loop cannot.

Processor time of one thread on one core, in samples of 20 ms and more, in pairs one after the other, the order
changing; beside it the loop by hand against itself (A/A). Both compute the same, or nothing is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from odenets import NewtonKrylov, ODENet

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark, at_most
from ..common.pairs import Row, beside, one_core
from .overhead import Task

#: how many times the time of the loop a network is claimed to take
BOUND = 2.0
WIDTH, HIDDEN, STEP = 3, 8, 0.1
#: backward Euler, and Radau IIA of order 3 (Hairer & Wanner 1996, IV.5)
WEIGHTS = {"backward_euler": [[1.0]], "radau_iia2": [[5 / 12, -1 / 12], [3 / 4, 1 / 4]]}
CORRECTIONS = 50
Run = Callable[[Tensor], Tensor]


def by_hand(layers: Sequence[nn.Module], scheme: str) -> Run:
    """Z = h (A x f)(u + Z) by Newton's method with the Jacobian of f at u; both schemes end at their last stage.

    Raises (of what it returns):
        BenchmarkError: the corrections do not become small.
    """
    A = torch.tensor(WEIGHTS[scheme], dtype=torch.float64) * STEP
    stages, eye = len(A), torch.eye(len(A) * WIDTH, dtype=torch.float64)
    rtol, atol = NewtonKrylov().tolerances(torch.float64)

    def step(f: nn.Module, u: Tensor) -> Tensor:
        matrix = eye - torch.kron(A, torch.func.vmap(torch.func.jacrev(f))(u))
        lu, pivots = torch.linalg.lu_factor(matrix)
        z = torch.zeros(len(u), stages, WIDTH, dtype=u.dtype)
        for _ in range(CORRECTIONS):
            left = A @ f(u[:, None] + z) - z
            z = z + torch.linalg.lu_solve(lu, pivots, left.reshape(len(u), -1, 1)).reshape(z.shape)
            if bool((left.abs() <= atol + rtol * z.abs()).all()):
                return u + z[:, -1]
        raise BenchmarkError(f"{scheme}: the loop by hand did not converge in {CORRECTIONS} corrections")

    @torch.no_grad()
    def run(u: Tensor) -> Tensor:
        for f in layers:
            u = step(f, u)
        return u

    return run


def rows_of(scheme: str, task: Task) -> list[Row]:
    """The network, with and without a record, and the loop once more, each against the loop.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    layers = [nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH)) for _ in range(task.steps)]
    net = ODENet(layers, scheme, h=STEP).double()
    hand, x = by_hand(layers, scheme), torch.randn(task.batch, WIDTH, dtype=torch.float64)
    if not torch.allclose(net(x), hand(x), rtol=1e-8, atol=1e-8):
        raise BenchmarkError(f"{scheme}: the network and the loop differ, expected the same value")
    runs = {"odenets, evaluation": partial(torch.no_grad()(net), x), "odenets, recorded": partial(net, x)}
    return beside(scheme, "by hand", partial(hand, x), runs, task.rounds)


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    one_core()
    torch.manual_seed(0)
    return [row for scheme in WEIGHTS for row in rows_of(scheme, task)]


BENCHMARK = PairedBenchmark(
    name="implicit",
    module="odenets.benchmarks.speed.implicit",
    description=__doc__,
    task=Task,
    defaults=Task(steps=16, batch=5, rounds=41),
    help={"steps": "of each network", "batch": "samples"},
    measure=measure,
    title=lambda task: f"{task.steps} implicit steps on a state of {task.batch} x {WIDTH} beside a loop by hand",
    claims=at_most(BOUND, "Newton's method by hand"),
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
