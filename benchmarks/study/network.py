"""The network of a run and its optimizer: where the treatment of learnable coefficients is carried out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import odenets

from ..common.errors import ConfigError
from ..data.dataset import Dataset
from .config import DECAYED, TRAINED, RunConfig

#: The families of networks that a study can name; each is called with a depth, a scheme and keywords.
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "cifar_resnet": odenets.models.cifar_resnet,
    "cifar_resnext_8x64d": partial(odenets.models.cifar_resnext, cardinality=8, width=64),
    "cifar_resnext_16x64d": partial(odenets.models.cifar_resnext, cardinality=16, width=64),
    "imagenet_resnet": odenets.models.imagenet_resnet,
}
#: Those that can drop layers at random.
STOCHASTIC = ("cifar_resnet",)


def build_model(config: RunConfig, data: Dataset | None = None) -> nn.Module:
    """The untrained network of a run, drawn from torch's global generator.

    Without data it has the network's own classes and channels: enough to count evaluations.

    Raises:
        FieldError: no network has that depth. UnknownSchemeError: no scheme has that name.
        SchemeError: no such gradient, or none that this scheme has.
        ConfigError: no such network, or one that cannot do what the run asks of it.
    """
    if config.network not in NETWORKS:
        raise ConfigError(f"network: got {config.network!r}, expected one of {', '.join(NETWORKS)}")
    options: dict[str, Any] = {"per_channel": config.per_channel}
    if data is not None:
        options |= {"num_classes": data.num_classes, "in_channels": data.in_channels}
    if config.survival != 1:
        if config.network not in STOCHASTIC:
            raise ConfigError(f"survival: got {config.survival}, expected 1: {config.network} keeps all layers")
        options["survival"] = config.survival
    model = NETWORKS[config.network](config.depth, scheme_of(config), **options)
    if config.gradient != "direct":
        odenets.set_gradient(model, config.gradient)
    return model


def moving_average(config: RunConfig, model: nn.Module) -> AveragedModel | None:
    """The exponential moving average of all weights and buffers, to be updated after each step; None without one.

    Of the buffers too: the running statistics of BatchNorm belong to the weights that they were gathered under.
    """
    if not config.ema:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)


def update_average(average: AveragedModel, model: nn.Module, *, first: bool) -> None:
    """As ``average.update_parameters(model)``, but for its counter ``n_averaged``; the ``first`` update is a copy.

    That one reads its counter, and copies it to the device at every step: it waits for the device each time.
    """
    own = [tensor.detach() for tensor in chain(average.module.parameters(), average.module.buffers())]
    new = [tensor.detach() for tensor in chain(model.parameters(), model.buffers())]
    for floating in (True, False):
        pairs = [(a, b) for a, b in zip(own, new, strict=True) if a.is_floating_point() == floating]
        if pairs and first:
            torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
        elif pairs:
            average.multi_avg_fn(*map(list, zip(*pairs, strict=True)), None)


def scheme_of(config: RunConfig) -> odenets.Scheme:
    """The scheme of a run: with numbers in the place of its coefficients where they are fixed.

    Fixed, they are entries like any other: no parameter that an optimizer must be kept from, and at 0 lm computes
    what euler does.
    """
    scheme = odenets.as_scheme(config.scheme)
    if config.coefficients != TRAINED and not scheme.symbols:
        raise ConfigError(
            f"coefficients: got {config.coefficients!r} for {config.scheme}, which has none; expected {TRAINED!r}"
        )
    return scheme if config.fixed is None else scheme.substitute({str(s): config.fixed for s in scheme.symbols})


def sgd(model: nn.Module, config: RunConfig) -> torch.optim.SGD:
    """SGD with momentum over a model, its learnable coefficients c decayed only where the run asks for it.

    weight_decay * (c - target) then joins their gradient: the optimizer adds weight_decay * c, and the rest is a
    constant that is subtracted before its step. Once a step, and not by a hook of each gradient, which some ways to a
    gradient add up from parts.
    """
    groups = odenets.parameter_groups(model, config.weight_decay)
    optimizer = torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, foreach=True)
    target = DECAYED.get(str(config.coefficients))
    for group in optimizer.param_groups:
        if target is not None and group["name"] == "coefficients":
            group["weight_decay"] = config.weight_decay
            optimizer.register_step_pre_hook(partial(_shift_gradients, group["params"], -config.weight_decay * target))
    return optimizer


def _shift_gradients(parameters: list[nn.Parameter], by: float, *_: Any) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.add_(by)
