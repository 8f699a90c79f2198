"""What solve refuses: schemes without steps to a tolerance, and options that do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..gradients import Reversible
from ..gradients.reversible import refuse_irreversible
from ..program.transforms import active
from ..scheme import Scheme, SchemeError
from ..stages import Solver
from .implicit import runs_implicit
from .method import runs_as_method


def check_on_failure(on_failure: str) -> None:
    """Refuse what is neither to raise nor to flag."""
    if on_failure not in ("raise", "flag"):
        raise FieldError(f'on_failure: got {on_failure!r}, expected "raise" or "flag"')


def check_tolerance(value: Any, name: str, shape: Sequence[int]) -> None:
    """Refuse a tolerance that is neither a number of at least 0 nor a tensor of such for a state of this shape.

    An infinite one is for entries whose errors do not count.
    """
    given = value.detach() if isinstance(value, Tensor) else value
    sizes, wrong = getattr(given, "shape", ()), [value]
    try:
        if len(sizes):
            x = torch.as_tensor(given)
            wrong = x[~(x >= 0)].tolist()
        elif not isinstance(given, str) and float(given) >= 0:
            wrong = []
    except (TypeError, ValueError, RuntimeError):  # of what is no number, or one without order
        pass
    ahead = zip(reversed(sizes), reversed(shape), strict=False)
    if wrong or len(sizes) > len(shape) or any(size not in (1, whole) for size, whole in ahead):
        got = repr(wrong[0]) if wrong else f"a tensor of shape {tuple(sizes)}"
        raise FieldError(
            f"{name}: got {got} for a state of shape {tuple(shape)}, expected a number of at least 0, or a "
            "tensor of such that broadcasts to the state, as one tensor"
        )


def as_way(gradient: Any) -> str | Reversible:
    """A way to gradients that adaptive steps have: "direct", "checkpoint", or options of the reversible one.

    Raises:
        FieldError: one that only fixed steps have.
    """
    if gradient == "reversible":
        return Reversible(on_failure="rerun")
    if isinstance(gradient, Reversible) or gradient in ("direct", "checkpoint"):
        return gradient
    raise FieldError(
        f'gradient: got {gradient!r}, expected "direct", "checkpoint", "reversible" or a Reversible(...); fixed steps '
        "have all others in ODENet(TimeField(f, t0, t1, steps), scheme, gradient=...)"
    )


def check_way(way: str | Reversible, scheme: Scheme) -> None:
    """Refuse a scheme that has no gradients that way in adaptive steps."""
    if isinstance(way, Reversible):
        refuse_irreversible(scheme)
    elif way == "checkpoint" and not (runs_as_method(scheme) and scheme.carried == 1):
        raise SchemeError(
            f'{scheme.name}: got it with gradient="checkpoint", expected an explicit Runge-Kutta scheme with embedded '
            "weights, such as 'dopri5'"
        )


def refuse_replay() -> None:
    """Refuse what torch.utils.checkpoint does not go with; torch itself says only that saved tensor hooks do not."""
    if "Grad" in active():
        raise FieldError(
            'gradient="checkpoint": got torch.func.grad, vjp, jacrev or hessian around adaptive steps, expected '
            'backward() or torch.autograd.grad; or take gradient="direct", or fixed steps: ODENet(TimeField(f, t0, t1, '
            'steps), scheme, gradient="checkpoint")'
        )


def refuse_adaptive(scheme: Scheme, solver: Solver | None = None) -> None:
    """Refuse a scheme that has no steps to a tolerance."""
    plain = scheme.embedded is not None and (runs_as_method(scheme) or scheme.Gamma is not None)
    if not plain and not runs_implicit(scheme):
        raise SchemeError(
            f"{scheme.name}: got a scheme that has no step size control (it is for Runge-Kutta schemes with embedded "
            "weights, additive ones if one part of them is implicit, and for implicit ones with nodes that are "
            "different and not 0), expected such as 'dopri5', "
            "'tsit5', 'dop853', for stiff problems 'kvaerno5', 'radau_iia3'; or give steps= or step="
        )
    if solver is not None:
        raise FieldError(
            f"solver: got {solver} with adaptive steps, whose stages have a Newton iteration of their own, expected "
            "none, or a grid: steps= or step="
        )
    transforms = active()
    if "Vmap" in transforms:
        raise FieldError(
            "solve: got torch.func.vmap around adaptive steps, which depend on the values of all samples, expected the "
            "batch itself with per_sample=True, or a grid: give steps= or step="
        )
    if transforms and not runs_as_method(scheme):
        raise FieldError(
            f"solve: got torch.func.{', '.join(transforms).lower()} around adaptive steps of {scheme.name}, which take "
            "derivatives of f by autograd, expected backward() or torch.autograd.grad, or an explicit scheme"
        )


def refuse_with(way: str | Reversible, **options: Any) -> None:
    """Refuse what does not go with a way to gradients that takes the steps once more."""
    _refuse(f'gradient="{way}"', "ODENet has it for fixed steps", options)


def refuse_each(scheme: Scheme, **options: Any) -> None:
    """Refuse what does not go with per_sample."""
    refuse_adaptive(scheme)
    if scheme.several or scheme.carried > 1:
        what = "an additive scheme" if scheme.carried == 1 else f"a scheme that carries {scheme.carried} values"
        raise SchemeError(
            f"{scheme.name}: got {what} with per_sample, expected a Runge-Kutta or Rosenbrock scheme with an error "
            "estimate, such as 'dopri5' or 'kencarp4'"
        )
    _refuse("per_sample", "leave out per_sample, or ask for times t", options)


def _refuse(what: str, instead: str, options: dict[str, Any]) -> None:
    """Refuse options that are given: not None, False or empty. A grid of times is not asked whether it is true."""
    given = [name for name, x in options.items() if not (x is None or x is False or (isinstance(x, list) and not x))]
    if given:
        raise FieldError(f"{what}: got {', '.join(given)} with it, expected none; {instead}")
