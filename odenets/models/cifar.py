"""The pre-activation residual network for CIFAR, under any scheme."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..errors import FieldError
from ..net import ODENet
from ..scheme import Scheme
from ..zoo import as_scheme

STEM = 16
WIDTHS = (16, 32, 64)
EXPANSION = 4
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
) -> nn.Sequential:
    """The pre-activation network of He et al. (2016) as Lu et al. (2018) train it, under any scheme.

    A bare 3x3 convolution to 16 channels; three stages of widths 16, 32, 64 and n layers each, an
    :class:`ODENet` apiece; BN-ReLU, global average, linear. f_n is BN-ReLU-conv3-BN-ReLU-conv3
    (depth 6n + 2), from depth 164 on the bottleneck 1-3-1 with expansion 4 (depth 9n + 2), nothing
    after the sum. A stage that changes the shape begins with f(u) + P(u),
    P = BN-ReLU-conv1(stride), and seeds the history with P(u); the very first layer of the network
    is a starting step too, so LM acts in all layers but three.

    Args:
        depth: 6n + 2 with n >= 1; from 164 on 9n + 2.
        scheme: a Scheme or a name of the zoo ("euler" is the ResNet, "lm" the LM-ResNet).
        num_classes: outputs.
        in_channels: channels of the images, of shape (batch, in_channels, height, width).
        h: step size of all layers.
        per_channel: one learnable coefficient per channel instead of one per layer.

    Weights are drawn from torch's generator in an order that does not depend on the scheme: with
    one seed, all schemes start from the same convolutions.

    Raises:
        FieldError: a depth that no network of this family has.
        SchemeError: an unknown or implicit scheme.
    """
    solver = as_scheme(scheme)
    layers, bottleneck = _layers_per_stage(depth)
    residual = _bottleneck if bottleneck else _basic
    expansion = EXPANSION if bottleneck else 1
    # Module constructors draw weights that are drawn again below; what they consume must not count.
    with torch.random.fork_rng(devices=[]):
        stages, channels = [], STEM
        for i, width in enumerate(WIDTHS):
            stride = 2 if i > 0 else 1
            out = width * expansion
            blocks = [residual(out if n else channels, width, 1 if n else stride) for n in range(layers)]
            shortcut = _shortcut(channels, out, stride)
            shape = (out, 1, 1) if per_channel else ()
            stages.append(ODENet(blocks, solver, h=h, shortcut=shortcut, coefficient_shape=shape))
            channels = out
        model = nn.Sequential()
        model.add_module("stem", nn.Conv2d(in_channels, STEM, 3, padding=1, bias=False))
        for i, stage in enumerate(stages):
            model.add_module(f"stage{i + 1}", stage)
        model.add_module("head", nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), GlobalAverage()))
        model.add_module("classifier", nn.Linear(channels, num_classes))
    _initialise(model)
    return model


class GlobalAverage(nn.Module):
    """Mean over height and width: (B, C, H, W) -> (B, C). Its gradient is deterministic on every device."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each channel."""
        return x.mean((2, 3))


def _layers_per_stage(depth: int) -> tuple[int, bool]:
    """(n, whether the layers are bottlenecks) of a network of the given depth."""
    if isinstance(depth, bool) or not isinstance(depth, int):
        raise FieldError(f"depth: got {depth!r}, expected an integer")
    bottleneck = depth >= BOTTLENECK_DEPTH
    unit = 9 if bottleneck else 6
    n, rest = divmod(depth - 2, unit)
    if n < 1 or rest:
        below = max(depth - 2, unit) // unit * unit + 2
        raise FieldError(
            f"depth: got {depth}, expected {unit}n + 2 ({'bottleneck' if bottleneck else 'basic'} blocks, "
            f"three stages of n layers), such as {below} or {below + unit}"
        )
    return n, bottleneck


def _shortcut(channels: int, out: int, stride: int) -> nn.Module | None:
    """P of a first layer that changes the shape, else None."""
    if channels == out and stride == 1:
        return None
    return nn.Sequential(*_preactivated(channels, out, 1, stride))


def _preactivated(channels: int, out: int, size: int, stride: int = 1) -> list[nn.Module]:
    """BN-ReLU-conv."""
    conv = nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, bias=False)
    return [nn.BatchNorm2d(channels), nn.ReLU(), conv]


def _basic(channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(*_preactivated(channels, width, 3, stride), *_preactivated(width, width, 3))


def _bottleneck(channels: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(
        *_preactivated(channels, width, 1),
        *_preactivated(width, width, 3, stride),
        *_preactivated(width, width * EXPANSION, 1),
    )


def _initialise(model: nn.Module) -> None:
    """Convolutions N(0, sqrt(2 / (k^2 C_out))), linear as torch does; coefficients last."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, ODENet):
            module.reset_coefficients()
