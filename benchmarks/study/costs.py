"""What a training step of a network costs: its seconds and its peak memory, measured, and kept in costs.json."""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..common import machine
from ..common.errors import ResultError
from ..common.files import write_json
from ..common.peak_memory import peak_bytes
from ..common.processes import RETURNED, answer
from ..data import augmentation
from ..data.dataset import Dataset
from ..data.in_memory import InMemoryDataset
from . import epoch_end, run_state, training
from .config import RunConfig

NAME = "costs.json"
#: Steps before the clock starts (memory is allocated, kernels are chosen), and steps that are timed.
WARM_UP, TIMED = 3, 20
MEBIBYTE = 2**20
#: Augmented images and labels.
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Cost:
    """Of a training step, augmentation included.

    seconds, quartiles: median, lower and upper quartile of ``TIMED`` steps.
    peak_bytes: what two steps take at most beyond the weights.
    """

    seconds: float
    quartiles: tuple[float, float]
    peak_bytes: int
    hardware: Mapping[str, Any]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        low, high = self.quartiles
        times = [low, self.seconds, high]
        if not all(type(x) in (int, float) and 0 < x < math.inf for x in times) or sorted(times) != times:
            raise ValueError(f"got seconds {self.seconds!r} and quartiles {self.quartiles!r}, expected times in order")
        if type(self.peak_bytes) is not int or self.peak_bytes < 1:
            raise ValueError(f"got peak_bytes {self.peak_bytes!r}, expected a number of bytes")
        if not isinstance(self.hardware, dict) or not isinstance(self.versions, dict):
            raise TypeError("got hardware or versions that are no mappings")


def key(config: RunConfig) -> str:
    """What a network's cost is kept under: the hash of its run with seed 0."""
    return replace(config, seed=0).hash


def read(out: Path) -> dict[str, Cost]:
    """The costs that stand in a study's folder, by key; none without the file.

    Raises:
        ResultError: the file is damaged.
    """
    path = out / NAME
    if not path.exists():
        return {}
    try:
        found = {name: Cost(**values) for name, values in json.loads(path.read_bytes()).items()}
        return {name: replace(cost, quartiles=tuple(map(float, cost.quartiles))) for name, cost in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ResultError(f"{path} does not hold costs ({error}); delete it and run `odenets study plan`") from error


def keep(out: Path, costs: Mapping[str, Cost]) -> None:
    """Writes the costs to a study's folder, beside those of other networks that are there."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / NAME, {name: asdict(cost) for name, cost in sorted({**read(out), **costs}.items())})


# ----------------------------------------------------------------------------------------- time


def step_times(config: RunConfig, data: Dataset) -> tuple[list[float], float]:
    """Seconds of each timed training step, and of the test at the end of an epoch."""
    state = run_state.fresh(config, data)
    plan = data.draw(augmentation.generator(config.seed, 0))
    whole = max(1, data.train_size // config.batch_size)
    seconds = []
    for i in range(WARM_UP + TIMED):
        started = time.perf_counter()
        state.step = 0
        start = i % whole * config.batch_size
        training.step(state, config, *data.batch(plan, slice(start, start + config.batch_size)))
        wait(state)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    epoch_end.test_error(state.model, config, data, batches=1)
    share = max(1.0, data.test_size / epoch_end.EVALUATION_BATCH)
    return seconds[WARM_UP:], (time.perf_counter() - started) * share


def wait(state: run_state.State) -> None:
    """Returns when all steps so far are done: reading one of their numbers waits for the device."""
    state.losses.sum().item()


# --------------------------------------------------------------------------------------- memory


def step_memory(config: RunConfig, data: Dataset) -> int:
    """Bytes that two training steps take at most beyond the weights: the second has the optimizer's own memory."""
    images, _ = batch = one_batch(config, data)
    if data.device.type == "cuda":
        return two_steps_on_cuda(config, data, batch)
    what = {"config": config.to_dict(), "shape": [*images.shape], "classes": data.num_classes}
    return int(answer("odenets.benchmarks.study.costs", [json.dumps(what)], RETURNED))


def one_batch(config: RunConfig, data: Dataset) -> Batch:
    """The first training images and labels."""
    return data.batch(data.draw(augmentation.generator(config.seed, 0)), slice(0, config.batch_size))


def two_steps_on_cuda(config: RunConfig, data: Dataset, batch: Batch) -> int:
    """Of torch's allocator; kernels and their handles are not in it."""
    state = run_state.fresh(config, data)
    before = torch.cuda.memory_allocated(data.device)
    torch.cuda.reset_peak_memory_stats(data.device)
    two_steps(state, config, batch)
    return torch.cuda.max_memory_allocated(data.device) - before


def two_steps(state: run_state.State, config: RunConfig, batch: Batch) -> None:
    """Two training steps, to their end."""
    for _ in range(2):
        state.step = 0
        training.step(state, config, *batch)
    wait(state)


def main(argv: list[str]) -> int:
    """In a process of its own: the memory of what the argument says, printed."""
    what = json.loads(argv[0])
    config = RunConfig.from_dict(what["config"])
    torch.set_num_threads(1)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, what["shape"], dtype=torch.uint8, generator=random)
    labels = torch.randint(0, what["classes"], images.shape[:1], generator=random)
    data = InMemoryDataset(config.data, images, labels, images, labels, what["classes"], 0, False)
    images, labels = one_batch(config, data)
    # Kernels are loaded and compiled by a small batch first: they are no part of a step.
    two_steps(run_state.fresh(config, data), config, (images[:2], labels[:2]))
    state = run_state.fresh(config, data)
    print(peak_bytes(lambda: two_steps(state, config, (images, labels)))[0])
    return 0


def measured(config: RunConfig, data: Dataset) -> tuple[Cost, float]:
    """The cost of a network, and the seconds of the test after an epoch."""
    seconds, test = step_times(config, data)
    low, middle, high = statistics.quantiles(seconds, n=4)
    memory = step_memory(config, data)
    return Cost(middle, (low, high), memory, machine.hardware(data.device), machine.versions()), test


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
