"""Random residual functions: a network that is a weak approximation of a stochastic differential equation.

Each draws its noise once a step, so that a step of any scheme sees one realisation at all its
stages, and composes with every scheme. LM with stochastic depth drops f and never the momentum
(1 - k) u_n + k u_{n-1}, as in Lu et al. (2018), section 4. In evaluation the mean field is used.

The equations named below are Ito's for schemes that evaluate f at u_n alone (euler, lm,
Adams-Bashforth). A Runge-Kutta scheme of several stages sees one realisation of the noise at all
of them, as an ordinary equation driven by it would, and has the Stratonovich equation as its limit
(Wong & Zakai 1965): for noise b(X) dB a drift b'b/2 more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..program import Evaluate
from ..scheme.given_numbers import integer, real
from .errors import FieldError
from .field import Field, Noise
from .layers import Layers

IN_UNIT = "a probability in (0, 1]"


def survival_schedule(layers: int, last: float) -> list[float]:
    """Survival probabilities of the paper: layer l = 1 ... L is dropped with probability (l/L)(1 - p_L).

    ``last`` is p_L: 0.8 at depth 56, 0.5 at depth 110 (Lu et al. 2018, after Huang et al. 2016).
    """
    layers, last = integer(layers, "survival: layers", error=FieldError), probability(last, "survival: p_L")
    return [1 - (n + 1) / layers * (1 - last) for n in range(layers)]


def probability(value: Any, what: str) -> float:
    """A probability in (0, 1], or FieldError."""
    found = real(value, what, FieldError, IN_UNIT)
    if not 0 < found <= 1:
        raise FieldError(f"{what}: got {value!r}, expected {IN_UNIT}")
    return found


class RandomLayers(Field):
    """Layers whose value is changed at random in training; the subclasses are the ways to do it."""

    fixed = Field.fixed | {"layers"}
    layers: Layers

    def __init__(self, blocks: Iterable[nn.Module | Sequence[nn.Module]]) -> None:
        super().__init__()
        self.layers = Layers(blocks)
        self.steps = self.layers.steps

    def renewed(self) -> RandomLayers:
        """As of a field, and of the layers in it."""
        own = super().renewed()
        assert isinstance(own, RandomLayers)
        own._modules["layers"] = self.layers.renewed()
        return own

    def learn_step(self, h: Tensor) -> None:
        """Refuse it: what is drawn depends on h, too."""
        raise FieldError(
            f"h: got a tensor that is to be learned with {type(self).__name__}, whose noise is scaled by h when it is "
            "drawn, expected a number"
        )

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """As :meth:`Layers.prepare`."""
        self.layers.prepare(visits)

    def ready(self) -> None:
        """As :meth:`Layers.ready`."""
        self.layers.ready()

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """As :meth:`Layers.uses`."""
        return [(f"layers.{path}", module) for path, module in self.layers.uses(n, what)]


class StochasticDepth(RandomLayers):
    """Drop f_n with probability 1 - p_n, and divide what is kept by p_n.

    f is multiplied by m = 1 + (eta/p - 1)/sqrt(h), eta ~ Bernoulli(p): eta/p for a network's
    h = 1, and for h -> 0 the weak approximation of dX = f dt + sqrt((1-p)/p) f dB.

    Args:
        blocks: as for ODENet.
        survival: p_n of each layer, in (0, 1]; see :func:`survival_schedule`.
        per_sample: one coin for each sample instead of one for the mini-batch (the paper's).

    A dropped layer is computed all the same and multiplied by 0: no host synchronisation, every
    parameter has a gradient, and the graph does not depend on the coin.
    """

    def __init__(
        self, blocks: Iterable[nn.Module | Sequence[nn.Module]], survival: Sequence[float], per_sample: bool = False
    ) -> None:
        super().__init__(blocks)
        self.survival, self.per_sample = tuple(probability(p, "survival") for p in survival), per_sample
        if len(self.survival) != self.steps:
            raise FieldError(
                f"survival: got {self.survival}, expected one probability in (0, 1] for each of the {self.steps} layers"
            )

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """The factor m of this step; nothing in evaluation."""
        p = self.survival[n]
        if not self.training or p == 1:
            return ()
        shape = (u.shape[0], *[1] * (u.dim() - 1)) if self.per_sample else ()
        coin = torch.bernoulli(u.new_full(shape, p))
        return (1 + (coin / p - 1) / math.sqrt(abs(h)),)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """The layer's value times m."""
        value = self.layers.evaluate(n, what, x)
        return value * noise[0] if noise else value


class ShakeShake(RandomLayers):
    """eta f_n + (1 - eta) g_n with eta ~ U(0, 1): weakly dX = (f+g)/2 dt + (f-g)/sqrt(12) dB.

    Args:
        branches: for each layer two modules (f_n, g_n).
        forward, backward: "shake" draws a weight of its own, "even" takes 1/2; ``backward="keep"``
            takes that of the forward pass (Gastaldi 2017).
        per_sample: one weight for each sample (the original) instead of one for the mini-batch.

    For h other than 1 the deviation from 1/2 is divided by sqrt(h), as the equation asks.
    """

    def __init__(
        self,
        branches: Iterable[Sequence[nn.Module]],
        forward: str = "shake",
        backward: str = "shake",
        per_sample: bool = True,
    ) -> None:
        pairs = [tuple(pair) for pair in branches]
        if wrong := sorted({len(pair) for pair in pairs} - {2}):
            raise FieldError(f"ShakeShake: got layers of {wrong} modules, expected two branches in each")
        super().__init__([Branches(*pair) for pair in pairs])
        if forward not in {"shake", "even"} or backward not in {"shake", "keep", "even"}:
            raise FieldError(
                f"ShakeShake: got forward={forward!r}, backward={backward!r}, expected forward 'shake' or 'even' "
                "and backward 'shake', 'keep' or 'even'"
            )
        self.rules, self.per_sample = (forward, backward), per_sample

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """The weights of f_n in the forward and in the backward pass; nothing in evaluation."""
        if not self.training:
            return ()
        shape = (u.shape[0], *[1] * (u.dim() - 1)) if self.per_sample else ()
        forward = self._weight(self.rules[0], u, shape, h)
        backward = forward if self.rules[1] == "keep" else self._weight(self.rules[1], u, shape, h)
        return forward, backward

    @staticmethod
    def _weight(rule: str, u: Tensor, shape: tuple[int, ...], h: float) -> Tensor:
        if rule == "even":
            return u.new_full(shape, 0.5)
        return 0.5 + (torch.rand(shape, dtype=u.dtype, device=u.device) - 0.5) / math.sqrt(abs(h))

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """The mixture eta f_n(x) + (1 - eta) g_n(x), with another eta in the gradient."""
        both = self.layers.evaluate(n, what, x)
        f, g = both.unbind(0)
        if not noise:
            return 0.5 * (f + g)
        forward, backward = noise
        mixed = torch.lerp(g, f, backward.to(g.dtype))
        if forward is backward:
            return mixed
        # The value is that of the forward weight; the difference carries no gradient.
        return mixed + ((forward - backward) * (f - g)).detach()


class Branches(nn.Module):
    """Two functions of one input, stacked: x -> (f(x), g(x)), shape (2, *x.shape)."""

    def __init__(self, f: nn.Module, g: nn.Module) -> None:
        super().__init__()
        self.f, self.g = f, g

    def forward(self, x: Tensor) -> Tensor:
        """Both values."""
        return torch.stack([self.f(x), self.g(x)])


class AdditiveNoise(RandomLayers):
    """f_n(x) + sigma eps / sqrt(h), eps ~ N(0, 1): weakly dX = f dt + sigma dB. Noise in training only."""

    def __init__(self, blocks: Iterable[nn.Module | Sequence[nn.Module]], sigma: float) -> None:
        super().__init__(blocks)
        self.sigma = real(sigma, "sigma", FieldError)
        if self.sigma < 0:
            raise FieldError(f"sigma: got {sigma}, expected a finite number of at least 0")

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """The noise sigma eps / sqrt(h), of the state's shape; nothing in evaluation."""
        return (torch.randn_like(u) * (self.sigma / math.sqrt(abs(h))),) if self.training and self.sigma else ()

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """f_n(x) + sigma eps / sqrt(h)."""
        value = self.layers.evaluate(n, what, x)
        if not noise:
            return value
        # The functions of a partitioned scheme take parts of the state, and each has noise of its own.
        parts = noise[0].chunk(noise[0].shape[1] // x.shape[1], 1) if noise[0].shape != x.shape else noise
        return value + parts[what.module % len(parts)]
