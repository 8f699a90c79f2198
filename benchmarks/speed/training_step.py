"""A training step of cifar_resnet beside one written by hand: ``odenets bench training_step``.

Claim to be tested: a step of the study's trainer (augmentation, forward, backward, SGD) takes at most 1.03 times the
time of the same step over a ResNet, or an LM-ResNet, as one writes it by hand, in fp32 and in bf16. Processor time of
one thread, in one process, in pairs one after the other, the order changing; beside it the hand-written step against
itself (A/A), which says how much of a ratio is noise. Both train from the same weights to the same losses, or
nothing is measured.

Besides: images a second of the study's step with one and with two processes at once.
"""

from __future__ import annotations

import copy
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..common.errors import BenchmarkError
from ..common.paired_command import PairedBenchmark, at_most
from ..common.pairs import Row, compare
from ..data import augmentation
from ..data.dataset import Dataset
from ..data.in_memory import InMemoryDataset
from ..study import run_state, training
from ..study.config import RunConfig

BOUND = 1.03
#: How far losses may drift apart in two steps, by the precision.
ROUNDING = {"fp32": 1e-5, "bf16": 1e-2}
SCHEMES, PRECISIONS = ("euler", "lm"), ("fp32", "bf16")
#: Steps before the clock starts, and steps that are timed, of the images a second.
WARM_UP, TIMED = 3, 20


@dataclass(frozen=True)
class Task:
    """What is measured: networks of one depth, pairs of samples of one step each."""

    depth: int
    batch: int
    rounds: int


class HandWritten(nn.Module):
    """cifar_resnet under euler or lm as one writes it: modules, and the update of Lu et al. (2018) in a loop."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        model = copy.deepcopy(model)
        self.stem, self.head, self.classifier = model.stem, model.head, model.classifier
        stages = [model.stage1, model.stage2, model.stage3]
        self.layers = nn.ModuleList(stage.field.layers for stage in stages)
        self.shortcuts = nn.ModuleList(stage.shortcut or nn.Identity() for stage in stages)
        self.ks = nn.ModuleList(nn.ParameterList(stage.coefficients.parameters()) for stage in stages)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) -> (B, classes)."""
        x = self.stem(x)
        for layers, shortcut, ks in zip(self.layers, self.shortcuts, self.ks, strict=True):
            before = shortcut(x)
            x = before + layers[0](x)
            if len(ks):
                for layer, k in zip(layers[1:], ks, strict=True):
                    before, x = x, torch.lerp(x, before, k) + layer(x)
            else:
                for layer in layers[1:]:
                    x = x + layer(x)
        return self.classifier(self.head(x))


#: Augmented images and labels.
Batch = tuple[Tensor, Tensor]


