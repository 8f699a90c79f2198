"""Copies of models."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


def copy_of(model: Model) -> Model:
    """A deep copy, also of a model that keeps tensors with a graph: weights that pruning or weight_norm has made.

    copy.deepcopy refuses these. In the copy they are without a graph, until its next call makes them anew.
    """
    made = [v for m in model.modules() for v in vars(m).values() if isinstance(v, Tensor) and not v.is_leaf]
    return copy.deepcopy(model, {id(v): v.detach().clone() for v in made})
