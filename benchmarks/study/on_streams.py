"""Several runs at once in one process, on one accelerator: they take turns, and each has a stream of its own.

A network of this size fills a small part of a GPU, so that the kernels of several runs can be at work side by side.
Processes would take turns on the device, each with a context of its own, and hold the data each once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from odenets import OdenetsError

from ..common.errors import ConfigError
from ..data.dataset import Dataset
from ..data.in_memory import InMemoryDataset
from . import captured, run_state
from .config import RunConfig
from .progress import Progress
from .runs import ENDS, Ended, Means, Told, one_run


class Lane:
    """What a run has for itself beside others in one process: a stream, random numbers, its step as graphs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: Any = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)
            self.stream.wait_stream(torch.cuda.current_stream(device))  # which has brought the data
        self.numbers = RandomNumbers(device)
        self.step: captured.DeviceStep | None = None

    @property
    def captured(self) -> bool:
        """Whether there is a graph to be replayed; on the CPU, always, as there never will be."""
        return self.stream is None or (self.step is not None and bool(self.step.run.graphs))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Inside, work is the run's: on its stream, and with its random numbers."""
        on_stream: AbstractContextManager[Any] = nullcontext()
        if self.stream is not None:
            on_stream = torch.cuda.stream(self.stream)
        with on_stream, self.numbers.own():
            yield

    def begin(self, state: run_state.State, config: RunConfig, data: Dataset) -> Callable[[], None]:
        """As :data:`training.Begin`."""
        if self.step is None:
            assert isinstance(data, InMemoryDataset)  # check() has seen to it
            self.step = captured.DeviceStep(state, config, data)
        self.step.begin_epoch()
        return self.step.take


class RandomNumbers:
    """torch's default generators, CPU's and the device's, where one run has left them and the others have not.

    On CUDA the default generator is given another state object, not another state: a graph draws from the object that
    was there when it was captured, and each of its replays moves that on.
    """

    def __init__(self, device: torch.device) -> None:
        self.cpu = torch.get_rng_state()
        self.default: Any = None
        if device.type == "cuda":
            self.default = torch.cuda.default_generators[torch.cuda.current_device()]
            self.cuda = self.default.clone_state()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Inside, torch draws the run's numbers; afterwards all is as before."""
        outside, others = torch.get_rng_state(), None
        torch.set_rng_state(self.cpu)
        if self.default is not None:
            others = self.default.graphsafe_get_state()
            self.default.graphsafe_set_state(self.cuda)
        try:
            yield
        finally:
            self.cpu = torch.get_rng_state()
            torch.set_rng_state(outside)
            if others is not None:
                self.default.graphsafe_set_state(others)


def check(configs: Sequence[RunConfig], data: Dataset) -> None:
    """ConfigError where runs cannot be trained at once: on the CPU, or steps that cannot be captured."""
    if not isinstance(data, InMemoryDataset):
        raise ConfigError(
            f"--at-once: got data of type {type(data).__name__}, which are read on the way, expected a set that lies "
            "in the memory of the device, such as cifar10; train it without --at-once"
        )
    if data.device.type == "cpu":
        raise ConfigError(
            "--at-once: got it on the CPU, where runs in one process only wait for one another, expected cuda; "
            "--jobs N trains N runs at a time there"
        )
    for config in configs:
        captured.check(config)


def on_streams(
    configs: Sequence[RunConfig], data: Dataset, out: Path, means: Means, progress: Progress, *, at_once: int
) -> Ended:
    """At most ``at_once`` of the runs side by side, each in its turn.

    A turn starts steps and does not wait for them, so that the runs are at work on the device together. It ends before
    the last step of an epoch: after that one its numbers are read, so the next turn begins with it, and the host then
    waits, tests and writes a checkpoint while the device has the steps of the others.
    """
    waiting, running = deque(configs), dict[RunConfig, tuple[Lane, Generator[Told, None, None]]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                config, lane = waiting.popleft(), Lane(data.device)
                running[config] = lane, one_run(config, data, out, means, lane.begin)
            for config, (lane, steps) in list(running.items()):
                error: OdenetsError | None = None
                try:
                    with lane.turn():
                        if take_turn(config, data, lane, steps, progress):
                            continue
                except ENDS as raised:
                    error = raised
                del running[config]
                yield config, error
    finally:
        for _, steps in running.values():
            steps.close()


def take_turn(config: RunConfig, data: Dataset, lane: Lane, steps: Iterator[Told], progress: Progress) -> bool:
    """Whether the run has steps left after its turn."""
    an_epoch = run_state.steps_per_epoch(config, data)
    for told in steps:
        progress.watch(config, *told)
        # One at a time before there is a graph: to capture it waits for all that the device has been given.
        if (told[0] + 1) % an_epoch == 0 or not lane.captured:
            return True
    return False
