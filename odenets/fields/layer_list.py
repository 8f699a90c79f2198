"""A list of modules whose number is fixed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from torch import nn

from .errors import FieldError


class LayerList(nn.ModuleList):
    """The layers of a network, or the functions of one: a module may take the place of one, none may come or go.

    What a network is compiled from has their number: its starting steps and its learnable coefficients.

    Raises:
        FieldError: at append, insert, extend, pop, del and whatever else would change it.
    """

    def __init__(self, modules: Iterable[nn.Module] = ()) -> None:
        super().__init__(modules)
        self._fixed = True

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Put a module in the place of one; append, extend and += come here, too."""
        self._check(name, module)
        super().add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, nn.Module) or name in vars(self).get("_modules", ()):
            self._check(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in self._modules:
            self._refuse()
        super().__delattr__(name)

    def insert(self, index: int, module: nn.Module) -> NoReturn:
        """Refused."""
        self._refuse()

    def _check(self, name: str, module: Any) -> None:
        if vars(self).get("_fixed") and self._modules.get(name) is not module:
            if name not in self._modules:
                self._refuse()
            if not isinstance(module, nn.Module) or isinstance(module, nn.ModuleList):
                raise FieldError(
                    f"layers[{name}]: got {type(module).__name__}, expected a module that is called; the functions of "
                    f"a layer with several are replaced one by one, layers[{name}][i] = module"
                )

    def _refuse(self) -> NoReturn:
        raise FieldError(
            f"layers: got another number of modules for the {len(self)} that a network was made of, expected a module "
            "in the place of one (layers[n] = module); make another ODENet of the blocks"
        )