def hand_step(model: nn.Module, config: RunConfig) -> Callable[[Batch], Tensor]:
    """The training step by hand: every weight decayed but the k_n; returns the loss."""
    ks = set(model.ks.parameters()) if isinstance(model, HandWritten) else set()
    weights = [parameter for parameter in model.parameters() if parameter not in ks]
    groups = [{"params": weights, "weight_decay": config.weight_decay}, {"params": list(ks), "weight_decay": 0.0}]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], config.lr, config.momentum, foreach=True)
    layout = run_state.memory_format(config)

    def step(batch: Batch) -> Tensor:
        images, labels = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            loss = functional.cross_entropy(model(images.contiguous(memory_format=layout)), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def study_step(state: run_state.State, config: RunConfig) -> Callable[[Batch], Tensor]:
    """The study's training step; returns the loss."""

    def step(batch: Batch) -> Tensor:
        state.step = 0
        training.step(state, config, *batch)
        return state.losses[0].clone()

    return step


def cifar_like(batch: int) -> InMemoryDataset:
    """Random images of CIFAR's shape, one batch of them: what they show does not change the time."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 10, (batch,), generator=draw)
    return InMemoryDataset("cifar10", images, labels, images, labels, 10, crop_padding=4, flip=True)


def configuration(scheme: str, precision: str, task: Task) -> RunConfig:
    """The run that is measured; channels_last with bf16, as one would."""
    return RunConfig(
        "cifar10", task.depth, scheme, 0, 1, task.batch, precision=precision, channels_last=precision == "bf16"
    )


def check_equal(config: RunConfig, losses: list[list[float]]) -> None:
    """BenchmarkError unless the steps, by hand and the study's, have the same losses.

    The first, of equal weights, to the bit. The later ones to rounding: autograd adds the gradients of lm's two uses
    of a state in the order of the calls, which a loop by hand has otherwise.
    """
    hand, *others = losses
    for other in others:
        near = all(math.isclose(a, b, rel_tol=ROUNDING[config.precision]) for a, b in zip(hand, other, strict=True))
        if hand[0] != other[0] or not near:
            raise BenchmarkError(f"{config.label}, {config.precision}: losses differ, {losses}; expected equal ones")


def rows_of(config: RunConfig, data: Dataset, rounds: int) -> list[Row]:
    """The study's step and a second hand-written one, each against a hand-written one."""
    plan = data.draw(augmentation.generator(0, 0))
    state = run_state.fresh(config, data)
    layout = run_state.memory_format(config)
    first, again = (HandWritten(state.model).to(memory_format=layout) for _ in range(2))
    steps = [hand_step(first, config), hand_step(again, config), study_step(state, config)]
    whole = slice(0, config.batch_size)
    check_equal(config, [[float(step(data.batch(plan, whole))) for _ in range(3)] for step in steps])

    def timed(step: Callable[[Batch], Tensor]) -> Callable[[], float]:
        def run() -> float:
            start = time.process_time()
            step(data.batch(plan, whole))
            return time.process_time() - start

        return run

    part = f"{config.scheme}, {config.precision}{', channels_last' * config.channels_last}"
    pairs = (("by hand (A/A)", steps[1]), ("the study's step", steps[2]))
    return [compare(part, pair, (timed(steps[0]), timed(step)), rounds) for pair, step in pairs]


def measure(task: Task) -> list[Row]:
    """All rows, in this process."""
    torch.set_num_threads(1)
    data = cifar_like(task.batch)
    return [
        row
        for precision in PRECISIONS
        for scheme in SCHEMES
        for row in rows_of(configuration(scheme, precision, task), data, task.rounds)
    ]


# ---------------------------------------------------------------------------------- several at once


def images_per_second(config: RunConfig, data: Dataset, begin: Callable[[], object]) -> float:
    """Of the study's step, in wall time; ``begin`` is called when all is warm."""
    torch.set_num_threads(1)
    plan = data.draw(augmentation.generator(0, 0))
    step = study_step(run_state.fresh(config, data), config)
    started = 0.0
    for i in range(WARM_UP + TIMED):
        if i == WARM_UP:
            begin()
            started = time.perf_counter()
        step(data.batch(plan, slice(0, config.batch_size)))
    return TIMED * config.batch_size / (time.perf_counter() - started)


def at_once(config: RunConfig, jobs: int) -> list[float]:
    """Images a second of each of ``jobs`` processes that train at the same time."""
    processes = multiprocessing.get_context("spawn")
    with processes.Manager() as manager, processes.Pool(jobs) as pool:
        begin = manager.Barrier(jobs).wait
        work = [(config, cifar_like(config.batch_size), begin)] * jobs
        return pool.starmap(images_per_second, work, chunksize=1)


def speeds(task: Task) -> list[list[str]]:
    """A row for each network, with one and with two runs at once."""
    rows = [["scheme", "precision", "one run, images/s", "two at once, images/s each", "in all"]]
    for precision in PRECISIONS:
        for scheme in SCHEMES:
            config = configuration(scheme, precision, task)
            (alone,), both = at_once(config, 1), at_once(config, 2)
            rows.append([scheme, precision, f"{alone:.0f}", ", ".join(f"{x:.0f}" for x in both), f"{sum(both):.0f}"])
    return rows


BENCHMARK = PairedBenchmark(
    name="training_step",
    module="odenets.benchmarks.speed.training_step",
    description=__doc__,
    task=Task,
    defaults=Task(depth=20, batch=128, rounds=41),
    help={"depth": "of cifar_resnet", "batch": "images a step"},
    measure=measure,
    title=lambda task: f"A training step of cifar_resnet({task.depth}), batch {task.batch}, beside one written by hand",
    claims=at_most(BOUND, "the hand-written step"),
    more=lambda task: {"Several runs at once": speeds(task)},
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
