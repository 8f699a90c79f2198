"""Single passes: their outputs, gradients and statistics, and whether they wait for the device."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import odenets

from ..common.errors import BenchmarkError
from .findings import Found, difference, within

#: Where a pass that runs steps again or undoes them reads, outside of a graph, how well it has done so.
READ = "defect.py"
#: Largest relative differences: of float64 (implicit stages are solved to about 1e-10), and of float32 gradients.
EXACT, ROUNDED = 1e-8, 1e-3


def blocks(scheme: odenets.Scheme, layers: int, width: int, make: Callable[[int], nn.Module]) -> list[Any]:
    """Blocks as the scheme takes them: one a layer, or as many as a step has functions, for parts of the state."""
    functions, width = max(scheme.modules) + 1, width // scheme.components
    return [make(width) if functions == 1 else [make(width) for _ in range(functions)] for _ in range(layers)]


def smooth(width: int) -> nn.Module:
    """Without kinks, so that float64 can be compared to rounding."""
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))


def convolution(width: int) -> nn.Module:
    """With running statistics."""
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False))


def dropping(width: int) -> nn.Module:
    """With running statistics and random numbers."""
    return nn.Sequential(convolution(width), nn.Dropout(0.2))


def backward(net: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and the gradients of its sum of squares."""
    y = net(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]


def zoo(device: torch.device, names: Sequence[str] | None = None) -> Found:
    """Of all schemes: output and gradients in float64 against the CPU."""
    found = {}
    for name in names or sorted(odenets.schemes):
        torch.manual_seed(0)
        scheme = odenets.schemes[name]
        net = odenets.ODENet(blocks(scheme, 5, 8, smooth), scheme, h=0.3).double()
        other, x = copy.deepcopy(net).to(device), torch.randn(4, 8, dtype=torch.float64)
        found[name] = difference(backward(other, x.to(device)), backward(net, x))
    return within(EXACT, found)


def gradients(device: torch.device) -> Found:
    """Of the ways to a gradient: losses to the bit, gradients and running statistics as autograd's own."""
    found = {}
    for name in ("leapfrog", "reversible_heun", "momentum", "lm", "heun", "rk4"):
        scheme = odenets.schemes[name]
        torch.manual_seed(0)
        net = odenets.ODENet(blocks(scheme, 6, 16, dropping), scheme, h=0.2).to(device)
        x = torch.randn(8, 16, 16, 16, device=device)
        nets = {mode: copy.deepcopy(net) for mode in ("direct", "checkpoint", "reversible")[: 2 + scheme.reversible]}
        results = {}
        for mode, one in nets.items():
            one.gradient = mode
            torch.manual_seed(1)
            results[mode] = [*backward(one, x), *(b for b in one.buffers() if b.is_floating_point())]
        expected = results.pop("direct")
        for mode, result in results.items():
            if not torch.equal(result[0], expected[0]):
                raise BenchmarkError(f"{name}: the output of {mode} differs from that of direct, expected equal bits")
            found[f"{name}, {mode}"] = difference(result, expected)
    return within(ROUNDED, found)


def waits(device: torch.device) -> Found:
    """How often the host waits for the device in a training pass, after warm-up, and where."""
    if device.type != "cuda":
        return {"skipped": "only CUDA counts what waits for it"}
    found: Found = {}
    for name, mode in watched():
        torch.manual_seed(0)
        scheme = odenets.schemes[name]
        net = odenets.ODENet(blocks(scheme, 6, 16, convolution), scheme, h=0.2, gradient=mode).to(device)
        x = torch.randn(8, 16, 16, 16, device=device)
        for _ in range(3):
            backward(net, x)
        places = [f"{Path(w.filename).name}:{w.lineno}" for w in synchronising(net, x)]
        if places:
            found[f"{name}, {mode}"] = {"waits": len(places), "at": sorted(set(places))}
        if wrong := {place for place in places if mode == "direct" or not place.startswith(READ)}:
            raise BenchmarkError(f"{name}, {mode}: waits at {sorted(wrong)}, expected none")
    return {"passes": len(watched()), **found}


def watched() -> list[tuple[str, str]]:
    """All explicit schemes, with every way to their gradients. Solvers of implicit stages ask whether they are done."""
    explicit = [scheme for scheme in odenets.schemes.values() if scheme.explicit and scheme.Gamma is None]
    modes = ("direct", "checkpoint", "reversible")
    return [(scheme.name, mode) for scheme in explicit for mode in modes[: 2 + scheme.reversible]]


def synchronising(net: nn.Module, x: Tensor) -> list[warnings.WarningMessage]:
    """The warnings of torch about waiting in one training pass."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            net(x).square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [w for w in caught if "synchroniz" in str(w.message)]
