"""What a study takes on this machine, from a short measurement of each of its networks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ..data import augmentation
from ..data.dataset import Dataset
from . import training
from .config import RunConfig
from .report.tables import markdown
from .standing import evaluations, standing

#: Steps before the clock starts (memory is allocated, kernels are chosen), and steps that are timed.
WARM_UP, TIMED = 3, 20
HOUR = 3600.0


def measure(config: RunConfig, data: Dataset) -> tuple[float, float]:
    """Seconds of a training step, augmentation included, and of the test at the end of an epoch."""
    state = training.fresh(config, data)
    plan = augmentation.draw(data, augmentation.generator(config.seed, 0))
    whole = max(1, len(data.train_labels) // config.batch_size)
    started = 0.0
    for i in range(WARM_UP + TIMED):
        if i == WARM_UP:
            started = _now(state)
        state.step = 0
        start = i % whole * config.batch_size
        training.step(state, config, *augmentation.batch(data, plan, slice(start, start + config.batch_size)))
    tested = _now(state)
    few = replace(
        data,
        test_images=data.test_images[: training.EVALUATION_BATCH],
        test_labels=data.test_labels[: training.EVALUATION_BATCH],
    )
    training.test_error(state.model, config, few)
    share = len(data.test_labels) / len(few.test_labels)
    return (tested - started) / TIMED, (_now(state) - tested) * share


def _now(state: training.State) -> float:
    """The time when all steps so far are done: reading one of their numbers waits for the device."""
    state.losses.sum().item()
    return time.perf_counter()


HEADER = ["scheme", "depth", "evaluations", "images/s", "runs", "images", "images x evaluations", "hours", "to go"]


def table(configs: Sequence[RunConfig], data: Dataset, out: Path) -> str:
    """A line for each network and recipe, over its seeds, and their sum: hours of runs one after the other."""
    networks: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        networks.setdefault(replace(config, seed=0), []).append(config)
    rows, sums = [], [0.0] * 5
    for network, runs in tqdm(networks.items(), desc="measuring", leave=False):
        step, test = measure(network, data)
        numbers = work(runs, data, out, step, test)
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        evaluated = str(evaluations(runs)[runs[0]])
        rows.append(
            [network.label, str(network.depth), evaluated, f"{network.batch_size / step:.0f}", *_shown(numbers)]
        )
    return markdown(HEADER, [*rows, ["all", "", "", "", *_shown(sums)]])


def work(runs: Sequence[RunConfig], data: Dataset, out: Path, step: float, test: float) -> list[float]:
    """Of runs that differ in their seeds: how many, images, function evaluations of them, hours, hours to go.

    step, test: seconds of a training step and of the test after an epoch.
    """
    one = runs[0]
    images = one.epochs * len(data.train_labels) * len(runs)
    hours = one.epochs * (training.steps_per_epoch(one, data) * step + test) / HOUR
    left = sum(1 - standing(config, out).share for config in runs)
    return [len(runs), images, images * evaluations(runs)[one], hours * len(runs), hours * float(left)]


def _shown(numbers: Sequence[float]) -> list[str]:
    runs, images, evaluated, hours, left = numbers
    return [f"{runs:.0f}", f"{images:,.0f}", f"{evaluated:.2e}", f"{hours:.2f}", f"{left:.2f}"]
