"""The end of an epoch: whether its numbers are finite, the test error, the record of it."""

from __future__ import annotations

import time
from itertools import islice

import torch
from torch import nn

from odenets import analysis
from odenets.net.networks_in_model import networks

from ..common.errors import DivergedError
from ..data.dataset import Dataset
from . import schedule
from .config import RunConfig
from .run_state import State, autocast, memory_format

#: Images a forward pass of the evaluation; it changes the speed only.
EVALUATION_BATCH = 500


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
