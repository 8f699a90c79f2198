"""Which tensors the evaluations of a step use, and where its modules hold them."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ..program import Program
from .context import Attribute
from .field import Field
from .stage_statistics import modules_of, originals

#: where a tensor is: its name from the field on, the dictionary of a module that holds it, and its key there
Home = tuple[str, dict[str, Any], str]


class Used(NamedTuple):
    """What an evaluation uses: homes of tensors, the modules, and the norms with statistics.

    Of a norm: the numbers of the homes of its statistics, the norm itself and the one in whose mode it is evaluated.
    """

    homes: list[Home]
    modules: list[nn.Module]
    norms: list[tuple[list[int], _NormBase, nn.Module]]


class StepLayout(NamedTuple):
    """What the evaluations of a step use, by their index; ``places`` are those of the modules that are called.

    ``bare``: whether one of them is of a function that is no module.
    """

    used: dict[int, Used]
    places: list[Attribute]
    bare: bool

    @property
    def modules(self) -> list[nn.Module]:
        """The modules of all evaluations."""
        return [module for used in self.used.values() for module in used.modules]


def step_layout(field: Field, n: int, program: Program) -> StepLayout:
    """The layout of step n."""
    found = StepLayout({}, [], not all(field.uses(n, what) for what in program.evaluated))
    for what in program.evaluated:
        used = found.used[what.index] = Used([], [], [])
        _add(used, field, "", field)
        paths = field.uses(n, what)
        for path, module in paths:
            holder, _, key = path.rpartition(".")
            if path:
                found.places.append((field.get_submodule(holder)._modules, key, module))
            standing_for = originals(paths[0][1], module)
            # One name of a module that has several: torch's functional_call puts back what it has found by each of
            # them, and would find by the second what it has put there by the first.
            for inner, owner in {id(owner): (inner, owner) for inner, owner in modules_of(module, path)}.values():
                used.modules.append(owner)
                _add(used, owner, inner, standing_for.get(owner, owner))
    return found


def _add(used: Used, owner: nn.Module, path: str, standing_for: nn.Module) -> None:
    """The tensors of a module itself."""
    _homes(used, owner._parameters, path)
    buffers = _homes(used, owner._buffers, path)
    if buffers and isinstance(owner, _NormBase):
        used.norms.append((buffers, owner, standing_for))


def _homes(used: Used, held: dict[str, Any], path: str) -> list[int]:
    """Note the tensors that a dictionary holds; the numbers of their homes."""
    first, prefix = len(used.homes), f"{path}." if path else ""
    for key, tensor in held.items():
        if tensor is not None:
            used.homes.append((prefix + key, held, key))
    return list(range(first, len(used.homes)))
