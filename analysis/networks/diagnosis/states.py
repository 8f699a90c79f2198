"""The states a batch really reaches before each step of each ODENet, found on a copy of the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from odenets import FieldError, ODENet, OdenetsError
from odenets.gradients import Gradient, Runner
from odenets.net.copies import copy_of
from odenets.net.networks_in_model import networks
from odenets.passes import Network, Pass
from odenets.passes.steps import run_steps
from odenets.program.step import State
from odenets.swap.chain import Chain

from .swapped_networks import Observed

DTYPES = (torch.float64, torch.float32)
#: What an input that does not fit raises in somebody's forward.
FAILURES = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)


@dataclass(frozen=True, eq=False)
class Visited:
    """One ODENet of the copy, and the states before its regular and starting steps.

    Attributes:
        net: the network, in evaluation mode.
        first: number of the first step that has a state; 1 where step 0 changes the shape.
        states: the solution u_n before each step from ``first`` on, shape (samples, ...).
        calls: how often the model called it; the states are those of the first call.
        given: rows of the state in the model's run, of which the first ones are kept, one for each sample.
    """

    net: ODENet
    first: int
    states: tuple[Tensor, ...]
    calls: int
    given: int


@dataclass(eq=False)
class _Recorder(Gradient, Runner):
    """A way to a gradient that has none: it takes the steps one by one and keeps the states."""

    first: int = 0
    states: list[Tensor] = field(default_factory=list)
    calls: int = 0
    noisy: bool = False

    def attach(self, net: Network) -> Runner:
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
            state = run_steps(run, n, state, n + 1)
        return state


def visit(model: nn.Module, x: Tensor, dtype: torch.dtype | None) -> list[Visited]:
    """Run a copy of the model on x in evaluation mode and keep the states of all its ODENets.

    The copy is what leaves the model as it is, whatever happens: its parameters, buffers, flags and
    gradients are never touched. Putting the flags of the model itself back was rejected, since a
    cast to float64 needs a copy in any case. Forward and backward hooks are dropped from it, since they
    are the caller's and would see the tensors of the analysis; forward pre-hooks stay: the weights of
    weight_norm, spectral_norm and pruning are made by them.

    Raises:
        FieldError: no ODENet in the model, a dtype or an input that cannot be analysed, a model that does
            not run on it, an ODENet that the model does not call or whose field is random in evaluation.
    """
    own = _copy(model, dtype)
    nets = networks(own)
    if not nets:
        raise FieldError(
            f"diagnose: got {type(model).__name__} without any ODENet, expected at least one; build the model with "
            "odenets.ODENet or odenets.models, or let odenets.swap_scheme(model, 'euler', example=x) find its blocks"
        )
    recorders = [_record(net) for net in nets]
    # With gradients enabled, or ODENet would not use the recorder; no parameter of the copy wants any.
    with torch.enable_grad():
        given = x.detach().clone()  # not the tensor of an inference mode that the caller may be in
        given = given.to(dtype) if dtype is not None and x.is_floating_point() else given
        _run(own, given)
        for stage, recorder in enumerate(recorders):
            _check(stage, recorder)
        for stage, recorder in enumerate(recorders):
            if isinstance(recorder, Observed):
                recorder.release(stage, [partial(_run, own, row.expand_as(given)) for row in given.split(1)])
    return [_visited(net, recorder, len(x)) for net, recorder in zip(nets, recorders, strict=True)]


def _record(net: ODENet) -> _Recorder | Observed:
    """What keeps the network's states; a chain of swapped blocks has no forward of its own that is run."""
    if isinstance(net, Chain):
        return Observed(net)
    net.gradient = recorder = _Recorder()
    return recorder


def _visited(net: ODENet, recorder: _Recorder | Observed, samples: int) -> Visited:
    given = max((len(state) for state in recorder.states), default=0)
    return Visited(net, recorder.first, tuple(state[:samples] for state in recorder.states), recorder.calls, given)


def _run(own: nn.Module, x: Tensor) -> None:
    try:
        own(x)
    except OdenetsError:
        raise
    except FAILURES as error:
        raise FieldError(
            f"diagnose: got a model that does not run on x of shape {tuple(x.shape)} in {x.dtype} "
            f"({type(error).__name__}: {(str(error).splitlines() or [''])[0]}), expected one that takes this batch "
            "alone; wrap a model of several arguments in a module of one, or pass dtype=None for one that casts"
        ) from error


def _copy(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """The model in evaluation mode and in the dtype of the analysis, sharing nothing with the original."""
    if dtype is not None and dtype not in DTYPES:
        raise FieldError(f"dtype: got {dtype}, expected torch.float64, torch.float32, or None for the model's own")
    if not isinstance(model, nn.Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise FieldError(f"diagnose: got {got}, expected a torch.nn.Module; build the model first")
    try:
        own = copy_of(model).eval().requires_grad_(False)
        own = own if dtype is None else own.to(dtype)
    except Exception as error:
        raise FieldError(
            f"diagnose: got {type(model).__name__} that cannot be copied ({error}), expected one that "
            "copy.deepcopy and Module.to take: keep no tensor with a graph in its attributes"
        ) from error
    for module in own.modules():
        for hooks in (module._forward_hooks, module._backward_hooks, module._backward_pre_hooks):
            hooks.clear()
    return own


def _check(stage: int, recorder: _Recorder | Observed) -> None:
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
            raise FieldError(
                f"stage {stage}: got states that are NaN or infinite, expected finite ones; check x and the weights"
            )


@contextmanager
def undisturbed(x: Tensor) -> Iterator[None]:
    """Without autocast, inference mode and fused attention, and with torch's random numbers as they were afterwards.

    Fused kernels of attention, and the fast path of nn.TransformerEncoderLayer, have no forward derivative.
    """
    kind = x.device.type
    fast = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        if kind in {"cpu", "cuda"}:
            devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
            stack.enter_context(torch.random.fork_rng(devices=devices))
        else:
            other = [] if kind == "mps" else [x.device.index or 0]  # torch.mps has no state for each device
            stack.enter_context(torch.random.fork_rng(devices=other, device_type=kind))
        stack.enter_context(torch.inference_mode(False))
        if torch.amp.is_autocast_available(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.callback(torch.backends.mha.set_fastpath_enabled, fast)
        torch.backends.mha.set_fastpath_enabled(False)
        yield


def check_device(device: torch.device, dtype: torch.dtype | None) -> None:
    """FieldError for float64 on a device that has none."""
    if device.type == "mps" and dtype == torch.float64:
        raise FieldError(
            f"dtype: got {dtype} on {device}, which has none; pass dtype=torch.float32, or move to the CPU"
        )
