"""Residual functions f_n and the other parts networks are made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..net import ODENet

EXPANSION = 4
#: (channels in, width of the stage, channels out, stride) -> f_n
Residual = Callable[[int, int, int, int], nn.Module]


def preactivated(channels: int, out: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """BN-ReLU-conv."""
    conv = nn.Conv2d(channels, out, size, stride=stride, padding=size // 2, groups=groups, bias=False)
    return [nn.BatchNorm2d(channels), nn.ReLU(), conv]


def basic(channels: int, width: int, out: int, stride: int) -> nn.Module:
    """BN-ReLU-conv3-BN-ReLU-conv3 (He et al. 2016), of width ``out``."""
    return nn.Sequential(*preactivated(channels, out, 3, stride), *preactivated(out, out, 3))


def bottleneck(channels: int, width: int, out: int, stride: int, groups: int = 1) -> nn.Module:
    """1-3-1 with the 3x3 convolution ``width`` wide (He et al. 2016); grouped in ResNeXt (Xie et al. 2017)."""
    return nn.Sequential(
        *preactivated(channels, width, 1),
        *preactivated(width, width, 3, stride, groups),
        *preactivated(width, out, 1),
    )


def shortcut(channels: int, out: int, stride: int) -> nn.Module | None:
    """P = BN-ReLU-conv1(stride) of a layer that changes the shape (Lu et al. 2018), else None."""
    if channels == out and stride == 1:
        return None
    return nn.Sequential(*preactivated(channels, out, 1, stride))


class GlobalAverage(nn.Module):
    """Mean over height and width: (B, C, H, W) -> (B, C). Its gradient is deterministic on every device."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each channel."""
        return x.mean((2, 3))


class Symmetric(nn.Module):
    """f(y) = sign K^T sigma(K y + b), K a 3x3 convolution: the gradient of an energy, so its Jacobian is symmetric.

    Two of them, with signs + and -, make a Hamiltonian system (Chang et al. 2018). sigma is ReLU.

    Args:
        channels: of y; K keeps their number.
        sign: 1 or -1.
    """

    def __init__(self, channels: int, sign: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.sign = sign

    def forward(self, y: Tensor) -> Tensor:
        """Sign K^T relu(K y + b)."""
        value = functional.conv_transpose2d(torch.relu(self.conv(y)), self.conv.weight, padding=1)
        return value if self.sign > 0 else -value


class Antisymmetric(nn.Module):
    """f(y) = tanh((K - K^T - gamma I) y / 2 + b), a field whose eigenvalues lie near the imaginary axis.

    Args:
        features: size of y's last dimension.
        gamma: shift to the left, at least 0.

    Source: Haber & Ruthotto (2017), Stable Architectures for Deep Neural Networks.
    """

    def __init__(self, features: int, gamma: float = 0.0) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.gamma = float(gamma)

    def forward(self, y: Tensor) -> Tensor:
        """tanh((K - K^T - gamma I) y / 2 + b)."""
        weight = 0.5 * (self.linear.weight - self.linear.weight.T)
        return torch.tanh(functional.linear(y, weight, self.linear.bias) - 0.5 * self.gamma * y)


class GatedRK2(nn.Module):
    """The block of the ODE Transformer: g F1 + (1 - g) F2, F1 = f(u), F2 = f(u + F1), g = sigmoid(W [F1, F2] + b).

    The gate depends on the input, so this is a residual function, to be run under "euler"; with g one
    learned number per layer it is the scheme "gated_rk2".

    Args:
        function: f, mapping the state's shape to itself.
        features: size of the dimension that the gate looks along.
        dim: that dimension: -1 for sequences of features, 1 for images.

    Source: Li et al. (2022), ODE Transformer.
    """

    def __init__(self, function: nn.Module, features: int, dim: int = -1) -> None:
        super().__init__()
        self.function, self.dim = function, dim
        self.gate = nn.Linear(2 * features, 1)

    def forward(self, u: Tensor) -> Tensor:
        """The gated mean of both slopes; one gate for each place, shared by the features."""
        first = self.function(u)
        second = self.function(u + first)
        both = torch.cat([first, second], self.dim).movedim(self.dim, -1)
        return torch.lerp(second, first, torch.sigmoid(self.gate(both)).movedim(-1, self.dim))


def initialise(model: nn.Module) -> None:
    """Convolutions N(0, sqrt(2 / (k^2 C_out))), linear as torch does; learnable coefficients last."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            module.reset_parameters()
    for module in model.modules():
        if isinstance(module, ODENet):
            module.reset_coefficients()
