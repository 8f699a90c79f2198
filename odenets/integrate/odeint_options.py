"""The arguments of torchdiffeq's functions, read into those of this room; what is no option of a method is an error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from ..scheme.given_numbers import integer, real
from .adaptive import Listeners
from .control import StepControl
from .odeint_schemes import ADAMS, ADAPTIVE, FIXED, METHODS
from .packing import Packing
from .refusals import check_tolerance

SHARED = {"norm"}
STEP_SIZE = {"first_step", "safety", "ifactor", "dfactor", "max_num_steps", "dtype"}
KNOWN = {
    "adaptive": SHARED | STEP_SIZE | {"step_t", "jump_t", "min_step", "max_step"},
    "fixed": SHARED | {"step_size", "grid_constructor", "perturb", "interp"},
    "adams": {"max_order"},
    "implicit": {"max_iters"},
    "scipy": SHARED | {"solver", "min_step", "max_step"},
}
CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")


def kind_of(method: str) -> str:
    """Whether a method is "adaptive", "fixed" or "scipy"; FieldError for a name that torchdiffeq does not have."""
    if method not in METHODS:
        raise FieldError(f'Invalid method "{method}": got it for method=, expected one of {", ".join(METHODS)}')
    return "adaptive" if method in ADAPTIVE else "scipy" if method == "scipy_solver" else "fixed"


def check_options(method: str, options: Mapping[str, Any]) -> None:
    """Refuse what is no option of the method."""
    kind = kind_of(method)
    known = KNOWN[kind] | (KNOWN["adams"] | KNOWN["implicit"] if method in ADAMS else set())
    if method in FIXED and method not in ("euler", "midpoint", "heun2", "heun3", "rk4"):
        known = known | KNOWN["implicit"]
    if unknown := sorted(set(options) - known):
        raise FieldError(f"options: got {unknown} for method={method!r}, expected some of {sorted(known)}")
    if options.get("interp", "linear") not in ("linear", "cubic"):
        raise FieldError(f'interp: got {options["interp"]!r}, expected "linear" or "cubic"')
    if options.get("step_size") is not None and options.get("grid_constructor") is not None:
        raise FieldError("options: got step_size and grid_constructor, expected one of them")


def control_of(options: Mapping[str, Any]) -> tuple[StepControl, int]:
    """The control of the step size, and the largest number of steps."""
    names = {"safety": "safety", "ifactor": "grow", "dfactor": "shrink", "min_step": "min_step", "max_step": "max_step"}
    given: dict[str, Any] = {own: float(options[name]) for name, own in names.items() if name in options}
    if options.get("first_step") is not None:
        given["first_step"] = float(options["first_step"])
    times: dict[str, Any] = {name: numbers(options.get(name)) for name in ("step_t", "jump_t")}
    # torchdiffeq's controller looks at the last error alone.
    return StepControl(exponents=(1,), **given, **times), integer(
        options.get("max_num_steps", 2**31 - 1), "max_num_steps"
    )


def numbers(values: Any) -> list[float]:
    """Times as numbers; None is none of them."""
    return [] if values is None else [real(x, "times", FieldError) for x in values]


def tolerance(value: Any, packing: Packing, name: str) -> Any:
    """A tolerance of the state as one tensor: a number, a tensor, or one for each tensor of a tuple."""
    if isinstance(value, Tensor) and value.requires_grad:
        raise FieldError(f"{name}: got a tensor that requires a gradient, expected a constant")
    each = isinstance(value, (tuple, list)) or (getattr(value, "ndim", 0) > 0 and len(value) == len(packing.shapes))
    if packing.single or not each:
        check_tolerance(value, name, packing.shapes[0] if packing.single else (sum(packing.sizes),))
        return value
    if len(value) != len(packing.shapes):
        raise FieldError(f"{name}: got {len(value)} tolerances, expected one for each of {len(packing.shapes)} tensors")
    for x, shape in zip(value, packing.shapes, strict=True):
        check_tolerance(x, name, shape)
    return torch.cat([torch.as_tensor(x).expand(s).reshape(-1) for x, s in zip(value, packing.shapes, strict=True)])


def rms(x: Tensor) -> Tensor:
    """The root mean square of a tensor; torchdiffeq's norm."""
    return x.abs().pow(2).mean().sqrt()


def largest(values: Sequence[Tensor]) -> Any:
    """The largest root mean square of several tensors: torchdiffeq's norm of a tuple."""
    return max([rms(value) for value in values]) if values else 0.0


def norm_of(options: Mapping[str, Any], packing: Packing) -> Callable[[Tensor], Any]:
    """The norm of the error: of the state as the user has it."""
    norm = options.get("norm") or (rms if packing.single else largest)
    return lambda x: norm(packing.split(x))


@dataclass(frozen=True)
class Called:
    """Callbacks of func, by torchdiffeq's names for them, with the suffix that they have."""

    func: Any
    packing: Packing
    time: Tensor
    suffix: str = ""

    def find(self, known: Sequence[str]) -> dict[str, Callable[..., Any]]:
        """Those of ``known`` that func has, and a warning for the others."""
        found = {name: getattr(self.func, name + self.suffix, None) for name in CALLBACKS}
        if others := sorted(name for name, call in found.items() if call is not None and name not in known):
            warnings.warn(f"func: got callbacks {others}, which this method does not call", stacklevel=5)
        return {name: call for name, call in found.items() if call is not None and name in known}

    def listeners(self, known: Sequence[str]) -> Listeners:
        """The callbacks as listeners: of (t, y, dt), t and dt tensors."""
        found = self.find(known)

        def told(call: Callable[..., Any], t: float, u: Tensor, h: float) -> None:
            call(self.time.new_full((), t), self.packing.split(u), self.time.new_full((), abs(h)))

        made = [partial(told, found[name]) if name in found else None for name in CALLBACKS]
        return Listeners(*made)


def reference_grid(t: Sequence[float], size: float) -> list[float]:
    """Torchdiffeq's grid of a step size: t[0] + n size, the last step shortened to end at t[-1]."""
    start, stop = t[0], t[-1]
    forward = math.copysign(size, stop - start)
    count = math.ceil(abs(stop - start) / size - 1e-9)
    return [*(start + n * forward for n in range(max(1, count))), stop]
