"""u' = f(t, u): one function of time and state for all steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..program import Evaluate
from ..scheme.given_numbers import integer
from .bound import Function, check, wrote
from .errors import FieldError
from .field import Field, Noise
from .masks import capture, restore
from .numbers import current, learned, widest
from .summed import Part, Summed, count, taken_apart

#: what of a step its ends may be off by where f cannot be given times in float64
COARSEST = 0.01


class TimeField(Field):
    """u' = f(t, u) on [t0, t1] in ``steps`` equal steps, usable wherever blocks are.

    Args:
        f: callable ``f(t, x)`` as torchdiffeq takes it: t a 0-dimensional tensor, x the state;
            returns a tensor of x's shape. A module's parameters become the network's. A tuple of functions stands for
            their sum; a scheme of as many functions a step, such as ars222, takes them one by one.
        t0, t1: start and end time, finite and different; t1 < t0 integrates backwards. An nn.Parameter, or a tensor
            that requires a gradient, gets it, in every way to gradients but "adjoint".
        steps: number of steps, at least 1. The step size is (t1 - t0) / steps. None, for
            :class:`odenets.AdaptiveODENet`, leaves it to a tolerance.

    t is in float64 whatever x is in, where the device has it: in float32, seconds since 1970 are 128 s apart. Being
    0-dimensional it does not promote what it is combined with, and a value that is in float64 all the same is taken
    in x's dtype. To an f that fails because it joins t with tensors of a lower dtype, t is given in float32.

    Raises:
        FieldError: f not callable, times not finite or equal, steps not a positive integer. At the first call: f fails
            with times in float64, and in float32 they cannot be told apart.
    """

    fixed = Field.fixed | {"t0", "t1", "h", "adaptive"}
    same_modules = True
    f: Part
    # Tensors, where they are learned.
    t0: float
    t1: float
    #: whether f takes times in float64: found out at its first call
    _wide: bool | None

    #: whether the number of steps is left to a tolerance
    adaptive: bool
    #: whether the scheme takes the functions one by one, and not their sum; None before it is known
    _apart: bool | None = None

    def __init__(
        self, f: Part | Sequence[Part], t0: float | Tensor, t1: float | Tensor, steps: int | None = None
    ) -> None:
        super().__init__()
        self.adaptive = steps is None
        self.f = f  # type: ignore[assignment]
        self.steps = 1 if steps is None else integer(steps, "TimeField: steps", error=FieldError)
        self.keep("t0", t0, "TimeField: t0")
        self.keep("t1", t1, "TimeField: t1")
        self._h = self.h
        if not 0 < abs(self.h) < float("inf"):
            raise FieldError(f"TimeField: got t0 = {t0}, t1 = {t1}, expected two different finite times")
        if learned(t0) or learned(t1):
            self._refer(self._h)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "f":
            value = Summed(value) if isinstance(value, (tuple, list)) else value
            if self._apart and count(value) != count(self.f):
                raise FieldError(
                    f"TimeField: got f = {value!r} in a network whose scheme evaluates {count(self.f)} functions, "
                    "expected as many"
                )
            if not callable(value):
                raise FieldError(f"TimeField: got f = {value!r}, expected a callable f(t, x)")
            if not isinstance(value, nn.Module):
                self._modules.pop("f", None)
            # What was found out about another f.
            vars(self).update(_wide=None, _writes={}, checked={}, drawing=set())
        super().__setattr__(name, value)

    @property
    def h(self) -> float:
        """(t1 - t0) / steps, of the times as they are now."""
        return (current(self.t1) - current(self.t0)) / self.steps

    @property
    def step_size(self) -> float:
        """(t1 - t0) / steps."""
        return self.h

    def step(self, device: torch.device) -> Tensor:
        """(t1 - t0) / steps as a tensor."""
        return (_tensor(self.t1, device) - _tensor(self.t0, device)) / self.steps

    def renewed(self) -> TimeField:
        """As of a field; whether the functions are taken one by one is for the next scheme to say."""
        own = super().renewed()
        assert isinstance(own, TimeField)
        own._apart = None
        return own

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Refuse a scheme that evaluates another number of functions a step than there are; and no number of steps."""
        if self.adaptive:
            raise FieldError(
                "TimeField: got no steps for a network of fixed steps, expected their number, TimeField(f, t0, t1, "
                "steps); odenets.AdaptiveODENet(TimeField(f, t0, t1), scheme, rtol=, atol=) takes steps to a tolerance"
            )
        self._apart = taken_apart(self.f, max(len(counts) for counts in visits), self._apart)

    def function(self, what: Evaluate) -> Part:
        """What an evaluation calls: f, or one of several functions."""
        if not self._apart:
            return self.f
        return self.f.parts[what.module]  # type: ignore[attr-defined]

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """f(t0 + (n + node) h, x). The time is computed in float64, without summing h up."""
        if what.node is None:
            raise FieldError(
                "TimeField: got a scheme with a node that depends on a learnable coefficient, expected fixed times"
            )
        if self.reference is None:
            t = x.new_full((), self.t0 + (n + what.node) * self._h, dtype=widest(x.device))
        else:
            t = _tensor(self.t0, x.device) + (n + what.node) * self.step(x.device)
        return self.at(t, x, self.function(what))

    def bound_calls(self, u: Tensor) -> Sequence[Function | None]:
        """Calls of f itself, once it is known to take times in float64, as it does where the state is."""
        f, training, wide = self.f, self.training, widest(u.device)
        known = self._wide or (self._wide is None and u.dtype == wide)
        if type(self) is not TimeField or self._apart or not known or torch.compiler.is_compiling():
            return ()
        space = self.space(u)
        return self._bound.get(
            [f, training, wide, space, *self._writes.values()],
            lambda: [self._bound_step(n, f, wide, space) for n in range(self.steps)],
        )

    def _bound_step(self, n: int, f: Part, wide: torch.dtype, space: torch.Size) -> Function | None:
        t0, h, writes, key, double = self.t0, self._h, self._writes, (n, 0, self.training), torch.float64
        if writes.get(key, True):
            return None

        def function(what: Evaluate, x: Tensor) -> Tensor:
            # A new tensor each time: f may write into it, by numpy unseen, and a kept one would be wrong from then on.
            t = x.new_full((), t0 + (n + what.node) * h, dtype=wide)  # type: ignore[operator]
            version = x._version
            value = f(t, x)
            if x._version != version:
                wrote(writes, key)
            if type(value) is not Tensor or value.shape != space:
                check(n, value, x)
            return _in_dtype_of(x, value) if value.dtype is double else value

        return function

    def at(self, t: Tensor, x: Tensor, function: Part | None = None) -> Tensor:
        """f(t, x), or that of another function, in the dtype of x, or what autocast has made of it; t in float64."""
        f = self.f if function is None else function
        # Of a state in float64, nothing is found out: there f takes either.
        if self._wide is None and x.dtype != t.dtype and not torch.compiler.is_compiling():
            return self._first(t, x, f)
        value = f(t if self._wide is not False else t.to(_narrow(x)), x)
        return _in_dtype_of(x, value)

    def _first(self, t: Tensor, x: Tensor, f: Part) -> Tensor:
        before = capture(x.device)
        try:
            value = f(t, x)
        except RuntimeError as error:
            if "double" not in str(error).lower():
                raise
            self._refuse_coarse(_narrow(x), error)
            restore(before, x.device)
            self._wide = False
            return f(t.to(_narrow(x)), x)
        # What one function takes, another need not.
        self._wide = None if self._apart else True
        return _in_dtype_of(x, value)

    def _refuse_coarse(self, dtype: torch.dtype, error: Exception) -> None:
        apart = torch.finfo(dtype).eps * max(abs(current(self.t0)), abs(current(self.t1)))
        if apart > COARSEST * abs(self.h):
            raise FieldError(
                f"TimeField: got f(t, x) that fails with t in float64 ({error}), and t0 = {current(self.t0):.15g}, "
                f"h = {self.h:g}, which {dtype} does not tell apart; expected a difference of times in float64, made "
                "x's dtype after it: (t - start).to(x.dtype)"
            ) from error

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """f, or that of several functions which is called, where it is a module."""
        called, path = self.function(what), f"f.f{what.module}" if self._apart else "f"
        return [(path, called)] if isinstance(called, nn.Module) else []

    def extra_repr(self) -> str:
        """Interval and number of steps."""
        steps = "" if self.adaptive else f", steps={self.steps}"
        return f"t0={current(self.t0)}, t1={current(self.t1)}{steps}"


def _tensor(t: float | Tensor, device: torch.device) -> Tensor:
    """A time as a 0-dimensional tensor; a number by an operation of the device, which waits for no copy."""
    if isinstance(t, Tensor):
        return t.to(device, widest(device)).reshape(())
    return torch.full((), t, dtype=widest(device), device=device)


def _narrow(x: Tensor) -> torch.dtype:
    """At least float32: bf16 cannot tell t = 1.00 from 1.003."""
    return torch.promote_types(x.dtype, torch.float32)


def _in_dtype_of(x: Tensor, value: Tensor) -> Tensor:
    """A value that times in float64 have promoted, in the dtype of the state."""
    if x.dtype == torch.float64 or not isinstance(value, Tensor) or value.dtype != torch.float64:
        return value
    return value.to(x.dtype)
