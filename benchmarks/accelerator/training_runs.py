"""Runs of a study: captured steps beside plain ones, and the speed of several runs at once."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from ..speed.training_step import cifar_like
from ..study import epoch_end, run_state, training
from ..study.config import RunConfig
from ..study.on_streams import Lane
from .findings import Found, difference, within

#: Schemes and ways to their gradients whose steps can be captured.
STEPS = (
    ("euler", "direct"),
    ("lm", "direct"),
    ("heun", "direct"),
    ("rk4", "direct"),
    ("momentum", "reversible"),
    ("rk4", "checkpoint"),
)
#: Largest relative difference of the losses of runs whose optimizers round differently.
TRAINED = 1e-2
AT_ONCE = (1, 2, 4, 8)


def run_of(scheme: str, gradient: str, batch: int, **recipe: Any) -> RunConfig:
    """A run on random images."""
    return RunConfig("cifar10", scheme=scheme, seed=0, batch_size=batch, gradient=gradient, lr=0.01, **recipe)


def graphs(device: torch.device) -> Found:
    """Of a study's captured steps: the losses of five epochs against those of the plain trainer.

    Four batches and a smaller one each; the last two epochs are replayed from their first step to their last.
    """
    batch = 16 if device.type == "cuda" else 2
    data, found = cifar_like(4 * batch + batch // 2).to(device), {}
    for name, mode in STEPS:
        config = run_of(name, mode, batch, depth=14, epochs=5, schedule="one_cycle", survival=0.9)
        expected, captured = (losses(config, data, plain=plain) for plain in (True, False))
        found[f"{name}, {mode}"] = difference([captured], [expected])
    return within(TRAINED, found)


def losses(config: RunConfig, data: Any, *, plain: bool) -> Tensor:
    """Of all steps of a run."""
    lane, found = Lane(data.device), []
    with lane.turn():
        state = run_state.fresh(config, data)
        for _ in range(config.epochs):
            take_steps(state, config, data, training.begin_epoch if plain else lane.begin)
            found.append(state.losses.cpu().clone())
            epoch_end.finish_epoch(state, config, data, time.perf_counter())
    return torch.cat(found)


def take_steps(state: run_state.State, config: RunConfig, data: Any, begin: training.Begin) -> None:
    """All steps of the state's epoch, started."""
    state.model.train()
    take = begin(state, config, data)
    for _ in range(run_state.steps_per_epoch(config, data)):
        take()


def speed(device: torch.device) -> Found:
    """Images a second of the plain step, and of so many captured runs at once, in all."""
    depth, batch, steps = (20, 128, 100) if device.type == "cuda" else (8, 4, 2)
    data, found = cifar_like(batch * steps).to(device), {}
    for name in ("euler", "lm"):
        config = run_of(name, "direct", batch, depth=depth, epochs=1, precision="bf16", channels_last=True)
        found[f"{name}, plain"] = images_per_second(config, data, 1, plain=True)
        for n in AT_ONCE:
            found[f"{name}, {n} at once"] = images_per_second(config, data, n, plain=False)
    return found


def images_per_second(config: RunConfig, data: Any, runs: int, *, plain: bool) -> float:
    """Of so many runs, each on a stream of its own, all at their second time through the data."""
    lanes = [Lane(data.device) for _ in range(runs)]
    states: list[run_state.State] = []
    for lane in lanes:
        with lane.turn():
            states.append(run_state.fresh(config, data))
    seconds = 0.0
    for _ in range(2):
        wait(data.device)
        started = time.perf_counter()
        for lane, state in zip(lanes, states, strict=True):
            with lane.turn():
                state.step = 0
                take_steps(state, config, data, training.begin_epoch if plain else lane.begin)
        wait(data.device)
        seconds = time.perf_counter() - started
    return runs * data.train_size / seconds


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
