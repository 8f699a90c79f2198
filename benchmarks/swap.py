"""Time of a swapped network beside its original: ``odenets bench swap``.

Claim to be tested: resnet18 of torchvision under LM, which has an operation more in each sum and carries a state from
one to the next, takes at most 1.05 times the time of the original, at 224 x 224 and batch 8. Under Euler's method its
forwards run as they are, and there is nothing to be measured. Processor time of one thread, in
one process, in pairs one after the other, the order changing; beside it the original against itself (A/A), which
says how much of a ratio is noise. glibc's heap keeps what it has got, or page faults would be in the time.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from odenets import swap_report, swap_scheme
from odenets.analysis.cli.shared_options import scheme_of

from .common.paired_command import PairedBenchmark, at_most
from .common.pairs import Row, compare
from .common.zoos import torchvision

BOUND = 1.05
#: what is measured, and whether with gradients
PARTS = {"forward, evaluation": False, "forward and backward, training": True}


@dataclass(frozen=True)
class Task:
    """The network and how it is measured; ``gradient`` is of the swapped one."""

    model: str
    size: int
    batch: int
    rounds: int
    scheme: str


def networks(task: Task) -> tuple[nn.Module, nn.Module, nn.Module, Tensor]:
    """The original, a copy of it, the swapped network, and images."""
    torch.manual_seed(0)
    model = getattr(torchvision().models, task.model)()
    images = torch.randn(task.batch, 3, task.size, task.size)
    swapped = swap_scheme(model, scheme_of(task.scheme), example=images[:1])
    print(swap_report(swapped), file=sys.stderr)
    return model, copy.deepcopy(model), swapped, images


def timed(model: nn.Module, images: Tensor, backward: bool) -> Callable[[], float]:
    """A function that runs the network once and returns the processor time that it took."""

    def run() -> float:
        model.zero_grad(set_to_none=True)
        start = time.process_time()
        with torch.set_grad_enabled(backward):
            output = model(images)
            if backward:
                output.square().mean().backward()
        return time.process_time() - start

    return run


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    torch.set_num_threads(1)
    original, again, swapped, images = networks(task)
    rows = []
    for part, backward in PARTS.items():
        for model in (original, again, swapped):
            model.train(backward)
        first = timed(original, images, backward)
        for pair, model in (("original (A/A)", again), (f"swapped, {task.scheme}", swapped)):
            rows.append(compare(part, pair, (first, timed(model, images, backward)), task.rounds))
    return rows


BENCHMARK = PairedBenchmark(
    name="swap",
    module="odenets.benchmarks.swap",
    description=__doc__,
    task=Task,
    defaults=Task(model="resnet18", size=224, batch=8, rounds=21, scheme="lm"),
    help={
        "model": "of torchvision.models",
        "size": "height and width of the images",
        "batch": "images",
        "scheme": "one of one evaluation a step costs about what the network does; or MODULE:NAME",
    },
    measure=measure,
    title=lambda task: f"{task.model} swapped to {task.scheme}, {task.size} x {task.size}, batch {task.batch}",
    claims=at_most(BOUND, "the original"),
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
