"""Training of one run: SGD as in Lu et al. (2018), resumable at any step to the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from odenets import analysis
from odenets.net.networks_in_model import networks

from ..common.errors import CheckpointError, ConfigError, DivergedError
from ..common.files import Check, anyone
from ..data import augmentation
from ..data.dataset import Dataset
from . import run_checkpoint, schedule
from .config import RunConfig
from .distributed import by_first, spread
from .network import build_model, moving_average, sgd, update_average

#: Images a forward pass of the evaluation; it changes the speed only.
EVALUATION_BATCH = 500

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


#: Called after every step; the state's history has grown when an epoch is over.
Watcher = Callable[[State], None]
#: Begins the epoch that a state is in; what it returns takes the next step of it at each call.
Begin = Callable[[State, RunConfig, Dataset], Callable[[], None]]


def steps_per_epoch(config: RunConfig, data: Dataset) -> int:
    """Steps an epoch; the last one may have a smaller batch."""
    return -(-data.train_size // config.batch_size)


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


def memory_format(config: RunConfig) -> torch.memory_format:
    """Of images and weights."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


def autocast(config: RunConfig, device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where the run asks for it; bf16 needs no loss scaling."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")


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
    state = state or fresh(config, data)
    if compiled and state.spread is not None:
        # The sums over processes inside it are none of what is compiled, so it would be a graph for each layer.
        raise ConfigError("--compile: got it with several processes for one run, expected one process")

    def save() -> None:
        by_first(partial(run_checkpoint.save, path, config, snapshot(state), check))

    if by_first(path.exists):
        content = by_first(partial(run_checkpoint.read, path, config, content_of(config)))
        try:
            restore(state, content)
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
    with autocast(config, images.device):
        outputs = state.trained(images.contiguous(memory_format=memory_format(config)))
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


def finish_epoch(state: State, config: RunConfig, data: Dataset, started: float) -> None:
    """Records the epoch, errors in %, and makes the state that of the next epoch's start."""
    if not schedule.advances_each_step(config):
        state.scheduler.step()
    record = {
        "epoch": state.epoch + 1,
        "train_loss": float(state.losses.mean()),
        "train_error": 100.0 * int(state.wrong) / data.train_size,
        "test_error": test_error(state.tested, config, data),
    }
    seconds = time.perf_counter() - started
    # The values alone: which layer each belongs to is in the result's final records, once.
    plain = not networks(state.tested)
    found = [] if plain else analysis.learned_coefficients(state.tested)
    values = [coefficient.as_dict()["value"] for coefficient in found]
    state.history.append({**record, "seconds": seconds, "coefficients": values})
    state.epoch, state.step, state.seconds = state.epoch + 1, 0, 0.0
    state.losses.zero_()
    state.wrong.zero_()


@torch.inference_mode()
def test_error(model: nn.Module, config: RunConfig, data: Dataset, batches: int | None = None) -> float:  # noqa: PT028
    """Test images classified wrongly, in %; of the first batches alone where their number is given."""
    model.eval()
    seen, wrong = 0, torch.zeros((), dtype=torch.int64, device=data.device)
    with autocast(config, data.device):
        for images, labels in islice(data.test_batches(EVALUATION_BATCH), batches):
            outputs = model(images.contiguous(memory_format=memory_format(config)))
            wrong += (outputs.argmax(1) != labels).sum()
            seen += len(labels)
    return 100.0 * int(wrong) / seen


def check_finite(state: State) -> None:
    """Raises DivergedError at the first loss of the epoch that is not finite, else at a weight that is not.

    The weights too, because the last loss comes before the last update: without them the
    checkpoint written next could be one that no resumption recovers from.
    """
    losses = state.losses[: state.step].cpu()
    bad = (~losses.isfinite()).nonzero().flatten()
    where = f"epoch {state.epoch + 1}, step"
    advice = "the last good checkpoint is kept; use a smaller lr or another scheme"
    if len(bad):
        first = int(bad[0])
        raise DivergedError(
            f"the loss is {float(losses[first])} at {where} {first + 1} of {len(state.losses)}; {advice}"
        )
    tensors = [value for value in state.model.state_dict().values() if value.is_floating_point()]
    if not bool(torch.stack([value.isfinite().all() for value in tensors]).all()):
        raise DivergedError(f"weights are not finite after {where} {state.step} of {len(state.losses)}; {advice}")


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
