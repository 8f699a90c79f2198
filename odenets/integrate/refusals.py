"""What solve refuses: schemes without steps to a tolerance, and options that do not go together."""

from __future__ import annotations

from typing import Any

from ..fields import FieldError
from ..program.transforms import active
from ..scheme import Scheme, SchemeError
from ..stages import Solver
from .implicit import runs_implicit
from .method import runs_as_method


def check_on_failure(on_failure: str) -> None:
    """Refuse what is neither to raise nor to flag."""
    if on_failure not in ("raise", "flag"):
        raise FieldError(f'on_failure: got {on_failure!r}, expected "raise" or "flag"')


def check_gradient(gradient: str) -> None:
    """Refuse a way to gradients that only fixed steps have."""
    if gradient not in ("direct", "checkpoint"):
        raise FieldError(
            f'gradient: got {gradient!r}, expected "direct" or "checkpoint"; fixed steps have all the others in '
            "ODENet(TimeField(f, t0, t1, steps), scheme, gradient=...)"
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
    if "Vmap" in active():
        raise FieldError(
            "solve: got torch.func.vmap around adaptive steps, which depend on the values of all samples, expected the "
            "batch itself with per_sample=True, or a grid: give steps= or step="
        )


def refuse_checkpoint(scheme: Scheme, **options: Any) -> None:
    """Refuse what does not go with gradient="checkpoint"."""
    _refuse('gradient="checkpoint"', "ODENet has it for fixed steps", options)
    _refuse_others(scheme)


def refuse_each(scheme: Scheme, **options: Any) -> None:
    """Refuse what does not go with per_sample."""
    _refuse_others(scheme)
    refuse_adaptive(scheme)
    _refuse("per_sample", "leave out per_sample, or ask for times t", options)


def _refuse_others(scheme: Scheme) -> None:
    if not runs_as_method(scheme):
        raise SchemeError(
            f'{scheme.name}: got it with per_sample or gradient="checkpoint", expected an explicit Runge-Kutta scheme '
            "with embedded weights, such as 'dopri5'"
        )


def _refuse(what: str, instead: str, options: dict[str, Any]) -> None:
    """Refuse options that are given: not None, False or empty. A grid of times is not asked whether it is true."""
    given = [name for name, x in options.items() if not (x is None or x is False or (isinstance(x, list) and not x))]
    if given:
        raise FieldError(f"{what}: got {', '.join(given)} with it, expected none; {instead}")
