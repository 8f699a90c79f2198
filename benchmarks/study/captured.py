"""The training step of a run as a function of tensors on its device alone, and as CUDA graphs of it.

A small network leaves an accelerator waiting for Python, which starts some thousand kernels a step one by one. A graph
(torch.cuda.graph) starts them all at once, and again for the next step, since all that differs between two steps is
read on the device: which images, how they are cropped, the learning rate. The host only counts along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..common.errors import ConfigError
from ..data import augmentation
from ..data.in_memory import InMemoryDataset
from . import run_state, schedule, training
from .config import RunConfig
from .network import scheme_of

#: Steps of each batch size that are taken as they are before one is captured. They are steps of the run like any
#: other. After them kernels are chosen, workspaces and momenta allocated, and modules have been seen at work.
WARM_UP = 3


def check(config: RunConfig) -> None:
    """ConfigError for a run whose step waits for the device, which no graph can hold."""
    scheme, reason = scheme_of(config), None
    if not scheme.explicit:
        reason = "the solver of its implicit stages asks the device after each iteration whether it has converged"
    elif config.gradient == "reversible" and scheme.V.free_symbols:
        reason = "gradient='reversible' reads the coefficients at each step to place its anchors by them"
    if reason is not None:
        raise ConfigError(
            f"{config.label}: got a run whose steps cannot be captured in a CUDA graph, since {reason}; train it "
            "without --at-once" + ("" if not scheme.explicit else ", or with gradient 'checkpoint'")
        )


class DeviceStep:
    """The step of one run: :meth:`body` on the device, :meth:`take` with what the host counts.

    What differs from step to step are tensors that stay where they are: the plan of the epoch and its learning rates,
    copied once an epoch, and the number of the step, which each step raises itself.

    Args:
        state: before the first step that is to be taken.
        config: of the run.
        data: on the device of the state.
        fused: whether SGD is torch's fused one, for which alone the learning rate may stay on a GPU; by default there.
            On the CPU the trainer's own, foreach, has the trainer's bits.
    """

    def __init__(
        self, state: run_state.State, config: RunConfig, data: InMemoryDataset, *, fused: bool | None = None
    ) -> None:
        device, steps = data.device, run_state.steps_per_epoch(config, data)
        self.state, self.config, self.data = state, config, data
        self.fused = device.type == "cuda" if fused is None else fused
        self.number = torch.zeros(1, dtype=torch.int64, device=device)
        self.numbers, self.places = torch.arange(steps, device=device), torch.arange(config.batch_size, device=device)
        self.rates_of_run = schedule.rates(config, steps)
        self.rates, self.rate = torch.zeros(steps, device=device), torch.zeros((), device=device)
        self.plan = data.draw(augmentation.generator(config.seed, state.epoch))
        self.run = Graphs(self.body, device)

    def begin_epoch(self) -> None:
        """Copies what the steps of the state's epoch read, in place of the last one's."""
        plan = self.data.draw(augmentation.generator(self.config.seed, self.state.epoch))
        for kept, new in zip(self.plan, plan, strict=True):
            kept.copy_(new)
        self.rates.copy_(self.rates_of_run[self.state.epoch])
        self.number.fill_(self.state.step)

    def body(self, size: int) -> None:
        """A step on the next ``size`` images: reads nothing of the host that changes, and tells it nothing."""
        state = self.state
        # By index_select: a tensor of one element in brackets would be read by the host to be an index.
        self.rate.copy_(self.rates.index_select(0, self.number).squeeze())
        chosen = self.number * self.config.batch_size + self.places[:size]
        images, labels = self.data.batch(self.plan, chosen)
        with rate_on_device(state.optimizer, self.rate, fused=self.fused):
            loss, wrong = training.update(state, self.config, images, labels)
        state.losses.copy_(torch.where(self.numbers == self.number, loss, state.losses))
        state.wrong.add_(wrong)
        self.number.add_(1)

    def take(self) -> None:
        """The next step of the epoch."""
        size = self.config.batch_size
        self.run(min(size, self.data.train_size - self.state.step * size))
        training.advance(self.state, self.config)


@contextmanager
def rate_on_device(optimizer: torch.optim.Optimizer, rate: Tensor, *, fused: bool) -> Iterator[None]:
    """An optimizer that reads its learning rate from a tensor; afterwards it is as before, and so in checkpoints."""
    chosen = {"foreach": False, "fused": True} if fused else {}
    changed = {"lr": rate, **chosen}
    before = [{name: group[name] for name in changed} for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group.update(changed)
    try:
        yield
    finally:
        for group, values in zip(optimizer.param_groups, before, strict=True):
            group.update(values)


class Graphs:
    """A step, by batch size: as it is where there is no CUDA and in its first ``WARM_UP`` calls, then as a CUDA graph.

    To be called on a stream other than the default one, the same at each call: on the default one nothing can be
    captured, and a warm-up on another would leave workspaces there. Each graph has memory of its own, since what a
    step leaves between two of them (the gradients, dropped at its start) must not be overwritten by another's.
    """

    def __init__(self, body: Callable[[int], None], device: torch.device) -> None:
        self.body, self.on_cuda = body, device.type == "cuda"
        self.calls: Counter[int] = Counter()
        self.graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def __call__(self, size: int) -> None:
        """Start a step of that batch size; on CUDA this does not wait for its end."""
        self.calls[size] += 1
        if not self.on_cuda or self.calls[size] <= WARM_UP:
            self.body(size)
            return
        if size not in self.graphs:
            self.graphs[size] = self._captured(size)
        self.graphs[size].replay()

    def _captured(self, size: int) -> torch.cuda.CUDAGraph:
        """The graph of a step. Capturing takes no step; it waits for the whole device first."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            self.body(size)
        return graph
