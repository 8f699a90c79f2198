"""What f is at step n: the interface of a residual function."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..program import Evaluate
from .errors import FieldError

#: the random tensors of one step
Noise = tuple[Tensor, ...]


class Field(nn.Module):
    """The residual function of every step: :class:`Layers`, :class:`TimeField`, and the random ones around Layers."""

    steps: int

    def __init__(self) -> None:
        super().__init__()
        # (layer, module, training) -> whether it writes into its input; found out at the first call.
        self._writes: dict[tuple[int, int, bool], bool] = {}
        #: step -> what its modules were when it was seen to depend on no tensor but theirs
        self.checked: dict[int, object] = {}
        #: steps whose modules were seen to draw random numbers at one of several evaluations
        self.drawing: set[int] = set()

    @property
    def step_size(self) -> float | None:
        """Step size the field itself fixes, or None where ODENet's h counts."""
        return None

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Told once, before the first step, how often each step evaluates each of its modules."""

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """What is random about step n, drawn once and the same at all its stages; () where nothing is.

        Handed to :meth:`evaluate` rather than kept, so that a step can be computed again. Called for all
        steps before the first: u has the shape, dtype and device of the state, not yet its value.
        """
        return ()

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """F of step n at stage value x, which stands for the solution at time t_n + what.node * h."""
        raise FieldError(f"{type(self).__name__} has no evaluate(); use Layers or TimeField")

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """Path and module of everything whose parameters and buffers that evaluation uses: by default, all there is."""
        return [("", self)]

    def forward(self, n: int, noise: Noise, what: Evaluate, x: Tensor) -> Tensor:
        """As :meth:`evaluate`; x is kept, and the result is checked: f must map the state's space to itself."""
        value = self._evaluate_on_own(n, noise, what, x)
        if not isinstance(value, Tensor):
            raise FieldError(f"layer {n}: got an output of type {type(value).__name__}, expected a tensor")
        if value.shape != x.shape:
            raise FieldError(
                f"layer {n}: got an output of shape {tuple(value.shape)} for an input of shape {tuple(x.shape)}, "
                "expected the same shape; a layer that changes the shape goes first and needs a shortcut module "
                "(ODENet(..., shortcut=...))"
            )
        return value

    def _evaluate_on_own(self, n: int, noise: Noise, what: Evaluate, x: Tensor) -> Tensor:
        """Evaluate at x, or at a copy where the layer writes into its input, as one that starts with
        nn.ReLU(inplace=True) does: the scheme still needs x. A copy always would cost an operation.
        """
        key = n, what.module, self.training
        if self._writes.get(key, True):
            own = x.clone()
            value = self.evaluate(n, what, own, noise)
            if key not in self._writes and _counts_writes(own):
                self._writes[key] = own._version > 0
            return value
        counts = _counts_writes(x)
        version = x._version if counts else 0
        value = self.evaluate(n, what, x, noise)
        if counts and x._version != version:
            self._writes[key] = True
            raise FieldError(
                f"layer {n} wrote into its input, which the scheme still needs, and did not do so when it was first "
                "called; from the next call on it gets a copy"
            )
        return value


def _counts_writes(x: Tensor) -> bool:
    """Whether torch counts how often x is written to: not in inference mode, nor when tracing."""
    return not (torch.compiler.is_compiling() or x.is_inference())
