"""Whether what a network is called with is a state of its own, on the device where it is."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import FieldError
from ..program.transforms import traced_as_constant


class InputCheck:
    """Checks the input of each pass of a network; it remembers the name of the parameter that tells the device.

    To find it in the modules at each pass would take longer than the rest of what a pass is asked.
    """

    def __init__(self) -> None:
        self._path: list[str] | None = None

    def __call__(self, net: nn.Module, x: Tensor) -> None:
        """FieldError for what is no floating-point tensor, or is elsewhere."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
            raise FieldError(f"input: got {got}, expected a floating-point tensor")
        if torch.compiler.is_compiling() or not self._is_on(x.device, net):
            own = _device(net)
            if own is not None and own != x.device:
                raise FieldError(f"input: got a tensor on {x.device}, expected {own}, where the network is")

    def _is_on(self, device: torch.device, net: nn.Module) -> bool:
        """Whether the first parameter, as far as its name is known, is on a device."""
        if self._path is None:
            self._path = next((name.split(".") for name, p in net.named_parameters() if p.is_floating_point()), [])
        *path, last = self._path or [""]
        held: Any = net
        for name in path:  # it may have been replaced, or be scripted
            modules = getattr(held, "_modules", None)
            held = modules.get(name) if isinstance(modules, dict) else None
        parameters = getattr(held, "_parameters", None)
        found = parameters.get(last) if isinstance(parameters, dict) else None
        return found is not None and found.device == device


@traced_as_constant
def _device(module: nn.Module) -> torch.device | None:
    """Where the first floating-point parameter or buffer is."""
    own = reference_tensor(module)
    return None if own is None else own.device


def reference_tensor(module: nn.Module) -> Tensor | None:
    """A floating-point parameter or buffer of the module, which tells its dtype and device."""
    tensors = chain(module.parameters(), module.buffers())
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)
