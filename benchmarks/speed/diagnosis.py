"""What a diagnosis costs, product by product: ``odenets bench diagnosis``.

Claim to be tested: a product J v, of which ARPACK asks for thousands, takes at most half of the time that it takes by
torch.func.jvp, which evaluates the layer again for each; and the diagnosis of a layer, with the searches and all that
is concluded, at most half of that of as many products by hand. J^T w is the same by hand, by a torch.func.vjp that is
kept: of it nothing is claimed. The layer is that of a ResNet for CIFAR-10, two 3 x 3 convolutions with BatchNorm and
ReLU before each; the products are of one state.

Processor time of one thread on one core, in samples of 20 ms and more, in pairs one after the other, the order
changing; beside it the products by hand against themselves (A/A). Both compute the same, or nothing is measured.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from odenets import ODENet
from odenets.analysis import diagnose
from odenets.analysis.networks.diagnosis.jacobian import MANY, Jacobian
from odenets.models.blocks import basic

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark, at_most
from ..common.pairs import Row, beside, one_core

Product = Callable[[Tensor], Tensor]
#: the largest ratio that is claimed, and of what nothing is
BOUND, TRANSPOSED = 0.5, "Jᵀ w"


@dataclass(frozen=True)
class Task:
    """What is measured: a layer of so many channels on images of so many pixels a side, and pairs of samples."""

    channels: int
    size: int
    rounds: int


def by_hand(f: nn.Module, u: Tensor) -> tuple[Product, Product]:
    """J v and J^T w of f at u."""
    pull = torch.func.vjp(f, u)[1]
    return lambda v: torch.func.jvp(f, (u,), (v,))[1], lambda w: pull(w)[0]


def ours(f: nn.Module, u: Tensor) -> tuple[Product, Product]:
    """The same by what a diagnosis uses, after as many products as make it cheap, from arrays to arrays."""
    jacobian = Jacobian(f, u, "layer 0")
    for _ in range(MANY):
        jacobian.apply(u.numpy().reshape(-1))
    return (
        lambda v: torch.from_numpy(jacobian.apply(v.numpy().reshape(-1))).view_as(u),
        lambda w: torch.from_numpy(jacobian.transpose(w.numpy().reshape(-1))).view_as(u),
    )


def products(f: nn.Module, u: Tensor, rounds: int) -> list[Row]:
    """One product of either kind.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    v, rows = torch.randn_like(u), list[Row]()
    for what, hand, mine in zip(("J v", TRANSPOSED), by_hand(f, u), ours(f, u), strict=True):
        part = f"{what}, {_name(u.dtype)}"
        if not torch.allclose(hand(v), mine(v), rtol=1e-4, atol=1e-4):
            raise BenchmarkError(f"{part}: the products differ, expected the same value")
        rows += beside(part, "by hand", partial(hand, v), {"odenets": partial(mine, v)}, rounds)
    return rows


def whole(f: nn.Module, u: Tensor, rounds: int) -> list[Row]:
    """The diagnosis of a network of the layer, beside as many products by hand as it has taken, half of each kind."""
    run = partial(diagnose, ODENet([f], "euler"), u, dtype=u.dtype, dense_limit=0, modified=False)
    (block,) = run().blocks
    count = 0 if block.spectrum is None else block.spectrum.products // 2
    push, pull = by_hand(f, u)

    def hand() -> None:
        for _ in range(count):
            push(u), pull(u)

    return beside(f"a layer, {_name(u.dtype)}", "its products by hand", hand, {"odenets": run}, rounds)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    one_core()
    torch.manual_seed(0)
    rows = list[Row]()
    for dtype in (torch.float64, torch.float32):
        f = basic(task.channels, task.channels, task.channels, 1).to(dtype).eval()
        u = torch.randn(1, task.channels, task.size, task.size, dtype=dtype)
        rows += products(f, u, task.rounds)
        rows += whole(f, u[..., : task.size // 4, : task.size // 4], min(task.rounds, 5))
    return rows


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is claimed of J v and of a layer, and whether it holds."""
    return at_most(BOUND, "products by hand")([row for row in rows if not row.part.startswith(TRANSPOSED)])


BENCHMARK = PairedBenchmark(
    name="diagnosis",
    module="odenets.benchmarks.speed.diagnosis",
    description=__doc__,
    task=Task,
    defaults=Task(channels=16, size=32, rounds=41),
    help={"channels": "of the layer", "size": "of the images, in pixels"},
    measure=measure,
    title=lambda task: f"Products of a layer of {task.channels} channels on {task.size} x {task.size} pixels",
    claims=claims,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
