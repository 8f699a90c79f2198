"""What a step costs besides torch's operations: ``odenets bench overhead``.

Claim to be tested: where the blocks are so small that Python is most of the time (a perceptron on a state of 64 x 2),
a network takes hardly more time than the loop that one would write by hand with the fewest operations of torch:
forward, recorded by autograd, 1.05 for euler, lm and ab4, 1.08 for rk4; with the backward pass, or with a function of
time f(t, u) whose t is a tensor, 1.03. Of evaluation, where nothing is recorded, nothing is claimed.

Processor time of one thread on one core, in samples of 20 ms and more, in pairs one after the other, the order
changing; beside it the loop by hand against itself (A/A), which says how much of a ratio is noise. Both compute the
same, or nothing is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from odenets import ODENet, TimeField

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark
from ..common.pairs import Row, beside, one_core

#: scheme -> the largest ratio that is claimed of the forward pass
FORWARD = {"euler": 1.05, "lm": 1.05, "rk4": 1.08, "ab4": 1.05}
BACKWARD = TIME = 1.03
#: how far values may differ by the order of sums
ROUNDING = 1e-5
WIDTH = 16
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What is measured: networks of so many layers on so many samples, pairs of samples of time."""

    steps: int
    batch: int
    rounds: int


# ------------------------------------------------------------------------------------------- by hand


def euler(layers: Sequence[Run], ks: Sequence[Tensor]) -> Run:
    """u_{n+1} = u_n + f_n(u_n)."""

    def run(x: Tensor) -> Tensor:
        for f in layers:
            x = x + f(x)
        return x

    return run


def lm(layers: Sequence[Run], ks: Sequence[Tensor]) -> Run:
    """u_{n+1} = (1 - k_n) u_n + k_n u_{n-1} + f_n(u_n), the first step without k (Lu et al. 2018)."""

    def run(x: Tensor) -> Tensor:
        before, x = x, x + layers[0](x)
        for f, k in zip(layers[1:], ks, strict=True):
            before, x = x, torch.lerp(x, before, k).add(f(x))
        return x

    return run


def rk4(layers: Sequence[Run], ks: Sequence[Tensor]) -> Run:
    """The classical scheme of order 4 (Kutta 1901)."""

    def run(x: Tensor) -> Tensor:
        for f in layers:
            k1 = f(x)
            k2 = f(torch.add(x, k1, alpha=1 / 2))
            k3 = f(torch.add(x, k2, alpha=1 / 2))
            k4 = f(x + k3)
            x = torch.add(x, k1, alpha=1 / 6).add_(k2, alpha=1 / 3).add_(k3, alpha=1 / 3).add_(k4, alpha=1 / 6)
        return x

    return run


def ab4(layers: Sequence[Run], ks: Sequence[Tensor]) -> Run:
    """Adams-Bashforth of four steps (Bashforth & Adams 1883), after three of euler."""

    def run(x: Tensor) -> Tensor:
        f3 = f2 = f1 = x
        for n, f in enumerate(layers):
            f0 = f(x)
            if n < 3:
                x = x + f0
            else:
                x = torch.add(x, f0, alpha=55 / 24).add_(f1, alpha=-59 / 24)
                x = x.add_(f2, alpha=37 / 24).add_(f3, alpha=-9 / 24)
            f3, f2, f1 = f2, f1, f0
        return x

    return run


HAND = {"euler": euler, "lm": lm, "rk4": rk4, "ab4": ab4}


def euler_in_time(f: Callable[[Tensor, Tensor], Tensor], steps: int) -> Run:
    """Euler's steps on [0, 1], t as a tensor in float64."""
    h = 1 / steps

    def run(x: Tensor) -> Tensor:
        for n in range(steps):
            x = torch.add(x, f(x.new_full((), n * h, dtype=torch.float64), x), alpha=h)
        return x

    return run


