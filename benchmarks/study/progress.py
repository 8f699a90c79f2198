"""The bar over all runs of a study."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from ..data.dataset import Dataset
from . import run_state
from .config import RunConfig
from .distributed import first
from .standing import evaluations, standing

#: Seconds between two updates of the bar: on a terminal, and in a log.
REFRESH = {True: 0.2, False: 30.0}


class Progress:
    """The bar, in function evaluations so that its estimate is one of time.

    What earlier processes have done counts as done but not towards the speed.
    """

    def __init__(self, configs: Sequence[RunConfig], data: Dataset, out: Path) -> None:
        self.costs = evaluations(configs)
        self.totals = {config: config.epochs * run_state.steps_per_epoch(config, data) for config in configs}
        self.done = {config: int(standing(config, out).share * self.totals[config]) for config in configs}
        self.ended: set[RunConfig] = set()
        self.bar = tqdm(
            total=sum(self.costs[config] * self.totals[config] for config in configs),
            initial=sum(self.costs[config] * self.done[config] for config in configs),
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {desc}{postfix}",
            mininterval=REFRESH[sys.stderr.isatty()],
            disable=not first(),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()

    def watch(self, config: RunConfig, done: int, test_error: float | None) -> None:
        """Called after each step of a run, with all its steps so far; at the end of an epoch also with its error."""
        if test_error is not None:
            self.bar.set_postfix_str(f"test error {test_error:.2f} %", refresh=False)
        epoch = config.epochs * done // self.totals[config]
        self.bar.set_description_str(
            f"{len(self.ended)}/{len(self.totals)} runs, {config.label}-{config.depth} seed {config.seed}, "
            f"epoch {epoch}/{config.epochs}",
            refresh=False,
        )
        # By what is done in all, not step by step: a run taken over from a killed process begins before its end.
        self.bar.update(self.costs[config] * (done - self.done[config]))
        self.done[config] = done

    def leave(self, config: RunConfig) -> None:
        """Takes what is left of an ended run out of the estimate: it failed, or another process did it."""
        self.ended.add(config)
        self.bar.total -= self.costs[config] * (self.totals[config] - self.done[config])
        self.done[config] = self.totals[config]
        self.bar.refresh()

    def complain(self, message: str) -> None:
        """A line above the bar, of the first process alone: the others have the same to say."""
        if first():
            self.bar.write(f"error: {message}", file=sys.stderr)
