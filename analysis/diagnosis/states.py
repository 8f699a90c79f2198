"""The states a batch really reaches before each step of each ODENet, found on a copy of the model."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from odenets import FieldError, ODENet
from odenets.gradients import Options, Runner
from odenets.passes import Pass
from odenets.step import State

DTYPES = (torch.float64, torch.float32)


@dataclass(frozen=True, eq=False)
class Visited:
    """One ODENet of the copy, and the states before its regular and starting steps.

    Attributes:
        net: the network, in evaluation mode.
        first: number of the first step that has a state; 1 where step 0 changes the shape.
        states: the solution u_n before each step from ``first`` on, shape (samples, ...).
        calls: how often the model called it; the states are those of the first call.
    """

    net: ODENet
    first: int
    states: tuple[Tensor, ...]
    calls: int


@dataclass(eq=False)
class _Recorder(Options, Runner):
    """A way to a gradient that has none: it takes the steps one by one and keeps the states."""

    first: int = 0
    states: list[Tensor] = field(default_factory=list)
    calls: int = 0
    noisy: bool = False

    def attach(self, net: ODENet) -> Runner:
        """Itself: one recorder for one network."""
        return self

    def integrate(self, run: Pass, first: int, state: State) -> State:
        """Step after step."""
        self.calls += 1
        self.noisy = self.noisy or any(len(noise) for noise in run.noises)
        if self.calls == 1:
            self.first = first
        for n in range(first, run.net.steps):
            if self.calls == 1:
                parts = state[: run.net.scheme.components]
                self.states.append((parts[0] if len(parts) == 1 else torch.cat(parts, 1)).detach().clone())
            state = run.step(n, state)
        return state


def visit(model: nn.Module, x: Tensor, dtype: torch.dtype | None) -> list[Visited]:
    """Run a copy of the model on x in evaluation mode and keep the states of all its ODENets.

    The copy is what leaves the model as it is, whatever happens: its parameters, buffers, flags and
    gradients are never touched. Putting the flags of the model itself back was rejected, since a
    cast to float64 needs a copy in any case.

    Raises:
        FieldError: no ODENet in the model, a dtype or an input that cannot be analysed, an ODENet
            that the model does not call or whose field is random in evaluation.
    """
    own = _copy(model, dtype)
    nets = [module for module in own.modules() if isinstance(module, ODENet)]
    if not nets:
        raise FieldError(
            f"diagnose: got a {type(model).__name__} without any ODENet, expected at least one; build the model with "
            "odenets.ODENet or odenets.models"
        )
    recorders = [_Recorder() for _ in nets]
    for net, recorder in zip(nets, recorders, strict=True):
        net.gradient = recorder
    # With gradients enabled, or ODENet would not use the recorder; no parameter of the copy wants any.
    with torch.enable_grad():
        given = x.detach().clone()  # not the tensor of an inference mode that the caller may be in
        own(given.to(dtype) if dtype is not None and x.is_floating_point() else given)
    for stage, recorder in enumerate(recorders):
        _check(stage, recorder)
    return [Visited(net, r.first, tuple(r.states), r.calls) for net, r in zip(nets, recorders, strict=True)]


def _copy(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The model in evaluation mode and in the dtype of the analysis, sharing nothing with the original."""
    if dtype is not None and dtype not in DTYPES:
        raise FieldError(f"dtype: got {dtype}, expected torch.float64, torch.float32, or None for the model's own")
    try:
        own = copy.deepcopy(model)
    except Exception as error:
        raise FieldError(
            f"diagnose: got a {type(model).__name__} that cannot be copied ({error}), expected one that "
            "copy.deepcopy takes: keep no tensor with a graph in its attributes"
        ) from error
    own = own.eval().requires_grad_(False)
    return own if dtype is None else own.to(dtype)


def _check(stage: int, recorder: _Recorder) -> None:
    if not recorder.calls:
        raise FieldError(f"stage {stage}: got an ODENet that the model does not call, expected each to be run once")
    if recorder.noisy:
        raise FieldError(
            f"stage {stage}: got a field that draws noise in evaluation, expected one whose evaluation is deterministic"
        )
    for state in recorder.states:
        if state.dtype not in DTYPES:
            raise FieldError(f"stage {stage}: got states of {state.dtype}, expected float64 or float32; leave dtype be")
        if not bool(state.isfinite().all()):
            raise FieldError(f"stage {stage}: got states that are NaN or infinite, expected finite ones; check x")


@contextmanager
def undisturbed(x: Tensor) -> Iterator[None]:
    """Without autocast and inference mode, and with torch's random numbers as they were afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    plain = torch.autocast(x.device.type, enabled=False)
    with torch.random.fork_rng(devices=devices), torch.inference_mode(False), plain:
        yield
