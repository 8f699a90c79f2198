"""The networks whose memory and time are measured: ours, and those of the peers that are installed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from odenets import Checkpoint, ODENet, Scheme, mccallum_foster
from odenets.analysis.cli import shared_options

from ..common.errors import ConfigError

DIRECT, REVERSIBLE = "direct", "reversible"
WAYS = (DIRECT, "checkpoint", "checkpoint:4", REVERSIBLE)
OURS = "odenets"
#: Prefix of a one-step scheme that is to be made reversible.
MADE_REVERSIBLE = "mccallum_foster:"


@dataclass(frozen=True)
class Network:
    """One network and one way to its gradient.

    Args:
        library: whose code runs it.
        scheme: as ``scheme_of`` takes it, "mccallum_foster:" before a one-step scheme; a peer has one scheme only.
        way: "direct", "checkpoint", "checkpoint:<states>" or "reversible".
        depth, h: layers and their step size.
        channels, size, batch: of the state, square images.
    """

    library: str
    scheme: str
    way: str
    depth: int
    h: float
    channels: int
    size: int
    batch: int

    @property
    def state_bytes(self) -> int:
        """Bytes of one state, float32."""
        return 4 * self.batch * self.channels * self.size**2

    @property
    def direct(self) -> Network:
        """The same network with backpropagation through everything."""
        return replace(self, way=DIRECT)

    def images(self) -> Tensor:
        """The input, the same at each call."""
        random = torch.Generator().manual_seed(1)
        return torch.randn(self.batch, self.channels, self.size, self.size, generator=random)

    def build(self) -> nn.Module:
        """The network, with the same weights at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return BUILDERS[self.library](self)


#: What a peer computes, as a scheme of ours; the momentum is 9/10 in both.
PEERS = {"memcnn": ("symplectic_euler", 1.0), "momentumnet": ("momentum", 1.0)}


def block(channels: int) -> nn.Module:
    """The residual function: smooth, two convolutions, no statistics."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 3, padding=1)
    )


def scheme_of(name: str) -> Scheme:
    """The scheme of a name, MODULE:NAME or FILE.py:NAME; UnknownSchemeError or SchemeError for one that is none."""
    base = name.removeprefix(MADE_REVERSIBLE)
    scheme = shared_options.scheme_of(base)
    return scheme if base == name else mccallum_foster(scheme)


def gradient_of(way: str) -> str | Checkpoint:
    """The ``gradient`` of an ODENet; ConfigError for a number that is none."""
    name, colon, number = way.partition(":")
    if not colon:
        return way
    if name != "checkpoint" or not number.isdecimal():
        raise ConfigError(f"--ways: got {way!r}, expected one of {', '.join(WAYS)}, with any number for the 4")
    return Checkpoint(int(number))


def _odenets(network: Network) -> nn.Module:
    scheme = scheme_of(network.scheme)
    width = network.channels // scheme.components
    modules = max(scheme.modules) + 1
    layers = [[block(width) for _ in range(modules)] for _ in range(network.depth)]
    blocks: Any = layers if modules > 1 else [layer[0] for layer in layers]
    return ODENet(blocks, scheme, h=network.h, gradient=gradient_of(network.way))


def _memcnn(network: Network) -> nn.Module:
    memcnn = peer("memcnn")
    half = network.channels // 2
    pairs = [[block(half) for _ in range(2)] for _ in range(network.depth)]
    couplings = [memcnn.AdditiveCoupling(f, g) for f, g in pairs]
    plain = network.way == DIRECT
    return nn.Sequential(*[memcnn.InvertibleModuleWrapper(c, keep_input=False, disable=plain) for c in couplings])


def _momentumnet(network: Network) -> nn.Module:
    blocks = [block(network.channels) for _ in range(network.depth)]
    return peer("momentumnet").MomentumNet(blocks, gamma=0.9, use_backprop=network.way == DIRECT)


BUILDERS: dict[str, Callable[[Network], nn.Module]] = {
    OURS: _odenets,
    "memcnn": _memcnn,
    "momentumnet": _momentumnet,
}


def peer(name: str) -> Any:
    """The module of a peer; ImportError and its like where it does not work here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own age
        return importlib.import_module(name)


def peer_version(name: str) -> str | None:
    """The version of a peer that is installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def why_not(name: str) -> str | None:
    """Why a peer cannot be measured; None where it can."""
    try:
        peer(name)
    except Exception as error:  # it is not our code: whatever it raises is the row's text
        return f"{type(error).__name__}: {error}"
    return None
