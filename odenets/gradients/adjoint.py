"""The continuous adjoint: the gradient of the differential equation, not of the network that approximates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from ..fields import FieldError, TimeField
from ..fields.context import Context
from ..fields.masks import draws
from ..fields.numbers import widest
from ..passes import Network, Pass
from ..passes.purity import check_pure
from ..passes.segment import Segment
from ..passes.steps import run_steps
from ..program.step import State
from ..program.transforms import active, saved, with_record
from ..program.vjp import vjp
from ..scheme.given_numbers import integer
from .errors import AdjointError
from .gradient import Gradient, Runner, positive

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
        max_evaluations: of the adjoint equation; on a stiff one explicit methods take more and more steps without end.
    """

    method: str = "dopri5"
    rtol: float | None = None
    atol: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    max_evaluations: int = 20_000

    def __post_init__(self) -> None:
        most = integer(self.max_evaluations, "Adjoint: max_evaluations", error=FieldError)
        object.__setattr__(self, "max_evaluations", most)
        for name in ("rtol", "atol"):
            if getattr(self, name) is not None:
                positive(getattr(self, name), f"Adjoint: {name}")
        try:  # at once, not in the first backward pass; torchdiffeq has no public list of its methods
            times = torch.tensor([0.0, 1.0], device="cpu")  # whatever the default device is
            self.solve(lambda t, state: state, (times[:1],), times)
        except Exception as error:
            raise FieldError(
                f"Adjoint: got method {self.method!r}, options {dict(self.options)}, which torchdiffeq refuses: {error}"
            ) from error

    def solve(self, function: Callable[[Tensor, State], State], state: State, times: Tensor) -> State:
        """The solution of torchdiffeq at the times, stacked along the first dimension.

        Raises:
            AdjointError: torchdiffeq gave up.
        """
        import torchdiffeq  # noqa: PLC0415 - it imports scipy, which takes longer than all of odenets

        default = TOLERANCES.get(state[0].dtype, 1e-6)
        tolerances = {"rtol": self.rtol or default, "atol": self.atol or default}
        options, counted = dict(self.options), count(1)

        def limited(t: Tensor, state: State) -> State:
            if next(counted) > self.max_evaluations:
                raise AssertionError(f"{self.max_evaluations} evaluations (max_evaluations) were not enough")
            return function(t, state)

        try:
            return torchdiffeq.odeint(limited, state, times, method=self.method, options=options, **tolerances)
        except AssertionError as error:  # of its step size, its number of steps, its state
            raise AdjointError(
                f"gradient='adjoint': torchdiffeq's {self.method} gave up on the adjoint equation in {state[0].dtype}, "
                f"rtol {tolerances['rtol']:g}, atol {tolerances['atol']:g}: {error}. Expected an equation that is not "
                "stiff backwards in time, in a dtype that holds these tolerances; take larger ones, float32 or "
                "float64, or gradient='checkpoint', which is exact"
            ) from error

    def attach(self, net: Network) -> Runner:
        """Refuse layers, and functions that are not the same whenever they are called."""
        if not isinstance(net.field, TimeField):
            raise FieldError(
                f"gradient='adjoint': got {type(net.field).__name__}, expected a TimeField, one function f(t, u) of "
                "continuous time; for layers take gradient='reversible' or 'checkpoint', which are exact"
            )
        if net.field.reference is not None:
            raise FieldError(
                "gradient='adjoint': got times t0 or t1 that are to be learned, expected numbers: the adjoint equation "
                "is solved between them; take gradient='checkpoint' or 'reversible', which give their gradient"
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
        if {"Jvp", "Vmap"} & {*active()}:
            _refuse_transformed()
        segment = Segment(run, 0, 1)
        check_pure(segment, state[0])
        _refuse_random(time)
        function = _Function(time)
        named = dict(function.named_parameters())
        way = _Way(self.options, function, segment.context, [_homes(function, p) for p in named.values()])
        out = _Continuous.apply(way, partial(run_steps, run, first), state[1:], state[0], *named.values())
        segment.context.settle()
        # A copy: the node keeps its output, into which what follows may write, as nn.ReLU(inplace=True) does.
        return (out.clone(), *state[1:])


def _refuse_random(time: TimeField) -> None:
    for module in time.modules():
        if draws(module) or (isinstance(module, _NormBase) and module.training and module.track_running_stats):
            raise FieldError(
                f"gradient='adjoint': got a {type(module).__name__} in training, expected a function f(t, u) that is "
                "the same whenever it is called; take gradient='checkpoint'"
            )


def _refuse_transformed() -> None:
    if names := active():
        raise AdjointError(
            f"gradient='adjoint': got torch.func's {', '.join(names)} around it, which torchdiffeq does not take, "
            "expected autograd, or a torch.func.vjp that is over; take gradient='checkpoint' or 'direct'"
        )


class _Function(nn.Module):
    """f(t, u) of a TimeField: its call as a module."""

    def __init__(self, time: TimeField) -> None:
        super().__init__()
        self.time = time

    def forward(self, t: Tensor, u: Tensor) -> Tensor:
        """The value."""
        return self.time.at(t, u)


class _Way(NamedTuple):
    """What the backward pass needs besides tensors; ``homes`` are the names of each parameter of f."""

    options: Adjoint
    function: _Function
    context: Context
    homes: list[list[str]]


class _Continuous(torch.autograd.Function):
    """u(t1) from u(t0) and the parameters of f."""

    @staticmethod
    def forward(way: _Way, steps: Callable[[State], State], history: State, *tensors: Tensor) -> Tensor:
        out = steps((tensors[0], *(value.detach() for value in history)))[0]
        return out.clone() if out is tensors[0] else out.detach()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.way, _, _, _, *parameters = inputs
        ctx.save_for_backward(output, *parameters)

    @staticmethod
    @with_record
    def backward(ctx: Any, bar: Tensor) -> tuple[Any, ...]:
        _refuse_transformed()
        u, *parameters = saved(ctx)
        way, wanted = ctx.way, [i for i in range(len(parameters)) if ctx.needs_input_grad[4 + i]]
        with torch.no_grad(), way.context.precision(), way.context.restored():
            found = _solution(way, u, bar, [(way.homes[i], parameters[i]) for i in wanted])
        if torch.is_grad_enabled():
            found = _OnceOnly.apply(len(found), *found, bar, u, *parameters)
        gradients = dict(zip(wanted, found[1:], strict=True))
        return (*[None] * 3, found[0], *(gradients.get(i) for i in range(len(parameters))))


class _OnceOnly(torch.autograd.Function):
    """First derivatives, whose own derivative is an error: autograd would drop it, or take it for 0.

    torch's once_differentiable was rejected: what it returns depends on nothing, so that a penalty on a gradient that
    is added to a loss gets none without a word.
    """

    @staticmethod
    def forward(count: int, *tensors: Tensor) -> State:
        return tuple(value.clone() for value in tensors[:count])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: State) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> tuple[Any, ...]:
        raise AdjointError(
            "gradient='adjoint': got a derivative of its gradient (create_graph=True, torch.func.hessian), expected "
            "first derivatives only; take gradient='checkpoint' or 'direct'"
        )


