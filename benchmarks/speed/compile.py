"""What torch.compile makes of a network beside the loop by hand: ``odenets bench compile``.

Claims to be tested: a network that is compiled as a whole takes at most 1.05 times the time of the compiled loop, and
torch.compile at most 1.1 times as long to trace it. And blocks that are compiled one by one, block.compile(), take no
more time to trace in a network four times as deep.

Traced means up to the graph of the backward pass, before code is generated (backend aot_eager). Processor time of one
thread on one core, in pairs one after the other, the order changing; beside it the loop against itself (A/A). Both
compute the same, or nothing is measured.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from odenets import ODENet

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark
from ..common.pairs import Row, beside, compare, one_core
from .overhead import HAND, ROUNDING, backward, forward, layers, perceptron

#: the largest ratio that is claimed of running, of tracing, and of tracing blocks in deeper networks
RUN, TRACE, BLOCKS = 1.05, 1.1, 1.1
SCHEMES = ("euler", "lm", "rk4")
Compiled = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """What is measured: networks of so many layers on so many samples, what runs them, pairs of samples of time."""

    depth: int
    batch: int
    backend: str
    rounds: int


class Loop(nn.Module):
    """The loop by hand over the layers of a network, as a module."""

    def __init__(self, net: ODENet, scheme: str) -> None:
        super().__init__()
        self.layers, self.scheme = nn.ModuleList(net.field.layers), scheme  # type: ignore[arg-type]
        self.ks = nn.ParameterList(net.coefficients.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """All steps."""
        return HAND[self.scheme](list(self.layers), list(self.ks))(x)


class Block(nn.Module):
    """A perceptron as a class of its own: torch leaves its own, as nn.Sequential, out of block.compile()."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = perceptron()

    def forward(self, x: Tensor) -> Tensor:
        """Its value."""
        return self.layers(x)


def pair(scheme: str, task: Task) -> tuple[nn.Module, nn.Module, Tensor]:
    """The loop, the network that it is of, and an input.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    net, x = layers(scheme, task.depth)[0], torch.randn(task.batch, 2)
    loop = Loop(net, scheme)
    if not torch.allclose(net(x), loop(x), rtol=ROUNDING, atol=ROUNDING):
        raise BenchmarkError(f"{scheme}: the network and the loop differ, expected the same value")
    return loop, net, x


def traced(module: nn.Module, x: Tensor) -> float:
    """Seconds that torch.compile takes to trace a module and its backward pass."""
    _fresh()
    start = time.process_time()
    backward(torch.compile(module, fullgraph=True, backend="aot_eager"), x)
    return time.process_time() - start


def traced_by_blocks(depth: int, x: Tensor) -> float:
    """The same of the blocks of a network, which share one graph; the steps are not traced."""
    blocks = [Block() for _ in range(depth)]
    for block in blocks:
        block.compile(backend="aot_eager", fullgraph=True)
    net = ODENet(blocks, "euler")
    _fresh()
    start = time.process_time()
    backward(net, x)
    return time.process_time() - start


def _fresh() -> None:
    """Have torch.compile know nothing, and what earlier traces left collected: that would count as time of this one."""
    torch._dynamo.reset()
    gc.collect()


def rows_of(scheme: str, task: Task) -> list[Row]:
    """Running and tracing of one scheme."""
    loop, net, x = pair(scheme, task)
    tracing = partial(traced, loop, x)
    found = [
        compare(f"{scheme}, tracing", "by hand (A/A)", (tracing, tracing), task.rounds),
        compare(f"{scheme}, tracing", "odenets", (tracing, partial(traced, net, x)), task.rounds),
    ]
    torch._dynamo.reset()
    hand, ours = (torch.compile(module, fullgraph=True, backend=task.backend) for module in (loop, net))
    once: Any
    for what, once in (("forward", forward), ("with backward", backward)):
        runs = {"odenets": partial(once, ours, x)}
        found += beside(f"{scheme}, {what}", "by hand", partial(once, hand, x), runs, task.rounds)
    return found


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    one_core()
    torch.manual_seed(0)
    shallow, deep = (partial(traced_by_blocks, depth, torch.randn(task.batch, 2)) for depth in (4, 16))
    blocks = compare("blocks, tracing", "16 layers against 4", (shallow, deep), task.rounds)
    return [blocks, *(row for scheme in SCHEMES for row in rows_of(scheme, task))]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is claimed of each, and whether it holds."""
    found = {}
    for row in rows:
        if "A/A" not in row.pair:
            bound = BLOCKS if row.part.startswith("blocks") else TRACE if "tracing" in row.part else RUN
            found[f"{row.part}: at most {bound}, got {row.ratio:.3f}"] = row.ratio <= bound
    return found


BENCHMARK = PairedBenchmark(
    name="compile",
    module="odenets.benchmarks.speed.compile",
    description=__doc__,
    task=Task,
    defaults=Task(depth=16, batch=64, backend="inductor", rounds=9),
    help={"depth": "layers", "batch": "samples", "backend": "of torch.compile, for what is run"},
    measure=measure,
    title=lambda task: f"torch.compile of {task.depth} layers of perceptrons on a state of {task.batch} x 2",
    claims=claims,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
