"""A grid of runs: checked before it starts, finished runs skipped, progress over all of it."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import torch
from tqdm import tqdm

import odenets

from ..common.errors import ConfigError, DivergedError, LockedError
from ..common.files import exclusive, write_json
from ..data.dataset import Dataset
from . import result, run_checkpoint, training
from .config import RunConfig

WEIGHTS = "weights.pt"
#: Seconds between two updates of the progress bar: on a terminal, and in a log.
REFRESH = {True: 0.2, False: 30.0}


def combine(depths: Sequence[int], schemes: Sequence[str], seeds: Sequence[int]) -> list[tuple[int, str, int]]:
    """All (depth, scheme, seed), seeds slowest: an unfinished grid has whole seeds to compare.

    Raises:
        ConfigError: an option has the same value twice, which is a typing error.
    """
    for option, values in (("--depths", depths), ("--schemes", schemes), ("--seeds", seeds)):
        twice = sorted({str(value) for value in values if values.count(value) > 1})
        if twice:
            raise ConfigError(f"{option}: got {', '.join(twice)} more than once, expected each value once")
    return [(depth, scheme, seed) for seed, depth, scheme in itertools.product(seeds, depths, schemes)]


def step_costs(configs: Iterable[RunConfig], data: Dataset) -> dict[RunConfig, int]:
    """Function evaluations a step of each run, from its network built without memory.

    It is the estimate's unit (rk4 takes four times euler's time), and building every network
    first finds every depth and scheme that cannot be before anything is trained.

    Raises:
        FieldError, UnknownSchemeError, SchemeError: of the first network that cannot be.
    """
    with torch.device("meta"):
        return {config: odenets.count_evaluations(training.build_model(config, data)) for config in configs}


def steps_done(config: RunConfig, data: Dataset, out: Path) -> int:
    """Steps a run has behind it: all of a finished one, else those of its checkpoint.

    Raises:
        ResultError, CheckpointError: the run's file is damaged.
    """
    directory = out / config.name
    steps = training.steps_per_epoch(config, data)
    if (directory / result.NAME).exists():
        result.read(directory / result.NAME)
        return config.epochs * steps
    path = directory / run_checkpoint.NAME
    if not path.exists():
        return 0
    content = run_checkpoint.read(path, config, training.CONTENT)
    return int(content["epoch"] * steps + content["step"])


class Progress:
    """The bar over a grid, in function evaluations so that its estimate is one of time.

    What earlier processes have done counts as done but not towards the speed.
    """

    def __init__(self, configs: Sequence[RunConfig], data: Dataset, out: Path) -> None:
        self.costs = step_costs(configs, data)
        self.done = {config: steps_done(config, data, out) for config in configs}
        self.totals = {config: config.epochs * training.steps_per_epoch(config, data) for config in configs}
        self.bar = tqdm(
            total=sum(self.costs[config] * self.totals[config] for config in configs),
            initial=sum(self.costs[config] * self.done[config] for config in configs),
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {desc}{postfix}",
            mininterval=REFRESH[sys.stderr.isatty()],
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def watch(self, config: RunConfig, state: training.State) -> None:
        """Called after each step of a run."""
        if state.step == 0:
            self.bar.set_postfix_str(f"test error {state.history[-1]['test_error']:.2f} %", refresh=False)
        self.bar.set_description_str(
            f"{config.scheme}-{config.depth} seed {config.seed}, epoch {state.epoch}/{config.epochs}", refresh=False
        )
        self.advance(config, 1)

    def advance(self, config: RunConfig, steps: int) -> None:
        """Counts steps of a run as done."""
        self.done[config] += steps
        self.bar.update(self.costs[config] * steps)

    def leave(self, config: RunConfig) -> None:
        """Takes what is left of a run out of the estimate: it failed, or another process did it."""
        self.bar.total -= self.costs[config] * (self.totals[config] - self.done[config])
        self.done[config] = self.totals[config]
        self.bar.refresh()


def run_one(
    config: RunConfig, data: Dataset, out: Path, progress: Progress, *, command: str, checkpoint_every: int
) -> None:
    """Trains one run to its result.json, or finds that it has one.

    Raises:
        LockedError: another process has it. DivergedError: it cannot be trained.
    """
    directory = out / config.name
    with exclusive(directory):
        if not (directory / result.NAME).exists():
            state = training.train(
                config,
                data,
                directory,
                checkpoint_every=checkpoint_every,
                watch=lambda state: progress.watch(config, state),
            )
            run_checkpoint.write_tensors(directory / WEIGHTS, state.model.state_dict())
            # The last file: whoever sees it may rely on the weights beside it.
            write_json(directory / result.NAME, result.summarise(config, state, command))
        (directory / run_checkpoint.NAME).unlink(missing_ok=True)


def run_all(
    configs: Sequence[RunConfig], data: Dataset, out: Path, *, command: str, checkpoint_every: int = 0
) -> list[str]:
    """Trains every run that is not finished and returns the messages of those that failed.

    A run that diverges or is another process's does not stop the others: the rest of a night's
    grid is worth more than an early end.

    Raises:
        OdenetsError: before anything is trained or written, for networks or files that cannot be used.
    """
    failures = []
    with Progress(configs, data, out) as progress:
        for config in configs:
            try:
                run_one(config, data, out, progress, command=command, checkpoint_every=checkpoint_every)
            except (DivergedError, LockedError) as error:
                failures.append(f"{config.name}: {error}")
                progress.bar.write(f"error: {failures[-1]}", file=sys.stderr)
            progress.leave(config)
    return failures
