"""The learning rate over a run."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from .config import RunConfig

#: Part of a one-cycle run at which its learning rate is highest. Early, as in the short recipes for CIFAR-10 that this
#: one follows (about 0.2): most of the gain comes while the rate falls, and a warm-up needs a few epochs of 16.
PEAK = 0.25


def one_cycle(step: int, steps: int) -> float:
    """The factor of lr at a step, counted from 0: linear from 0 up to 1 at ``PEAK``, linear down to 0 at the end.

    It is 0 before the first step and after the last one, and at none of them: a step at 0 would be a step lost.
    torch's OneCycleLR cannot: it starts from lr/div_factor, and its first and last steps are at its ends.
    """
    part = (step + 1) / (steps + 1)
    return min(part / PEAK, (1 - part) / (1 - PEAK))


def advances_each_step(config: RunConfig) -> bool:
    """Whether the scheduler takes a step with every one of the optimizer, and not one an epoch."""
    return config.schedule == "one_cycle"


def scheduler(config: RunConfig, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """The scheduler of a run, before its first step."""
    if config.schedule == "one_cycle":
        steps = config.epochs * steps_per_epoch
        return LambdaLR(optimizer, lambda step: one_cycle(step, steps))
    # By epochs and not by steps, which would be the same: so it stands in the checkpoints of runs begun before.
    return MultiStepLR(optimizer, config.milestones, gamma=0.1)


def rates(config: RunConfig, steps_per_epoch: int) -> Tensor:
    """The learning rate at every step of a run, (epochs, steps an epoch) float64, as its scheduler sets it."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=config.lr)
    one, found = scheduler(config, optimizer, steps_per_epoch), []
    optimizer.step()  # which a scheduler wants to see before its own
    for _ in range(config.epochs):
        for _ in range(steps_per_epoch):
            found.append(optimizer.param_groups[0]["lr"])
            if advances_each_step(config):
                one.step()
        if not advances_each_step(config):
            one.step()
    return torch.tensor(found, dtype=torch.float64).view(config.epochs, steps_per_epoch)


def describe(config: RunConfig) -> str:
    """The schedule in words, for reports."""
    if config.schedule == "one_cycle":
        return f"lr linear from 0 up to {config.lr:g} over {PEAK:.0%} of the steps, linear down to 0 at the end"
    return f"lr divided by 10 after epochs {' and '.join(map(str, config.milestones))}"
