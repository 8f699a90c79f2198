"""Bottleneck residual networks for ImageNet shapes under any scheme."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..fields import FieldError
from ..scheme import Scheme
from ..scheme.given_numbers import integer
from ..zoo import as_scheme
from .blocks import EXPANSION, bottleneck
from .staged import Stage, staged_network, unseeded

#: layers per stage of ResNet-50, -101, -152 (He et al. 2016)
LAYERS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def imagenet_resnet(
    depth: int = 50,
    scheme: Scheme | str = "euler",
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    h: float = 1.0,
    per_channel: bool = False,
) -> nn.Sequential:
    """Pre-activation bottleneck ResNet-50, -101 or -152 (He et al. 2016) under any scheme; "lm" is LM-ResNet.

    A 7x7 convolution of stride 2 and 3x3 max-pooling to 64 channels, four stages of inner widths
    64, 128, 256, 512 with expansion 4; images of shape (batch, in_channels, height, width), such
    as 224 x 224. Other arguments and errors as for :func:`odenets.models.cifar_resnet`.
    """
    depth = integer(depth, "depth", error=FieldError)
    in_channels = integer(in_channels, "in_channels", error=FieldError)
    if depth not in LAYERS:
        raise FieldError(f"depth: got {depth!r}, expected one of {sorted(LAYERS)}")
    solver = as_scheme(scheme)
    widths = (64, 128, 256, 512)
    stages = [
        Stage(n, width, width * EXPANSION, 1 if i == 0 else 2)
        for i, (n, width) in enumerate(zip(LAYERS[depth], widths, strict=True))
    ]
    options: dict[str, Any] = {"num_classes": num_classes, "h": h, "per_channel": per_channel}

    def stem() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )

    return unseeded(lambda: staged_network(stem(), 64, stages, bottleneck, solver, **options))
