"""The residual function of a layer as a function of the state alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from odenets import FieldError, ODENet, Scheme, TimeField
from odenets.program.program import Evaluate

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ResidualFunction:
    """The f of u' = f(u) that a layer stands for, at time t_n.

    Attributes:
        index: which of the layer's functions it is; None where it is the whole right-hand side.
        function: states of any number of samples -> their slopes, of the same shape.
        autonomous: one sample u -> (g, w): the system w' = g(w) without time that u' = f is; for a
            function of time w = (u, t) and t' = 1.
    """

    index: int | None
    function: Function
    autonomous: Callable[[Tensor], tuple[Function, Tensor]]


def residual_functions(net: ODENet, n: int) -> list[ResidualFunction]:
    """What step n of a network evaluates.

    One function: itself. A split or partitioned system, u_c' = sum of f_g(u_takes(g)), is one
    right-hand side of the whole state, whose Jacobian is the block matrix of theirs (RevNet,
    Verlet: x' = f(y), y' = g(x)). Several functions that all stand for one f (mpoly2, fractal2):
    each by itself, since they have no spectrum together.

    Raises:
        FieldError: an additive scheme: what its step does to a disturbance depends on the Jacobian of each function.
    """
    program = net.program_of(n)
    if _treats_apart(program.scheme):
        raise FieldError(
            f"layer {n}: got {program.scheme.name}, an additive scheme, whose step is no function of the eigenvalues "
            "of one Jacobian, expected a scheme of the sum; odenets.swap_scheme gives the network of a TimeField one"
        )
    first: dict[int, Evaluate] = {}
    for what in program.evaluated:
        # At t_n, where u_n belongs, though a midpoint rule evaluates at another time.
        first.setdefault(what.module, replace(what, node=0.0))
    functions = {g: _single(net, n, what) for g, what in sorted(first.items())}
    if isinstance(net.field, TimeField):
        return [_of_time(functions[0], net.field, n)]
    maps = program.scheme.functions
    if len(maps) > 1:
        return [_timeless(None, _joined(functions, maps, program.scheme.components))]
    return [_timeless(None if len(functions) == 1 else g, f) for g, f in functions.items()]


def _treats_apart(scheme: Scheme) -> bool:
    """Whether functions whose sum is u' have tableaux of their own (IMEX), so that a step is none of the sum (way2)."""
    columns: dict[int, list[Any]] = {}
    for j, g in enumerate(scheme.modules):
        columns.setdefault(g, []).append((tuple(scheme.A[:, j]), tuple(scheme.B[:, j])))
    alike = [columns[g] for g in range(len(scheme.functions)) if g in columns]
    return scheme.components == 1 and scheme.several and any(own != alike[0] for own in alike)


def _timeless(index: int | None, f: Function) -> ResidualFunction:
    return ResidualFunction(index, f, lambda u: (f, u))


def _single(net: ODENet, n: int, what: Evaluate) -> Function:
    return lambda u: net.field(n, (), what, u)


def _joined(functions: dict[int, Function], maps: tuple[tuple[int, int], ...], components: int) -> Function:
    """The whole right-hand side: each function adds to the component that it yields."""

    def whole(u: Tensor) -> Tensor:
        parts = u.chunk(components, 1)
        slopes = [torch.zeros_like(part) for part in parts]
        for g, f in functions.items():
            takes, yields = maps[g]
            slopes[yields] = slopes[yields] + f(parts[takes])
        return slopes[0] if components == 1 else torch.cat(slopes, 1)

    return whole


def _of_time(f: Function, field: TimeField, n: int) -> ResidualFunction:
    def autonomous(u: Tensor) -> tuple[Function, Tensor]:
        def g(w: Tensor) -> Tensor:
            return torch.cat([field.f(w[-1], w[:-1].reshape(u.shape)).reshape(-1), torch.ones_like(w[-1:])])

        return g, torch.cat([u.reshape(-1), u.new_full((1,), field.t0 + n * field.h)])

    return ResidualFunction(None, f, autonomous)


def check_separate(f: Function, u: Tensor, where: str) -> None:
    """FieldError unless f is deterministic, finite and treats the samples (rows of u) each by itself.

    Samples alone are not enough to see it: of one sample a norm over the batch is a function of this sample.
    """
    whole = f(u)
    scale = float(torch.linalg.vector_norm(whole))
    if not scale < float("inf"):
        raise FieldError(f"{where}: got slopes that are NaN or infinite, expected finite ones; check x and the weights")
    try:
        alone = torch.cat([f(u[i : i + 1]) for i in range(u.shape[0])])
        beside = f(torch.cat([u, _elsewhere(u)]))[: u.shape[0]]
    except (RuntimeError, ValueError) as error:
        raise FieldError(
            f"{where}: cannot be evaluated for one sample alone ({error}), expected a function that acts on each "
            "sample (dimension 0) by itself; BatchNorm needs running statistics"
        ) from error
    # Rounding differs with the size of the batch, by far less than this.
    largest = max(float(torch.linalg.vector_norm(whole - other)) for other in (alone, beside))
    # Not <= : a NaN that only the company of others brings is a difference, too.
    if not largest <= torch.finfo(u.dtype).eps ** 0.5 * scale:
        raise FieldError(
            f"{where}: got another value for a sample alone than in another batch, expected a function that acts on "
            "each sample (dimension 0) by itself and is not random in evaluation; BatchNorm needs running statistics"
        )


def _elsewhere(u: Tensor) -> Tensor:
    """Other states near u, of another mean and another spread."""
    size = u.abs()
    return u + 0.1 * (size + (size.mean() if bool(u.any()) else 1.0))


def piecewise_linear(f: Function, u: Tensor) -> bool:
    """Whether f''(v, v) vanishes though f is not linear: kinks (ReLU), at which there is no second derivative.

    Looked at in one direction v = f(u): enough to see that there is no curvature where ReLU alone bends. That f
    bends is seen by second differences D(s) = f(u + s v) - 2 f(u) + f(u - s v): what J leaves out of a linear
    function, as a detach() does, is not in them. Nor is curvature that is hidden from derivatives a kink:
    D(s) goes with s^2 then, and is 0 near u, or goes with s if u is on a kink, otherwise.
    """
    slope = f(u)
    if not bool(slope.any()):
        return False
    direction = slope * (torch.linalg.vector_norm(u) / torch.linalg.vector_norm(slope))

    def push(w: Tensor) -> Tensor:
        out: Tensor = torch.func.jvp(f, (w,), (direction,))[1]
        return out

    first, second, *_ = torch.func.jvp(push, (u,), (direction,))
    if bool(second.any()):
        return False
    eps = torch.finfo(u.dtype).eps
    size = max(float(torch.linalg.vector_norm(part)) for part in (first, slope))

    def bend(s: float) -> float:
        return float(torch.linalg.vector_norm(f(u + s * direction) - 2 * slope + f(u - s * direction)))

    short = eps**0.25
    curved = bend(short) > eps**0.75 * size and bend(short) > 3 * bend(short / 2)
    return bend(1.0) > eps**0.5 * size and not curved
