"""Networks in stages: a stem, one ODENet per width, a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..fields import Field, FieldError
from ..net import ODENet
from ..scheme import Scheme
from ..scheme.given_numbers import integer
from .blocks import GlobalAverage, Residual, initialise, shortcut

#: (layers of a stage, number of its first layer in the network, of all) -> the field made of them
Wrap = Callable[[list[list[nn.Module]], int, int], Field]


@dataclass(frozen=True)
class Stage:
    """One stage: so many layers, the width inside them, the channels of the state, the first layer's stride."""

    layers: int
    width: int
    channels: int
    stride: int


def staged_network(
    stem: nn.Module,
    channels: int,
    stages: Sequence[Stage],
    residual: Residual,
    scheme: Scheme,
    *,
    num_classes: int,
    h: float = 1.0,
    per_channel: bool = False,
    wrap: Wrap | None = None,
    branches: int = 1,
) -> nn.Sequential:
    """Assemble and initialise a network; call it inside :func:`unseeded`.

    A scheme that evaluates several functions a step gets as many modules per layer; under a
    partitioned one they act on their part of the channels. A layer that changes the shape is one
    function of the whole state, f(u) + P(u). ``branches`` functions are made for each that the
    scheme evaluates, and ``wrap`` makes a field of the lists of modules (default: Layers).

    Raises:
        FieldError: channels that the components of the scheme cannot share equally.
    """
    model = nn.Sequential()
    model.add_module("stem", stem)
    total, first = sum(stage.layers for stage in stages), 0
    for i, stage in enumerate(stages):
        if stage.channels % scheme.components:
            raise FieldError(
                f"{scheme.name}: got {stage.channels} channels, expected a multiple of {scheme.components}"
            )
        project = shortcut(channels, stage.channels, stage.stride)
        blocks = _layers(stage, channels, residual, scheme, changes=project is not None, branches=branches)
        field = wrap(blocks, first, total) if wrap else blocks
        shape = (stage.channels // scheme.components, 1, 1) if per_channel else ()
        model.add_module(f"stage{i + 1}", ODENet(field, scheme, h=h, shortcut=project, coefficient_shape=shape))
        channels, first = stage.channels, first + stage.layers
    model.add_module("head", nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), GlobalAverage()))
    model.add_module("classifier", nn.Linear(channels, integer(num_classes, "num_classes", error=FieldError)))
    return model


def _layers(
    stage: Stage, channels: int, residual: Residual, scheme: Scheme, *, changes: bool, branches: int
) -> list[list[nn.Module]]:
    """The modules of each layer."""
    part, width = stage.channels // scheme.components, stage.width // scheme.components
    modules = (max(scheme.modules) + 1) * branches
    blocks = [[residual(part, width, part, 1) for _ in range(modules)] for _ in range(stage.layers - changes)]
    if not changes:
        return blocks
    return [[residual(channels, stage.width, stage.channels, stage.stride) for _ in range(branches)], *blocks]


def unseeded(build: Callable[[], nn.Sequential]) -> nn.Sequential:
    """Build a network without using up random numbers, then draw its weights.

    Module constructors draw weights that are drawn again; what they consume must not count, so
    that with one seed all schemes start from the same convolutions.
    """
    with torch.random.fork_rng(devices=[]):
        model = build()
    initialise(model)
    return model
