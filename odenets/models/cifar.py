"""Residual networks for CIFAR under any scheme."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from ..fields import Field, FieldError, ShakeShake, StochasticDepth, survival_schedule
from ..scheme import Scheme
from ..scheme.given_numbers import integer
from ..zoo import as_scheme
from .blocks import EXPANSION, Symmetric, basic, bottleneck
from .staged import Stage, staged_network, unseeded

WIDTHS = (16, 32, 64)
#: from this depth on the paper's networks are built of bottleneck blocks
BOTTLENECK_DEPTH = 164


def cifar_resnet(
    depth: int,
    scheme: Scheme | str = "euler",
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    h: float = 1.0,
    per_channel: bool = False,
    survival: float = 1.0,
) -> nn.Sequential:
    """The pre-activation network of He et al. (2016) as Lu et al. (2018) train it, under any scheme.

    A bare 3x3 convolution to 16 channels; three stages of widths 16, 32, 64 and n layers each, an
    :class:`ODENet` apiece; BN-ReLU, global average, linear. f_n is BN-ReLU-conv3-BN-ReLU-conv3
    (depth 6n + 2), from depth 164 on the bottleneck 1-3-1 with expansion 4 (depth 9n + 2), nothing
    after the sum. A stage that changes the shape begins with f(u) + P(u),
    P = BN-ReLU-conv1(stride), and seeds the history with P(u); the very first layer of the network
    is a starting step too, so LM acts in all layers but three.

    The scheme makes the network: "euler" ResNet, "lm" LM-ResNet, "poly2", "mpoly2", "way2" PolyNet,
    "fractal2" FractalNet, "symplectic_euler" RevNet (f and g on the halves of the channels),
    "momentum" Momentum ResNet, "rk4" RKNet.

    Args:
        depth: 6n + 2 with n >= 1; from 164 on 9n + 2.
        scheme: a Scheme or a name of the zoo.
        num_classes: outputs.
        in_channels: channels of the images, of shape (batch, in_channels, height, width).
        h: step size of all layers.
        per_channel: one learnable coefficient per channel instead of one per layer.
        survival: p_L of stochastic depth, 1 for none; the paper's is 0.8 at depth 56, 0.5 at 110.

    Weights are drawn from torch's generator in an order that does not depend on the scheme: with
    one seed, all schemes with one function a step start from the same convolutions.

    Raises:
        FieldError: a depth that no network of this family has, a survival probability outside (0, 1].
        SchemeError: an unknown scheme.
    """
    solver = as_scheme(scheme)
    n, deep = _layers_per_stage(depth)
    out = EXPANSION if deep else 1
    stages = [Stage(n, width, width * out, 1 if i == 0 else 2) for i, width in enumerate(WIDTHS)]
    stem = partial(first_convolution, in_channels, WIDTHS[0])
    options: dict[str, Any] = {"num_classes": num_classes, "h": h, "per_channel": per_channel}
    wrap = None if survival == 1 else partial(_stochastic_depth, survival)
    return unseeded(
        lambda: staged_network(stem(), WIDTHS[0], stages, bottleneck if deep else basic, solver, wrap=wrap, **options)
    )


def cifar_resnext(
    depth: int = 29,
    scheme: Scheme | str = "euler",
    *,
    cardinality: int = 8,
    width: int = 64,
    num_classes: int = 10,
    in_channels: int = 3,
    h: float = 1.0,
    per_channel: bool = False,
) -> nn.Sequential:
    """ResNeXt for CIFAR (Xie et al. 2017), pre-activation, under any scheme; "lm" is LM-ResNeXt.

    A 3x3 convolution to 64 channels, three stages of 256, 512, 1024 channels with n bottlenecks
    whose 3x3 convolution has ``cardinality`` groups, ``width`` channels each in the first stage.
    Arguments and errors as for :func:`cifar_resnet`; depth is 9n + 2 (29: n = 3).
    """
    solver = as_scheme(scheme)
    n = _exact_layers(depth, 9, "bottleneck")
    cardinality = integer(cardinality, "cardinality", error=FieldError)
    inner = cardinality * integer(width, "width", error=FieldError)
    stages = [Stage(n, inner * 2**i, 256 * 2**i, 1 if i == 0 else 2) for i in range(3)]
    stem = partial(first_convolution, in_channels, 64)
    options: dict[str, Any] = {"num_classes": num_classes, "h": h, "per_channel": per_channel}
    residual = partial(bottleneck, groups=cardinality)
    return unseeded(lambda: staged_network(stem(), 64, stages, residual, solver, **options))


def shake_shake(
    depth: int = 26,
    scheme: Scheme | str = "euler",
    *,
    base: int = 32,
    num_classes: int = 10,
    in_channels: int = 3,
    forward: str = "shake",
    backward: str = "shake",
) -> nn.Sequential:
    """Shake-shake regularisation (Gastaldi 2017): two branches a layer, mixed at random, under any scheme.

    Widths base, 2 base, 4 base ("26 2 x 32d": depth 26, base 32). ``forward`` and ``backward`` as
    for :class:`odenets.ShakeShake`; depth 6n + 2; errors as for :func:`cifar_resnet`.
    """
    solver = as_scheme(scheme)
    n, base = _exact_layers(depth, 6, "basic"), integer(base, "base", error=FieldError)
    stages = [Stage(n, base * 2**i, base * 2**i, 1 if i == 0 else 2) for i in range(3)]
    stem = partial(first_convolution, in_channels, 16)

    def wrap(layers: list[list[nn.Module]], first: int, total: int) -> Field:
        return ShakeShake(layers, forward, backward)

    return unseeded(
        lambda: staged_network(stem(), 16, stages, basic, solver, num_classes=num_classes, wrap=wrap, branches=2)
    )


def hamiltonian_net(
    depth: int,
    scheme: Scheme | str = "symplectic_euler",
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    h: float = 1.0,
) -> nn.Sequential:
    """Hamiltonian network (Chang et al. 2018): Y+ = Y + h K1^T s(K1 Z + b1), Z+ = Z - h K2^T s(K2 Y+ + b2).

    The halves Y, Z of the channels are the components; "symplectic_euler" is the published step,
    "verlet" and "yoshida4" are the higher orders. Depth 6n + 2 (two convolutions a layer), widths
    32, 64, 128; errors as for :func:`cifar_resnet`.

    Raises:
        FieldError: a scheme that does not treat two halves of the state apart.
    """
    solver = as_scheme(scheme)
    if solver.components != 2:
        raise FieldError(f"hamiltonian_net: got {solver.name!r}, expected a partitioned scheme such as 'verlet'")
    n = _exact_layers(depth, 6, "Hamiltonian")
    stages = [Stage(n, 2 * width, 2 * width, 1 if i == 0 else 2) for i, width in enumerate(WIDTHS)]
    stem = partial(first_convolution, in_channels, 2 * WIDTHS[0])
    signs = iter((1, -1) * (3 * n))

    def residual(channels: int, width: int, out: int, stride: int) -> nn.Module:
        if channels != out or stride != 1:
            return basic(channels, width, out, stride)
        return Symmetric(channels, next(signs))

    options: dict[str, Any] = {"num_classes": num_classes, "h": h}
    return unseeded(lambda: staged_network(stem(), 2 * WIDTHS[0], stages, residual, solver, **options))


def first_convolution(in_channels: int, channels: int) -> nn.Conv2d:
    """The 3x3 convolution that the networks begin with."""
    return nn.Conv2d(integer(in_channels, "in_channels", error=FieldError), channels, 3, padding=1, bias=False)


def _stochastic_depth(last: float, layers: list[list[nn.Module]], first: int, total: int) -> Field:
    return StochasticDepth(layers, survival_schedule(total, last)[first : first + len(layers)])


def _layers_per_stage(depth: int) -> tuple[int, bool]:
    """(n, whether the layers are bottlenecks) of a network of the given depth."""
    depth = integer(depth, "depth", error=FieldError)
    deep = depth >= BOTTLENECK_DEPTH
    return _exact_layers(depth, 9 if deep else 6, "bottleneck" if deep else "basic"), deep


def _exact_layers(depth: int, unit: int, what: str) -> int:
    """The n of depth = unit n + 2; FieldError naming the nearest depths otherwise."""
    depth = integer(depth, "depth", error=FieldError)
    n, rest = divmod(depth - 2, unit)
    if n < 1 or rest:
        below = max(depth - 2, unit) // unit * unit + 2
        raise FieldError(
            f"depth: got {depth}, expected {unit}n + 2 ({what} blocks, three stages of n layers), "
            f"such as {below} or {below + unit}"
        )
    return n
