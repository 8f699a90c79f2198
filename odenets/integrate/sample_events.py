"""Events of a batch whose samples have their own steps: found for all samples at once, on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..fields import FieldError
from .event import Event, Occurrences, moving, nan_inside
from .packing import Packing
from .sample_function import SampleFunction
from .step import Step

#: of the search for a zero: bisection alone would take as many in the worst case
MOST = 64


class SampleWatch:
    """Looks for events in the steps of samples.

    Args:
        events: which.
        packing: how a state is one tensor.
        function: f.
        t, u: the start, of all samples. What is 0 there is not found there.

    ``terminal`` says which of them end a sample.
    """

    def __init__(
        self, events: Sequence[Event], packing: Packing, function: SampleFunction, t: Tensor, u: Tensor
    ) -> None:
        self.events, self.packing, self.function = events, packing, function
        self.g = [SampleFunction(self._number(k), packing, t, u) for k in range(len(events))]
        self.terminal = torch.tensor([event.terminal for event in events], device=u.device)
        self._ways = torch.tensor([float(event.direction) for event in events], device=u.device)
        self._found: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in events]

    def _number(self, k: int) -> Callable[[Tensor, Tensor], Tensor]:
        def number(t: Tensor, u: Tensor) -> Tensor:
            value: Any = self.events[k].g(t, self.packing.split(u))
            if not isinstance(value, Tensor) or value.numel() != len(u) or value.is_complex():
                got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else value
                raise FieldError(
                    f"Event {k}: got g(t, u) = {got} for {len(u)} samples, expected one real number for each"
                )
            return value.reshape(-1)

        return number

    @torch.no_grad()
    def values(self, t: Tensor, u: Tensor, samples: Tensor) -> Tensor:
        """G of each event, of shape (n, events)."""
        return torch.stack([self._value(k, t, u, samples) for k in range(len(self.g))], 1)

    def _value(self, k: int, t: Tensor, u: Tensor, samples: Tensor) -> Tensor:
        self.g[k].samples = samples
        return self.g[k](t, u)

    def crossed(self, before: Tensor, after: Tensor) -> Tensor:
        """Which events are between two values of g."""
        signs = torch.sign(before)
        return (signs != 0) & (after * signs <= 0) & (self._ways * signs <= 0)

    def find(self, k: int, step: Step, samples: Tensor) -> Tensor:
        """Keep the zeros of an event in a step of some samples, and return their times."""
        start: Any = step.span.start
        stop: Any = step.span.stop
        step.prepare()  # with a record, which the values below do not need, but that of the solution there does

        @torch.no_grad()
        def value(t: Tensor) -> Tensor:
            return self._value(k, t, step.at(t), samples).reshape(t.shape).to(t.dtype)

        t = zeros(value, start, stop)
        if bool((lost := value(t).isnan()).any()):
            raise nan_inside(float(t[lost][0]))
        self.function.samples = samples
        at, u = moving(self.function, lambda t, u: self._value(k, t, u, samples), t, step.at(t))
        self._found[k].append((samples, at, u))
        return t.reshape(-1)

    def occurrences(self, until: Tensor, direction: float, like: Tensor) -> tuple[Occurrences, ...]:
        """What was found of each event, up to the times at which samples have ended, sample by sample."""
        found = []
        for own in self._found:
            if not own:
                none = until.new_zeros(0)
                states = self.packing.split(like.new_zeros((0, *like.shape[1:])))
                found.append(Occurrences(none, states, none.long()))
                continue
            samples, t, u = (torch.cat(parts) for parts in zip(*own, strict=True))
            kept = torch.nonzero(t.detach() * direction <= until[samples] * direction).flatten()
            kept = kept[torch.argsort(t.detach()[kept] * direction, stable=True)]
            kept = kept[torch.argsort(samples[kept], stable=True)]
            found.append(Occurrences(t[kept], self.packing.split(u[kept]), samples[kept]))
        return tuple(found)


def zeros(function: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """A zero between each a and b, to rounding, where the signs of the function's values there differ.

    Where a value is NaN, the place of that.

    Bisection with inverse quadratic interpolation. scipy's brentq finds one at a time. After each evaluation one value
    is read from the device: whether all have been found.

    Source: Chandrupatla (1997).
    """
    fa, fb = function(a), function(b)
    ratio, found, done = torch.full_like(a, 0.5), torch.where(fa == 0, a, b), (fa == 0) | (fb == 0)
    for _ in range(MOST):
        at = a + ratio * (b - a)
        value = function(at)
        lost = value.isnan() & ~done
        same = torch.sign(value) == torch.sign(fa)
        c, fc = torch.where(same, a, b), torch.where(same, fa, fb)
        b, fb = torch.where(same, b, a), torch.where(same, fb, fa)
        a, fa = at, value
        nearer = fa.abs() < fb.abs()
        found = torch.where(lost, at, torch.where(done, found, torch.where(nearer, a, b)))
        least = 4 * torch.finfo(a.dtype).eps * found.abs() / (b - a).abs()
        done = done | lost | (least > 0.5) | (torch.where(nearer, fa, fb) == 0) | (a == b)
        if bool(done.all()):
            break
        xi, phi = (a - b) / (c - b), (fa - fb) / (fc - fb)
        smooth = (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
        quadratic = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        ratio = torch.where(smooth, quadratic, 0.5)
        ratio = torch.minimum(torch.maximum(ratio, least), 1 - least)
    return found
