"""The continuous adjoint: the gradient of the differential equation, not of the network that approximates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from ..fields import FieldError, TimeField
from ..fields.masks import draws
from ..passes import Network, Pass
from ..passes.segment import Segment
from ..passes.steps import run_steps
from ..program.step import State
from .gradient import Gradient, Runner, positive
from .segment_function import check_captured

#: rtol and atol of the backward integration, by dtype
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-6}


@dataclass(frozen=True)
class Adjoint(Gradient):
    """The continuous adjoint (Chen et al. 2018), by torchdiffeq. Approximate; for a TimeField only.

    The forward pass is the network's own scheme. The backward pass solves, from t1 to t0,

        u' = f(t, u),    a' = -(df/du)^T a,    g' = -(df/dtheta)^T a

    and gives a(t0) and g(t0). That is the gradient of the equation's solution. It differs from the
    network's own gradient by about the discretisation error, so at the few steps a network has it may
    be wrong by tens of per cent; "direct", "checkpoint" and "reversible" are exact. Memory does not
    depend on the number of steps. First derivatives only.

    Args:
        method: of torchdiffeq, for the backward pass.
        rtol, atol: its tolerances; None is 1e-10 in float64, 1e-6 in float32.
        options: its further options, such as ``{"step_size": 0.1}`` for a fixed-step method.
    """

    method: str = "dopri5"
    rtol: float | None = None
    atol: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                positive(getattr(self, name), f"Adjoint: {name}")
        try:  # at once, not in the first backward pass; torchdiffeq has no public list of its methods
            self.solve(lambda t, state: state, (torch.zeros(1),), torch.tensor([0.0, 1.0]))
        except Exception as error:
            raise FieldError(
                f"Adjoint: got method {self.method!r}, options {dict(self.options)}, which torchdiffeq refuses: {error}"
            ) from error

    def solve(self, function: Callable[[Tensor, State], State], state: State, times: Tensor) -> State:
        """The solution of torchdiffeq at the times, stacked along the first dimension."""
        import torchdiffeq  # noqa: PLC0415 - it imports scipy, which takes longer than all of odenets

        default = TOLERANCES.get(state[0].dtype, 1e-6)
        tolerances = {"rtol": self.rtol or default, "atol": self.atol or default}
        return torchdiffeq.odeint(function, state, times, method=self.method, options=dict(self.options), **tolerances)

    def attach(self, net: Network) -> Runner:
        """Refuse layers, and functions that are not the same whenever they are called."""
        if not isinstance(net.field, TimeField):
            raise FieldError(
                f"gradient='adjoint': got {type(net.field).__name__}, expected a TimeField, one function f(t, u) of "
                "continuous time; for layers take gradient='reversible' or 'checkpoint', which are exact"
            )
        return _Run(self)

    def __str__(self) -> str:
        return f"adjoint({self.method})"


class _Run(Runner):
    def __init__(self, options: Adjoint) -> None:
        self.options = options

    def integrate(self, run: Pass, first: int, state: State) -> State:
        """The scheme's steps, as one node of the graph."""
        time = run.net.field
        assert isinstance(time, TimeField)
        if torch.compiler.is_compiling():
            raise FieldError(
                "gradient='adjoint' cannot be traced: torchdiffeq takes as many steps as its tolerance needs; run it "
                "eagerly, or take gradient='reversible'"
            )
        check_captured(Segment(run, 0, 1), state)
        names, parameters = _parameters(time)
        out = _Continuous.apply(self.options, run, first, names, state[1:], state[0], *parameters)
        return (out, *state[1:])


def _parameters(time: TimeField) -> tuple[list[str], list[Tensor]]:
    if not isinstance(time.f, nn.Module):
        return [], []
    for module in time.f.modules():
        if draws(module) or (isinstance(module, _NormBase) and module.training and module.track_running_stats):
            raise FieldError(
                f"gradient='adjoint': got a {type(module).__name__} in training, expected a function f(t, u) that is "
                "the same whenever it is called; take gradient='checkpoint'"
            )
    named = dict(time.f.named_parameters())
    return list(named), list(named.values())


class _Continuous(torch.autograd.Function):
    """u(t1) from u(t0) and the parameters of f."""

    @staticmethod
    def forward(options: Adjoint, run: Pass, first: int, names: list[str], history: State, *tensors: Tensor) -> Tensor:
        out = run_steps(run, first, (tensors[0], *(value.detach() for value in history)))[0]
        return out.clone() if out is tensors[0] else out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.options, ctx.run, _, ctx.names, _, _, *parameters = inputs
        ctx.save_for_backward(output, *parameters)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        u, *parameters = ctx.saved_tensors
        time, options = ctx.run.net.field, ctx.options
        wanted = [i for i in range(len(parameters)) if ctx.needs_input_grad[6 + i]]
        names = [ctx.names[i] for i in wanted]

        def augmented(t: Tensor, state: State) -> State:
            def function(u: Tensor, *own: Tensor) -> Tensor:
                return _call(time.f, dict(zip(names, own, strict=True)), t, u)

            value, pull, *_ = torch.func.vjp(function, state[0], *(parameters[i] for i in wanted))
            return value, *(-x for x in pull(state[1]))

        zeros = (torch.zeros_like(parameters[i]) for i in wanted)
        _, *found = options.solve(augmented, (u, bar, *zeros), u.new_tensor([time.t1, time.t0]))
        gradients = dict(zip(wanted, (x[-1] for x in found[1:]), strict=True))
        return (*[None] * 5, found[0][-1], *(gradients.get(i) for i in range(len(parameters))))


def _call(f: Any, values: dict[str, Tensor], t: Tensor, u: Tensor) -> Tensor:
    return functional_call(f, values, (t, u)) if isinstance(f, nn.Module) else f(t, u)
