"""The runs of a study, one after the other or side by side: finished ones skipped, cut ones resumed.

The folder is all that processes share: a run belongs to who holds its lock, so any number of commands may work on one
study, and what a killed one leaves is taken up by the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch

from odenets import OdenetsError

from ..common import machine
from ..common.errors import DivergedError, LockedError, LostError
from ..common.files import Check, write_atomic, write_json
from ..common.lock import exclusive
from ..data.dataset import Dataset
from ..data.sources import load
from . import result, run_checkpoint, run_state, training
from .config import RunConfig
from .distributed import by_first, held_by_first
from .progress import Progress
from .standing import FAILURE

WEIGHTS = "weights.pt"
#: Of a run after a step: all its steps so far and, at the end of an epoch, the test error.
Told = tuple[int, "float | None"]
#: Told after every step of a run.
Watch = Callable[[int, "float | None"], None]


@dataclass(frozen=True)
class Means:
    """How runs are computed, which is no part of what they are.

    command: as it was given, to be kept with the results.
    threads: of the processor, for each run; None for torch's choice.
    checkpoint_every: steps between two checkpoints within an epoch; 0 for none there.
    compiled: whether networks are run through torch.compile.
    """

    command: str
    data_dir: Path = Path("data")
    device: str = "auto"
    threads: int | None = None
    checkpoint_every: int = 0
    compiled: bool = False

    def prepare(self, name: str) -> Dataset:
        """Sets torch up for this whole process, and loads the data to the device."""
        device = machine.choose_device(self.device)
        data = load(name, self.data_dir)
        machine.make_repeatable()
        if self.threads:
            torch.set_num_threads(self.threads)
        return data.to(device)


@dataclass
class Outcome:
    """Of all runs of a command: messages of those that failed, and the runs that other processes are at."""

    failures: list[str] = field(default_factory=list)
    elsewhere: list[RunConfig] = field(default_factory=list)


def run_one(config: RunConfig, data: Dataset, out: Path, means: Means, watch: Watch) -> None:
    """Trains one run to its result.json, or finds that it has one; errors as of :func:`one_run`."""
    with closing(one_run(config, data, out, means)) as steps:
        for told in steps:
            watch(*told)


def one_run(
    config: RunConfig, data: Dataset, out: Path, means: Means, begin: training.Begin = training.begin_epoch
) -> Generator[Told, None, None]:
    """Trains one run to its result.json, a step each time that it is asked for one, or finds that it has one.

    The run's folder is locked from the first step to the last, or until the generator is closed.

    Raises:
        LockedError: another process has it. LostError: another one has taken it over.
        DivergedError: it cannot be trained; the reason stays in its folder.
    """
    directory = out / config.name
    with held_by_first(partial(exclusive, directory)) as check:
        if not by_first((directory / result.NAME).exists):
            by_first(partial((directory / FAILURE).unlink, missing_ok=True))
            try:
                taken = training.steps(
                    config,
                    data,
                    directory,
                    checkpoint_every=means.checkpoint_every,
                    compiled=means.compiled,
                    check=check,
                    begin=begin,
                )
                state = next(taken)
                for _ in taken:
                    done = state.epoch * run_state.steps_per_epoch(config, data) + state.step
                    yield done, state.history[-1]["test_error"] if state.step == 0 else None
            except DivergedError as error:
                by_first(partial(write_atomic, directory / FAILURE, f"{error}\n".encode(), check))
                raise
            by_first(partial(finish, directory, config, state, means, check))
        by_first(partial((directory / run_checkpoint.NAME).unlink, missing_ok=True))


def finish(directory: Path, config: RunConfig, state: run_state.State, means: Means, check: Check) -> None:
    """Writes what a run leaves. Its result last: whoever sees it may rely on the weights beside it."""
    run_checkpoint.write_tensors(directory / WEIGHTS, state.tested.state_dict(), check)
    write_json(directory / result.NAME, result.summarise(config, state, means.command), check)


#: Errors that end a run and not the others.
ENDS = (DivergedError, LockedError, LostError)
#: The runs that have ended, each with None or with why it did not come to its end.
Ended = Iterator[tuple[RunConfig, "OdenetsError | None"]]


def in_turn(configs: Sequence[RunConfig], data: Dataset, out: Path, means: Means, progress: Progress) -> Ended:
    """The runs in this process, one after the other."""
    for config in configs:
        try:
            run_one(config, data, out, means, partial(progress.watch, config))
        except ENDS as error:
            yield config, error
        else:
            yield config, None


def run_all(
    configs: Sequence[RunConfig],
    data: Dataset,
    out: Path,
    means: Means,
    one_pass: Callable[..., Ended] = in_turn,
) -> Outcome:
    """Trains every run that is not finished.

    A run that fails or is another process's does not stop the others: the rest of a night's study is worth more than
    an early end. Those of others are looked at again after the rest, since a process that was killed leaves its run.

    Raises:
        OdenetsError: before anything is trained or written, for networks or files that cannot be used.
    """
    outcome = Outcome()
    left, again = list(configs), True
    with Progress(configs, data, out) as progress:
        while left and again:
            locked = []
            with closing(one_pass(left, data, out, means, progress)) as ended:
                for config, error in ended:
                    if isinstance(error, LockedError):
                        locked.append(config)
                        continue
                    if error is not None:
                        outcome.failures.append(f"{config.name}: {error}")
                        progress.complain(outcome.failures[-1])
                    progress.leave(config)
            left, again = locked, len(locked) < len(left)
    return replace(outcome, elsewhere=left)
