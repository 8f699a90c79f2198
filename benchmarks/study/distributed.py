"""One run on several processes, as torchrun starts them: each takes its part of every batch.

A step reads as with one process. Every process draws the same global batch; the network takes its part of the images
and gives the outputs for all of them. So the loss, the count of errors and what is drawn at random are the same
everywhere, and equal parts are not asked for. To share the drawing as well was rejected: of images in memory it is a
small part of a step, and every kind of data would have to know of parts.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from odenets import OdenetsError

from ..common.errors import ConfigError
from ..common.files import Check, anyone

Value = TypeVar("Value")
#: Bytes, as MiB, of what is summed in one message: a parameter each. DistributedDataParallel lays a bucket of several
#: out anew after the first step of a process, and with it the order of a sum over three or more: a run that was cut
#: would end with other last bits.
ONE_PARAMETER = 2**-20


def launched() -> int:
    """How many processes torchrun, or another program that sets its variables, has started for this command."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined(device: str) -> Iterator[None]:
    """The processes that were launched as one group, on "cpu", "cuda" or "auto"; nothing for a process alone.

    Raises:
        ConfigError: more processes than CUDA devices on this machine.
    """
    if launched() == 1:
        yield
        return
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        own, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= there:
            raise ConfigError(f"got process {own + 1} on a machine of {there} CUDA devices, expected a device for each")
        torch.cuda.set_device(own)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def processes() -> int:
    """How many processes train a run together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def first() -> bool:
    """Whether this process is the one that locks, reads, writes and reports."""
    return processes() == 1 or distributed.get_rank() == 0


def by_first(action: Callable[[], Value]) -> Value:
    """What an action returns in the first process, or the error it ends with, in every process."""
    if processes() == 1:
        return action()
    told: list[Any] = [None]
    if first():
        try:
            told = [(action(), None)]
        except (OdenetsError, OSError) as error:
            told = [(None, error)]
    distributed.broadcast_object_list(told)
    value, error = told[0]
    if error is not None:
        raise error
    return value


@contextmanager
def held_by_first(lock: Callable[[], AbstractContextManager[Check]]) -> Iterator[Check]:
    """A lock that the first process holds for all, and its check, which only there can fail."""
    with ExitStack() as stack:
        checks: list[Check] = []
        by_first(lambda: checks.append(stack.enter_context(lock())))
        yield checks[0] if checks else anyone


def spread(model: nn.Module) -> nn.Module | None:
    """Makes a network one that all processes evaluate together; returns what a step of training is to call.

    None for a process alone. Names and parameters stay as they are.
    """
    if processes() == 1:
        return None
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            # As torch.nn.LazyModule becomes what it is: everything that refers to the module still does.
            module.__class__ = GlobalBatchNorm
    model.register_forward_pre_hook(_take_part)
    model.register_forward_hook(_gather)
    # The buffers are equal already: every process computes those of the global batch.
    known = inspect.signature(DistributedDataParallel).parameters
    buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.13
    return DistributedDataParallel(model, bucket_cap_mb=ONE_PARAMETER, **{buffers: False})


def part(count: int) -> slice:
    """The part of a batch that is this process's: consecutive, sizes different by one at most."""
    rank, size = distributed.get_rank(), distributed.get_world_size()
    return slice(rank * count // size, (rank + 1) * count // size)


def _take_part(model: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    (images,) = inputs
    model.batch = len(images)
    return (images[part(len(images))],)


def _gather(model: nn.Module, inputs: tuple[Tensor], outputs: Tensor) -> Tensor:
    return gather(outputs, part(model.batch), model.batch)


def gather(rows: Tensor, own: slice, count: int) -> Tensor:
    """The rows of all processes, (count, ...), where those of this one are ``own``; differentiable.

    The gradient is that of the sum of the losses of all processes, of which each has the same one. So it is N times
    that of the loss, and DistributedDataParallel, which divides by N, gives that of the loss itself.
    """
    padded = rows.new_zeros(count, *rows.shape[1:])
    padded[own] = rows
    return Sum.apply(padded)


class Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; each process's gradient is the sum of the gradients of all.

    torch.distributed.nn has it too, and deprecates it for a module whose name says that it is private.
    """

    @staticmethod
    def forward(tensor: Tensor) -> Tensor:
        """The sum."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum of the gradients."""
        return Sum.apply(gradient.contiguous())


class GlobalBatchNorm(nn.BatchNorm2d):
    """BatchNorm whose statistics in training are those of the global batch.

    torch.nn.SyncBatchNorm does the same, but not on the CPU. This one runs everywhere, so that what is tested is what
    runs. Each process adds a row of count, mean and sum of squared deviations; rows are combined as Chan, Golub and
    LeVeque (1979) do, without the cancellation of a sum of squares. All of it is differentiated by autograd.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(x - mean) / sqrt(var + eps) * weight + bias, over all images (B, C, H, W) of all processes."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        values = x.to(self.running_mean.dtype)
        mean, var, count = global_moments(values)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        scale = torch.rsqrt(var + self.eps) * self.weight
        y = (values - _channels(mean)) * _channels(scale) + _channels(self.bias)
        return y.to(x.dtype)


def global_moments(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (C,) of the channels of all processes' images (B, C, H, W), and values a channel ()."""
    size = values.numel() // values.shape[1]
    mean = values.sum((0, 2, 3)) / max(size, 1)
    squares = (values - _channels(mean)).square().sum((0, 2, 3))
    rank, count = distributed.get_rank(), distributed.get_world_size()
    row = torch.stack([torch.full_like(mean, size), mean, squares])[None]
    sizes, means, squares = gather(row, slice(rank, rank + 1), count).unbind(1)
    total = sizes.sum(0)
    mean = (sizes * means).sum(0) / total
    var = (squares + sizes * (means - mean).square()).sum(0) / total
    return mean, var, total[0].detach()


def _channels(values: Tensor) -> Tensor:
    return values[:, None, None]
