"""Copies of models."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def copy_of(model: Model, shared: Iterable[Tensor] = ()) -> Model:
    """A deep copy, also of a model that keeps tensors with a graph: weights that pruning or weight_norm has made.

    copy.deepcopy refuses these. In the copy they are without a graph, until its next call makes them anew. Tensors
    in ``shared`` are not copied.
    """
    made = [v for m in model.modules() for v in _tensors(vars(m)) if not v.is_leaf]
    return copy.deepcopy(model, {id(v): v.detach().clone() for v in made} | {id(v): v for v in shared})


def _tensors(value: Any) -> Iterator[Tensor]:
    """Tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