def _homes(module: nn.Module, parameter: Tensor) -> list[str]:
    """Every name of a parameter, but one alone for each module that has it.

    Of a module that is reached by two names torch's functional_call, which goes by names, would not put the parameter
    back: the second time it keeps what it has put there the first time.
    """
    held = ((path, inner._parameters.items()) for path, inner in module.named_modules())
    return [f"{path}.{key}" for path, own in held for key, x in own if x is parameter]


def _solution(way: _Way, u: Tensor, bar: Tensor, wanted: Sequence[tuple[list[str], Tensor]]) -> State:
    """a(t0) and g(t0) from u(t1) and a(t1); ``wanted`` are the parameters and their names."""
    parameters = [parameter for _, parameter in wanted]
    time, zeros = way.function.time, tuple(map(torch.zeros_like, parameters))
    if not u.numel():
        return bar, *zeros
    # torchdiffeq casts times to the dtype of the state: where that is coarse, they are counted from t1.
    origin = 0.0 if u.dtype == torch.float64 else time.t1

    def augmented(t: Tensor, state: State) -> State:
        at = t.to(widest(t.device)) + origin

        def function(u: Tensor, *own: Tensor) -> State:
            held = {name: x for (names, _), x in zip(wanted, own, strict=True) for name in names}
            return (functional_call(way.function, held, (at, u), tie_weights=False),)

        (value,), pull = vjp(function, state[0], *parameters)
        return value, *(-x for x in pull((state[1],)))

    times = u.new_tensor([time.t1 - origin, time.t0 - origin])
    return tuple(x[-1] for x in way.options.solve(augmented, (u, bar, *zeros), times)[1:])
