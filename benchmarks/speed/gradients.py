"""Time of the ways to a gradient beside torch's own checkpoint: ``odenets bench gradients``.

Claim to be tested: a forward and a backward pass through layers of two 3 x 3 convolutions take, with
gradient="checkpoint" or, under leapfrog, "reversible", at most 1.42 times the time of direct backpropagation, which
is that of one forward pass more. Beside them the same network written by hand, with torch.utils.checkpoint around as
many layers as a segment of ours has, and torch's checkpoint_sequential.

Processor time of one thread on one core, in pairs one after the other, the order changing; beside it direct
backpropagation against itself (A/A). All compute the same gradients, or nothing is measured.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from odenets import ODENet

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark
from ..common.pairs import Row, beside, one_core

#: ways of ours -> the largest ratio to direct backpropagation that is claimed
BOUNDS = {"odenets, checkpoint": 1.42, "odenets, reversible": 1.42}
H, ROUNDING = 0.1, 1e-4
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What is measured: so many layers, images of so many channels and of size x size, pairs of samples of time."""

    depth: int
    channels: int
    size: int
    batch: int
    rounds: int


def layers(task: Task) -> list[nn.Module]:
    """Two convolutions and a ReLU between them, for each layer."""
    torch.manual_seed(0)
    width = task.channels
    return [
        nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
        for _ in range(task.depth)
    ]


class Euler(nn.Module):
    """u + h f(u)."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f

    def forward(self, u: Tensor) -> Tensor:
        """One step."""
        return torch.add(u, self.f(u), alpha=H)


def by_hand(blocks: Sequence[nn.Module]) -> dict[str, Run]:
    """Euler's steps as one writes them: recorded, and run again from the states before each of the segments."""
    steps = nn.Sequential(*map(Euler, blocks))
    size = math.ceil(math.sqrt(len(blocks)))
    segments = [steps[i : i + size] for i in range(0, len(steps), size)]

    def segmented(x: Tensor) -> Tensor:
        for segment in segments:
            x = checkpoint(segment, x, use_reentrant=False)
        return x

    return {
        "by hand, direct": steps,
        "by hand, checkpoint": segmented,
        "torch, checkpoint_sequential": lambda x: checkpoint_sequential(steps, len(segments), x, use_reentrant=False),
    }


def ours(blocks: Sequence[nn.Module], scheme: str, *ways: str) -> dict[str, Run]:
    """The blocks under a scheme, with gradients in some ways."""
    return {f"odenets, {way}": ODENet(blocks, scheme, h=H, gradient=way) for way in ways}


def gradient(run: Run, x: Tensor) -> Tensor:
    """A forward and a backward pass; the gradient of the input."""
    own = x.clone().requires_grad_()
    run(own).sum().backward()
    assert own.grad is not None
    return own.grad


def rows_of(part: str, runs: dict[str, Run], x: Tensor, rounds: int) -> list[Row]:
    """The others against the first of the runs.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    (name, first), *others = runs.items()
    expected = gradient(first, x)
    for other, run in others:
        if not torch.allclose(gradient(run, x), expected, rtol=ROUNDING, atol=ROUNDING):
            raise BenchmarkError(f"{part}: the gradients of {name} and {other} differ, expected the same")
    return beside(part, name, partial(gradient, first, x), {o: partial(gradient, r, x) for o, r in others}, rounds)


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    one_core()
    blocks = layers(task)
    x = torch.randn(task.batch, task.channels, task.size, task.size)
    euler = {**by_hand(blocks), **ours(blocks, "euler", "direct", "checkpoint")}
    leapfrog = ours(blocks, "leapfrog", "direct", "checkpoint", "reversible")
    return [*rows_of("euler", euler, x, task.rounds), *rows_of("leapfrog", leapfrog, x, task.rounds)]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is claimed of each, and whether it holds."""
    return {
        f"{row.part}, {row.pair}: at most {BOUNDS[row.pair]} times direct, got {row.ratio:.3f}": row.ratio
        <= BOUNDS[row.pair]
        for row in rows
        if row.pair in BOUNDS
    }


BENCHMARK = PairedBenchmark(
    name="gradients",
    module="odenets.benchmarks.speed.gradients",
    description=__doc__,
    task=Task,
    defaults=Task(depth=32, channels=16, size=32, batch=16, rounds=11),
    help={"depth": "layers", "channels": "of the images", "size": "height and width", "batch": "images"},
    measure=measure,
    title=lambda task: f"Gradients of {task.depth} layers of two convolutions, beside direct backpropagation",
    claims=claims,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
