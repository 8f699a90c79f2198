"""The state of a run in training: how it begins, and what a checkpoint holds of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..data.dataset import Dataset
from . import schedule
from .config import RunConfig
from .distributed import spread
from .network import build_model, moving_average, sgd

CONTENT = frozenset(
    ("model", "optimizer", "scheduler", "losses", "wrong", "epoch", "step", "seconds", "history", "rng", "cuda_rng")
)
#: Besides, of a run that averages its weights.
AVERAGE = "average"


@dataclass
class State:
    """What a step changes, which is what a checkpoint holds.

    losses: (steps an epoch,) on the device, of the current epoch so far.
    wrong: () on the device, misclassified training images of the current epoch so far.
    epoch, step: finished epochs, and finished steps of the current one.
    seconds: spent in the current epoch so far.
    history: per finished epoch what result.json tells of it.
    average: the moving average of the model, where the run has one.
    spread: the model on several processes, where there are several.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    losses: Tensor
    wrong: Tensor
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    average: AveragedModel | None = None
    spread: nn.Module | None = None

    @property
    def trained(self) -> nn.Module:
        """What a step evaluates to get gradients of the model."""
        return self.spread or self.model

    @property
    def tested(self) -> nn.Module:
        """The network whose errors are told and whose weights are kept."""
        return self.model if self.average is None else self.average.module


def fresh(config: RunConfig, data: Dataset) -> State:
    """The state before the first step. The weights are drawn on the CPU: the same on every device."""
    torch.manual_seed(config.seed)
    return begin(build_model(config, data), config, data)


def begin(model: nn.Module, config: RunConfig, data: Dataset) -> State:
    """The state before the first step of any network; it is moved to the device of the data."""
    model = model.to(data.device, memory_format=memory_format(config))
    optimizer, together = sgd(model, config), spread(model)
    return State(
        model=model,
        optimizer=optimizer,
        scheduler=schedule.scheduler(config, optimizer, steps_per_epoch(config, data)),
        losses=torch.zeros(steps_per_epoch(config, data), device=data.device),
        wrong=torch.zeros((), dtype=torch.int64, device=data.device),
        average=moving_average(config, model),
        spread=together,
    )


def content_of(config: RunConfig) -> frozenset[str]:
    """Names of what a checkpoint of this run holds."""
    return CONTENT | {AVERAGE} if config.ema else CONTENT


def snapshot(state: State) -> dict[str, Any]:
    """The state as a checkpoint holds it."""
    cuda = state.losses.device.type == "cuda"
    average = {} if state.average is None else {AVERAGE: state.average.state_dict()}
    return {
        **average,
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "scheduler": state.scheduler.state_dict(),
        "losses": state.losses,
        "wrong": state.wrong,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.seconds,
        "history": state.history,
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state(state.losses.device) if cuda else None,
    }


def restore(state: State, content: dict[str, Any]) -> None:
    """Makes a fresh state that of the checkpoint."""
    for part in ("model", "optimizer", "scheduler", *([] if state.average is None else [AVERAGE])):
        getattr(state, part).load_state_dict(content[part])
    for part in ("losses", "wrong"):
        getattr(state, part).copy_(content[part])
    for part in ("epoch", "step", "seconds", "history"):
        setattr(state, part, content[part])
    torch.set_rng_state(content["rng"])
    if state.losses.device.type == "cuda" and content["cuda_rng"] is not None:
        torch.cuda.set_rng_state(content["cuda_rng"], state.losses.device)


def steps_per_epoch(config: RunConfig, data: Dataset) -> int:
    """Steps an epoch; the last one may have a smaller batch."""
    return -(-data.train_size // config.batch_size)


def memory_format(config: RunConfig) -> torch.memory_format:
    """Of images and weights."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where the run asks for it; bf16 needs no loss scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
