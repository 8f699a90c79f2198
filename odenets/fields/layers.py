"""What f is at step n: the interface of a residual function, and a list of layers with their own weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..program import Evaluate
from .errors import FieldError
from .stage_statistics import StageStatistics, norms

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


class Layers(Field):
    """One module per step, or several for a scheme that evaluates several functions a step.

    Args:
        blocks: for each layer a module f_n, or a list of modules (f_n, g_n, ...) in the order in
            which the scheme numbers them.

    BatchNorm: in training each stage normalises with its own batch, so each evaluation of a module
    within a step has its own running statistics, updated once a step; the first one's are the
    module's own. One set for all stages was tried and rejected: whether it averages the stages or
    follows the first, no stage sees in evaluation what it saw in training, and rk4 networks that
    had learned digits to 1 % erred on 77 % of them.
    """

    def __init__(self, blocks: Iterable[nn.Module | Sequence[nn.Module]]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            b if isinstance(b, nn.Module) else b[0] if len(b) == 1 else nn.ModuleList(b) for b in blocks
        )
        if not len(self.layers):
            raise FieldError("blocks: got an empty list, expected one nn.Module per layer")
        self.steps = len(self.layers)
        self.statistics = nn.ModuleDict()
        self._prepared = False

    def modules_of(self, n: int) -> Sequence[nn.Module]:
        """The functions of layer n."""
        layer = self.layers[n]
        return list(layer) if isinstance(layer, nn.ModuleList) else [layer]

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Check the number of modules per layer; add running statistics for later visits to each."""
        if self._prepared:
            raise FieldError(
                "blocks: got a field that belongs to a network already, and whose BatchNorm statistics that network "
                "has trained; make a new field of the same modules, or a copy.deepcopy of it"
            )
        self._prepared = True
        for n, counts in enumerate(visits):
            modules = self.modules_of(n)
            if len(modules) != len(counts):
                raise FieldError(
                    f"layer {n}: got {len(modules)} module(s), expected {len(counts)}, one for each function that the "
                    "scheme evaluates a step (a list of modules for each layer, or the module alone)"
                )
            for module, (block, count) in enumerate(zip(modules, counts, strict=False)):
                for visit in range(1, count if norms(block) else 1):
                    self.statistics[f"{n}_{module}_{visit}"] = StageStatistics(block)

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The layer's function at x; the node is ignored, since a layer does not depend on time."""
        (_, block), *statistics = self.uses(n, what)
        if not statistics:
            return block(x)
        own = statistics[0][1]
        assert isinstance(own, StageStatistics)
        return functional_call(block, own.named(), (x,), tie_weights=False)

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """The layer's module, and for later visits to it their running statistics."""
        layer, path = self.layers[n], f"layers.{n}"
        if isinstance(layer, nn.ModuleList):
            layer, path = layer[what.module], f"{path}.{what.module}"
        key = f"{n}_{what.module}_{what.visit}"
        found = [(path, layer)]
        return [*found, (f"statistics.{key}", self.statistics[key])] if key in self.statistics else found


def as_field(blocks: Field | Iterable[nn.Module | Sequence[nn.Module]]) -> Field:
    """The field itself, or the layers of a list of modules (or of lists of modules) as one."""
    if isinstance(blocks, Field):
        return blocks
    if isinstance(blocks, nn.Module) and not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise FieldError(
            f"blocks: got a single {type(blocks).__name__}, expected a list with one nn.Module per layer, "
            "or a TimeField for one function of time"
        )
    if not isinstance(blocks, Iterable):
        raise FieldError(f"blocks: got {blocks!r}, expected a list with one nn.Module per layer, or a TimeField")
    found = list(blocks)
    leaves = [m for block in found for m in (block if isinstance(block, (list, tuple)) else [block])]
    if wrong := [type(block).__name__ for block in leaves if not isinstance(block, nn.Module)]:
        raise FieldError(f"blocks: got {', '.join(sorted(set(wrong)))}, expected nn.Modules, or a TimeField")
    return Layers(found)
