"""Training of one run: SGD as in Lu et al. (2018), resumable at any step to the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ..common.errors import CheckpointError, ConfigError
from ..common.files import Check, anyone
from ..data import augmentation
from ..data.dataset import Dataset
from . import run_checkpoint, run_state, schedule
from .config import RunConfig
from .distributed import by_first
from .epoch_end import check_finite, finish_epoch
from .network import update_average
from .run_state import State, steps_per_epoch

#: Called after every step; the state's history has grown when an epoch is over.
Watcher = Callable[[State], None]
#: Begins the epoch that a state is in; what it returns takes the next step of it at each call.
Begin = Callable[[State, RunConfig, Dataset], Callable[[], None]]


def train(config: RunConfig, data: Dataset, directory: Path, *, watch: Watcher | None = None, **options: Any) -> State:
    """Trains a run to its end, with the options of :func:`steps` and its errors; ``watch`` is called after each."""
    taken = steps(config, data, directory, **options)
    state = next(taken)
    for _ in taken:
        if watch is not None:
            watch(state)
    return state


def begin_epoch(state: State, config: RunConfig, data: Dataset) -> Callable[[], None]:
    """As :data:`Begin`: each step's batch is cut from the plan of the epoch by the host."""
    plan = data.draw(augmentation.generator(config.seed, state.epoch))

    def take() -> None:
        start = state.step * config.batch_size
        step(state, config, *data.batch(plan, slice(start, start + config.batch_size)))

    return take


def steps(
    config: RunConfig,
    data: Dataset,
    directory: Path,
    *,
    checkpoint_every: int = 0,
    state: State | None = None,
    compiled: bool = False,
    check: Check = anyone,
    begin: Begin = begin_epoch,
) -> Iterator[State]:
    """The state before a run's next step, and again after each: so that several runs can take turns.

    Trains a run to its end, from the checkpoint in ``directory`` if there is one, else from ``state`` or anew.

    A checkpoint is written before the first step, after every epoch, and within an epoch after
    every ``checkpoint_every`` steps if that is not 0; always after a check that it is worth
    keeping. The data decide the device. ``compiled`` runs the network through torch.compile, which
    changes its rounding and nothing else. ``check`` raises an error if this process may write no more.
    ``begin`` is how the steps of an epoch are taken.

    Raises:
        DivergedError: the loss or a weight is not finite; the last good checkpoint stays.
        CheckpointError: the checkpoint is damaged or another run's.
    """
    path = directory / run_checkpoint.NAME
    state = state or run_state.fresh(config, data)
    if compiled and state.spread is not None:
        # The sums over processes inside it are none of what is compiled, so it would be a graph for each layer.
        raise ConfigError("--compile: got it with several processes for one run, expected one process")

    def save() -> None:
        by_first(partial(run_checkpoint.save, path, config, run_state.snapshot(state), check))

    if by_first(path.exists):
        content = by_first(partial(run_checkpoint.read, path, config, run_state.content_of(config)))
        try:
            run_state.restore(state, content)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{path} does not fit this version's network ({str(error).splitlines()[0]}); delete it to start the "
                "run again"
            ) from error
    else:
        save()
    if compiled:
        # Not Module.compile: torch traces none of its own Sequential's code there, so each stage would be a graph
        # of its own, and their differences would use up the number of graphs that one function may have.
        state.model.forward = torch.compile(state.model.forward)  # type: ignore[method-assign]
    yield state
    while state.epoch < config.epochs:
        for _ in epoch_steps(state, config, data, save, checkpoint_every=checkpoint_every, begin=begin):
            yield state


def epoch_steps(
    state: State, config: RunConfig, data: Dataset, save: Callable[[], None], *, checkpoint_every: int, begin: Begin
) -> Iterator[None]:
    """The remaining steps of the current epoch, its evaluation and its checkpoint."""
    take = begin(state, config, data)
    started = time.perf_counter() - state.seconds
    total = steps_per_epoch(config, data)
    state.model.train()
    while state.step < total:
        take()
        if state.step == total:
            # After the losses are read, since a diverged run has no test error worth waiting for.
            check_finite(state)
            finish_epoch(state, config, data, started)
            save()
            yield
            return
        if checkpoint_every and state.step % checkpoint_every == 0:
            check_finite(state)
            state.seconds = time.perf_counter() - started
            save()
        yield


def step(state: State, config: RunConfig, images: Tensor, labels: Tensor) -> None:
    """One step of SGD. Nothing here waits for the device: losses and errors are gathered on it."""
    loss, wrong = update(state, config, images, labels)
    state.losses[state.step] = loss
    state.wrong += wrong
    advance(state, config)


def update(state: State, config: RunConfig, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What a step does on the device: all tensors of the state change but those that count; the loss and the errors."""
    with run_state.autocast(config, images.device):
        outputs = state.trained(images.contiguous(memory_format=run_state.memory_format(config)))
        loss = functional.cross_entropy(outputs, labels, label_smoothing=config.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    state.optimizer.step()
    if state.average is not None:
        update_average(state.average, state.model, first=state.epoch == state.step == 0)
    return loss.detach(), (outputs.detach().argmax(1) != labels).sum()


def advance(state: State, config: RunConfig) -> None:
    """What a step changes on the host."""
    if schedule.advances_each_step(config):
        state.scheduler.step()
    if state.average is not None:
        state.average.n_averaged += 1
    state.step += 1