def rk4_in_time(f: Callable[[Tensor, Tensor], Tensor], steps: int) -> Run:
    """The same by the classical scheme of order 4."""
    h = 1 / steps

    def run(x: Tensor) -> Tensor:
        for n in range(steps):
            k1 = f(x.new_full((), n * h, dtype=torch.float64), x)
            k2 = f(x.new_full((), (n + 0.5) * h, dtype=torch.float64), torch.add(x, k1, alpha=h / 2))
            k3 = f(x.new_full((), (n + 0.5) * h, dtype=torch.float64), torch.add(x, k2, alpha=h / 2))
            k4 = f(x.new_full((), (n + 1) * h, dtype=torch.float64), torch.add(x, k3, alpha=h))
            x = torch.add(x, k1, alpha=h / 6).add_(k2, alpha=h / 3).add_(k3, alpha=h / 3).add_(k4, alpha=h / 6)
        return x

    return run


IN_TIME = {"euler": euler_in_time, "rk4": rk4_in_time}


# --------------------------------------------------------------------------------------- what is measured


def perceptron() -> nn.Module:
    """A block on two features."""
    return nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 2))


class InTime(nn.Module):
    """f(t, u) of one layer, which t goes into by a product."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron()

    def forward(self, t: Tensor, u: Tensor) -> Tensor:
        """Its value."""
        return self.layers(u) * t


def layers(scheme: str, steps: int) -> tuple[ODENet, Run]:
    """A network of layers, and the loop over the same ones."""
    net = ODENet([perceptron() for _ in range(steps)], scheme)
    return net, HAND[scheme](list(net.field.layers), list(net.coefficients.parameters()))


def in_time(scheme: str, steps: int) -> tuple[ODENet, Run]:
    """A network of a function of time, and the loop over it."""
    f = InTime()
    return ODENet(TimeField(f, 0.0, 1.0, steps), scheme), IN_TIME[scheme](f, steps)


def evaluation(run: Run, x: Tensor) -> object:
    """A pass of which nothing is recorded."""
    with torch.no_grad():
        return run(x)


def forward(run: Run, x: Tensor) -> object:
    """A pass that autograd records."""
    return run(x)


def backward(run: Run, x: Tensor) -> object:
    """A pass, and the gradient of the parameters."""
    return run(x).sum().backward()


@dataclass(frozen=True)
class Case:
    """A row: a network and a loop by hand, what is run of both, and the ratio that is claimed, if any."""

    part: str
    scheme: str
    make: Callable[[str, int], tuple[ODENet, Run]]
    once: Callable[[Run, Tensor], object]
    bound: float | None


def cases() -> list[Case]:
    """What is measured."""
    return [
        *(Case(f"{s}, forward", s, layers, forward, bound) for s, bound in FORWARD.items()),
        *(Case(f"{s}, with backward", s, layers, backward, BACKWARD) for s in HAND),
        *(Case(f"f(t, u), {s}, forward", s, in_time, forward, TIME) for s in IN_TIME),
        *(Case(f"{s}, evaluation", s, layers, evaluation, None) for s in HAND),
    ]


def rows_of(case: Case, task: Task) -> list[Row]:
    """The network, and the loop once more, each against the loop.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    net, hand = case.make(case.scheme, task.steps)
    x = torch.randn(task.batch, 2)
    if not torch.allclose(net(x), hand(x), rtol=ROUNDING, atol=ROUNDING):
        raise BenchmarkError(f"{case.part}: the network and the loop differ, expected the same value")
    return beside(
        case.part, "by hand", partial(case.once, hand, x), {"odenets": partial(case.once, net, x)}, task.rounds
    )


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    one_core()
    torch.manual_seed(0)
    return [row for case in cases() for row in rows_of(case, task)]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is claimed of each, and whether it holds."""
    found = {row.part: row.ratio for row in rows if "A/A" not in row.pair}
    bounds = {case.part: case.bound for case in cases() if case.bound is not None}
    return {f"{part}: at most {bound}, got {found[part]:.3f}": found[part] <= bound for part, bound in bounds.items()}


BENCHMARK = PairedBenchmark(
    name="overhead",
    module="odenets.benchmarks.speed.overhead",
    description=__doc__,
    task=Task,
    defaults=Task(steps=32, batch=64, rounds=41),
    help={"steps": "of each network", "batch": "samples"},
    measure=measure,
    title=lambda task: f"{task.steps} steps on a state of {task.batch} x 2 beside a loop by hand",
    claims=claims,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
