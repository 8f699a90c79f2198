"""What a study takes on this machine, from a short measurement of each of its networks, which is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ..common.markdown import padded
from ..data.dataset import Dataset
from . import costs, run_state
from .config import RunConfig
from .standing import evaluations, standing

HOUR = 3600.0
HEADER = (
    "scheme",
    "depth",
    "evaluations",
    "images/s",
    "peak MiB",
    "runs",
    "images",
    "images x evaluations",
    "hours",
    "to go",
)


def table(configs: Sequence[RunConfig], data: Dataset, out: Path) -> str:
    """A line for each network and recipe, over its seeds, and their sum: hours of runs one after the other."""
    networks: dict[RunConfig, list[RunConfig]] = {}
    for config in configs:
        networks.setdefault(replace(config, seed=0), []).append(config)
    rows, sums = [], [0.0] * 5
    for network, runs in tqdm(networks.items(), desc="measuring", leave=False):
        cost, test = costs.measured(network, data)
        # One by one: who stops a long measurement keeps what it has found.
        costs.keep(out, {costs.key(network): cost})
        numbers = work(runs, data, out, cost.seconds, test)
        sums = [total + number for total, number in zip(sums, numbers, strict=True)]
        speed, memory = f"{network.batch_size / cost.seconds:.0f}", f"{cost.peak_bytes / costs.MEBIBYTE:.0f}"
        rows.append(
            [network.label, str(network.depth), str(evaluations(runs)[runs[0]]), speed, memory, *_shown(numbers)]
        )
    return padded(HEADER, [*rows, ["all", "", "", "", "", *_shown(sums)]])


def work(runs: Sequence[RunConfig], data: Dataset, out: Path, step: float, test: float) -> list[float]:
    """Of runs that differ in their seeds: how many, images, function evaluations of them, hours, hours to go.

    step, test: seconds of a training step and of the test after an epoch.
    """
    one = runs[0]
    images = one.epochs * data.train_size * len(runs)
    hours = one.epochs * (run_state.steps_per_epoch(one, data) * step + test) / HOUR
    left = sum(1 - standing(config, out).share for config in runs)
    return [len(runs), images, images * evaluations(runs)[one], hours * len(runs), hours * float(left)]


def _shown(numbers: Sequence[float]) -> list[str]:
    runs, images, evaluated, hours, left = numbers
    return [f"{runs:.0f}", f"{images:,.0f}", f"{evaluated:.2e}", f"{hours:.2f}", f"{left:.2f}"]
