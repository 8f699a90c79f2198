"""What torch.compile leaves as it is. Imported where it is needed: it loads torch's compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.compiler.disable
def implicit_steps_run_eagerly(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A network of implicit steps, whole: how often they iterate depends on data.

    Traced, they would be cut to pieces at every question to the data, and each step's pieces traced anew until torch
    gives them up.
    """
    return forward(x)


@torch.compiler.disable
def a_solve_runs_eagerly(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """A solve, whole, f included: Python chooses and counts its steps.

    Traced, each step would be a graph of its own until torch gives them up, for each has times of its own.
    """
    return function(*args, **kwargs)
