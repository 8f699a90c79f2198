"""A list of layers with their own weights as the residual function of every step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..program import Evaluate
from ..program.transforms import plain, traced_as_constant
from ..scheme.errors import SchemeWarning
from .bound import Function, of_layer, traced_layer
from .errors import FieldError
from .field import Field, Noise
from .layer_list import LayerList
from .stage_statistics import Norms, StageStatistics, norms
from .watched import Watched

NORMS_TRACED = (
    "layer {}: got another BatchNorm than before under torch.compile or torch.func, expected one that the network has "
    "run with, which then has statistics for each stage; call it once without these"
)


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

    fixed = Field.fixed | {"layers"}

    def __init__(self, blocks: Iterable[nn.Module | Sequence[nn.Module]]) -> None:
        super().__init__()
        self.layers = LayerList(
            LayerList(b) if isinstance(b, nn.ModuleList) else b if isinstance(b, nn.Module) else _one_of(b)
            for b in blocks
        )
        if not len(self.layers):
            raise FieldError("blocks: got an empty list, expected one nn.Module per layer")
        self.steps = len(self.layers)
        for n in range(self.steps):
            _warn_of_skips(n, self.modules_of(n))
        self.statistics = nn.ModuleDict()
        # (n, module) -> names of the statistics of its later visits; name -> the BatchNorms that they belong to
        self._later: dict[tuple[int, int], list[str]] = {}
        self._norms: dict[str, Norms] = {}
        self._prepared = False

    def modules_of(self, n: int) -> Sequence[nn.Module]:
        """The functions of layer n."""
        layer = self.layers[n]
        return list(layer) if isinstance(layer, nn.ModuleList) else [layer]

    def renewed(self) -> Layers:
        """As of a field; running statistics that a new network has use for are kept."""
        own = super().renewed()
        assert isinstance(own, Layers)
        own._prepared = False
        return own

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Check the number of modules per layer; add running statistics for later visits to each."""
        if self._prepared:
            raise FieldError(
                "blocks: got a field that belongs to a network already, and whose BatchNorm statistics that network "
                "has trained; make a new field of the same modules, or a copy.deepcopy of it"
            )
        self._prepared, held, self.statistics, self._later = True, self.statistics, nn.ModuleDict(), {}
        self.statistics.training = self.training
        for n, counts in enumerate(visits):
            modules = self.modules_of(n)
            if len(modules) != len(counts):
                raise FieldError(
                    f"layer {n}: got {len(modules)} module(s), expected {len(counts)}, one for each function that the "
                    "scheme evaluates a step (a list of modules for each layer, or the module alone)"
                )
            for module, count in enumerate(counts):
                if keys := [f"{n}_{module}_{visit}" for visit in range(1, count)]:
                    self._later[n, module] = keys
                    self.statistics.update({key: held[key] for key in keys if key in held})
        self._norms = {key: self._norms[key] for key in self.statistics}
        self.ready()

    def ready(self) -> None:
        """Have statistics for later visits to the BatchNorms that there are: blocks, or parts of them, may be replaced.

        What is put in has its own: those that it brings.
        """
        if not self._later:
            return
        if torch.compiler.is_compiling():
            if (n := _with_another_norm(self)) is not None:
                raise FieldError(NORMS_TRACED.format(n))
        elif not self._watched.unchanged():
            for n, key, block, found in self.other_norms():
                self._fit(n, key, block, found)
            self._watched = Watched(self.layers)

    def other_norms(self) -> Iterator[tuple[int, str, nn.Module, Norms]]:
        """Of statistics whose block has other BatchNorms than they were made for: layer, name, the block, its norms."""
        for (n, module), keys in self._later.items():
            block = self.modules_of(n)[module]
            found = norms(block)
            yield from ((n, key, block, found) for key in keys if found != self._norms.get(key, []))

    # Whoever saves, loads or copies them has those of the modules that there are. Hooks would be shared with renewed().

    def __getstate__(self) -> dict[str, Any]:
        self.ready()
        return dict(vars(self))

    def _save_to_state_dict(self, *args: Any) -> None:
        self.ready()
        super()._save_to_state_dict(*args)

    def _load_from_state_dict(self, *args: Any) -> None:
        self.ready()
        super()._load_from_state_dict(*args)

    def _fit(self, n: int, key: str, block: nn.Module, found: Norms) -> None:
        if not plain():
            raise FieldError(NORMS_TRACED.format(n))
        before = self._norms.get(key, [])
        if len(found) < len(before):
            warnings.warn(
                f"layer {n}: got {len(found)} BatchNorms for {len(before)}, and with the others the statistics of "
                "later stages go; if they were frozen, fused or scripted, every stage now has those of the first: "
                "expected BatchNorms in evaluation, which keep theirs",
                SchemeWarning,
                stacklevel=4,
            )
        if not found:
            del self.statistics[key]
        elif key not in self.statistics:
            self.statistics[key] = StageStatistics(block)
        else:
            own = self.statistics[key]
            assert isinstance(own, StageStatistics)
            own.fit(found, before)
        # Another dictionary, for replicas of the field have the same one.
        self._norms = {**self._norms, key: found}

    def draws_nothing(self) -> bool:
        """Whether the blocks are known to draw no random numbers; asked where a step evaluates one more than once."""
        return self.watched().quiet()

    def blocks(self) -> nn.Module:
        """The layers; the statistics of later stages follow from them."""
        return self.layers

    def bound_calls(self, u: Tensor) -> Sequence[Function | None]:
        """Calls of the blocks themselves, where no evaluation has statistics of its own."""
        parts = self._modules
        if type(self) is not Layers or parts["statistics"]._modules:  # type: ignore[union-attr]
            return ()
        blocks, training = parts["layers"]._modules.values(), self.training  # type: ignore[union-attr]
        if torch.compiler.is_compiling():
            return [traced_layer(n, block) for n, block in enumerate(blocks)]
        space = self.space(u)
        return self._bound.get(
            [training, space, *self._writes.values(), *blocks],
            lambda: [of_layer(n, block, self._writes, training, space) for n, block in enumerate(blocks)],
        )

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise = ()) -> Tensor:
        """The layer's function at x; the node is ignored, since a layer does not depend on time."""
        (_, block), *statistics = self.uses(n, what)
        if not statistics:
            return block(x)
        if torch.jit.is_tracing():
            raise FieldError(
                f"layer {n}: got torch.jit.trace of a BatchNorm with statistics of {what.visit + 1} stages, which it "
                "cannot put in turn, expected a scheme of one evaluation a step, or torch.export or torch.compile"
            )
        own = statistics[0][1]
        assert isinstance(own, StageStatistics)
        return functional_call(block, own.named(), (x,), tie_weights=False)

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """The layer's module, and for later visits to it their running statistics."""
        # Not by self.layers[n], which takes as long as all else here.
        layer, path = self.layers._modules[str(n)], f"layers.{n}"
        if isinstance(layer, nn.ModuleList):
            layer, path = layer[what.module], f"{path}.{what.module}"
        if what.visit and (key := f"{n}_{what.module}_{what.visit}") in self.statistics:
            return [(path, layer), (f"statistics.{key}", self.statistics[key])]
        return [(path, layer)]


@traced_as_constant
def _with_another_norm(layers: Layers) -> int | None:
    """The first layer with other BatchNorms than the network has run with."""
    return next((n for n, *_ in layers.other_norms()), None)


def _one_of(functions: Sequence[nn.Module]) -> nn.Module:
    return functions[0] if len(functions) == 1 else LayerList(functions)


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


def _warn_of_skips(n: int, blocks: Sequence[nn.Module]) -> None:
    """Tell of a block that has a skip connection already, where it shows.

    It shows by the names that torchvision, timm and most copies of them give to the shortcut. An addition inside
    a forward method of another's making cannot be seen without running it; odenets.swap_scheme runs it.
    """
    for block in blocks:
        kind = type(block)
        if any(hasattr(block, name) for name in ("downsample", "shortcut")) and hasattr(block, "conv1"):
            warnings.warn(
                f"layer {n}: got a {kind.__module__}.{kind.__qualname__}, which seems to add its input itself: u would "
                "be added twice; expected the residual function alone. odenets.swap_scheme takes such networks as they "
                "are",
                SchemeWarning,
                stacklevel=4,
            )
