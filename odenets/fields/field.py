"""What f is at step n: the interface of a residual function."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..program import Evaluate
from ..program.transforms import active
from .bound import Function, Kept, Writes, check, counts_writes, plainly_called, refuses_writes, wrote
from .errors import FieldError, assigned
from .numbers import checked, current, learned, number, widest
from .watched import Watched

#: what follows from what a field is made of
FOLLOWING = frozenset({"reference", "h"})
#: the random tensors of one step
Noise = tuple[Tensor, ...]


class Field(nn.Module):
    """The residual function of every step: :class:`Layers`, :class:`TimeField`, and the random ones around Layers."""

    steps: int
    #: attributes that are set once: what a network is made of follows from them
    fixed: ClassVar[frozenset[str]] = frozenset({"steps", "reference"})
    #: where the step size is learned, what it was when the network was made; its program has that one
    reference: float | None = None
    #: whether every step evaluates the same modules
    same_modules: ClassVar[bool] = False
    _space = torch.Size()
    #: the step size itself, where it is learned and no time is
    h: Any

    def __init__(self) -> None:
        super().__init__()
        # Found out at the first call.
        self._writes: Writes = {}
        self._bound: Kept[Sequence[Function | None]] = Kept()
        #: step -> what its modules were when it was seen to depend on no tensor but theirs
        self.checked: dict[int, object] = {}
        self._watched = Watched()
        #: steps whose modules were seen to draw random numbers at one of several evaluations
        self.drawing: set[int] = set()

    @property
    def step_size(self) -> float | None:
        """Step size the field itself fixes, or has learned; None where ODENet's h counts."""
        return None if self.reference is None else current(self.h)

    def renewed(self) -> Field:
        """The same modules as a field that belongs to no network yet."""
        own = copy.copy(self)
        held = {key: dict(vars(self)[key]) for key in ("_modules", "_parameters", "_buffers")}
        vars(own).update(**held, _writes={}, checked={}, _bound=Kept(), _watched=Watched())
        return own

    def __setattr__(self, name: str, value: Any) -> None:
        # Not a default that a subclass has for all its instances.
        fixed = name in self.fixed and (name in FOLLOWING or self._holds(name))
        if fixed and getattr(self, name, None) is not value and "_is_replica" not in vars(self):
            raise FieldError(
                f"{type(self).__name__}.{name}: got {assigned(value)}, expected no other one once "
                f"it is made, for what follows from it would stay as it is; make another {type(self).__name__}, or "
                "another ODENet of its blocks"
            )
        super().__setattr__(name, value)

    def _holds(self, name: str) -> bool:
        return name in {*vars(self), *self._parameters, *self._buffers, *self._modules}

    def __delattr__(self, name: str) -> None:
        if name in self.fixed:
            raise FieldError(f"{type(self).__name__}.{name}: expected it to stay, for every step needs it")
        super().__delattr__(name)

    def keep(self, name: str, value: float | Tensor, what: str) -> None:
        """A number as an attribute; as a parameter or a buffer what is to be learned in its place."""
        if not (isinstance(value, Tensor) and learned(value)):
            setattr(self, name, number(value, what))
        elif isinstance(value, nn.Parameter):
            self.register_parameter(name, checked(value, what))
        else:
            self.register_buffer(name, checked(value, what), persistent=False)

    def learn_step(self, h: Tensor) -> None:
        """Have the step size learned."""
        self.keep("h", h, "h")
        self._refer(float(h.detach()))

    def _refer(self, h: float) -> None:
        """Take h for the step size of the program, where another one is learned."""
        vars(self)["reference"] = h

    def step(self, device: torch.device) -> Tensor:
        """The step size that is learned, as a 0-dimensional tensor."""
        return self.h.to(device, widest(device)).reshape(())

    def scaled(self, value: Tensor) -> Tensor:
        """A value of F times the learned step size over that of the program.

        For F is what h goes with in every scheme: so a step of the learned size comes out, and its gradient, in every
        way to gradients, without a program whose numbers are tensors.
        """
        if self.reference is None:
            return value
        return value * (self.step(value.device) / self.reference).to(value.dtype)

    def prepare(self, visits: Sequence[Sequence[int]]) -> None:
        """Told once, before the first step, how often each step evaluates each of its modules."""

    def ready(self) -> None:
        """Told before each pass, so that it may see whether its modules are others than before."""

    def blocks(self) -> nn.Module:
        """What holds the modules that are called: by default all there is."""
        return self

    def watched(self) -> Watched:
        """The modules there are, looked at anew where they are others than before."""
        blocks = self.blocks()
        if not self._watched.unchanged():
            self._watched = Watched(blocks)
        return self._watched

    def draws_nothing(self) -> bool:
        """Whether nothing is drawn in :meth:`evaluate`, as far as it is known without having seen it."""
        return False

    def draw(self, n: int, u: Tensor, h: float) -> Noise:
        """What is random about step n, drawn once and the same at all its stages; () where nothing is.

        Handed to :meth:`evaluate` rather than kept, so that a step can be computed again. Called for all
        steps before the first: u has the shape, dtype and device of the state, not yet its value.
        """
        return ()

    def draw_steps(self, u: Tensor, h: float) -> list[Noise]:
        """What :meth:`draw` gives for each step."""
        if getattr(self.draw, "__func__", None) is Field.draw:
            return [()] * self.steps
        return [self.draw(n, u, h) for n in range(self.steps)]

    def evaluate(self, n: int, what: Evaluate, x: Tensor, noise: Noise) -> Tensor:
        """F of step n at stage value x, which stands for the solution at time t_n + what.node * h."""
        raise FieldError(f"{type(self).__name__} has no evaluate(); use Layers or TimeField")

    def uses(self, n: int, what: Evaluate) -> list[tuple[str, nn.Module]]:
        """Path and module of everything whose parameters and buffers that evaluation uses: by default, all there is."""
        return [("", self)]

    def bound_of_pass(self, noises: Sequence[Noise], u: Tensor) -> Sequence[Function | None]:
        """F of each step in a pass from state u as what is left of a call of this module where nothing is around it.

        That is :meth:`bound_calls`: without hooks, noise and a learned step size, where torch counts what is written or
        traces. Not from a leaf that requires a gradient, of which a block gets a copy.
        """
        if torch.compiler.is_compiling():
            known = True
        else:  # under vmap, a state that is not mapped becomes one when mapped weights meet it
            known = counts_writes(u) and not (refuses_writes(u) or torch.is_inference_mode_enabled())
            known = known and "Vmap" not in active()
        if known and self.reference is None and plainly_called(self) and not any(noises):
            return self.bound_calls(u)
        return ()

    def calls(self, noises: Sequence[Noise], bound: Sequence[Function | None]) -> Sequence[Function]:
        """F of each step: what is bound, else a call of this module."""
        if bound and None not in bound:
            return bound  # type: ignore[return-value]
        pairs = enumerate(zip_longest(noises, bound))
        return [function or partial(self, n, noise) for n, (noise, function) in pairs]

    def space(self, u: Tensor) -> torch.Size:
        """The shape of u, as the same object as long as it is the same."""
        if type(u) is not Tensor:
            return u.shape  # of a tracer's tensor its numbers may be symbols, which belong to that trace
        if u.shape != self._space:
            self._space = u.shape
        return self._space

    def bound_calls(self, u: Tensor) -> Sequence[Function | None]:
        """F of each step, looked up once, as far as what it is made of is known; it draws nothing."""
        return ()

    def forward(self, n: int, noise: Noise, what: Evaluate, x: Tensor) -> Tensor:
        """As :meth:`evaluate`; x is kept, and the result is checked: f must map the state's space to itself."""
        value = self._evaluate_on_own(n, noise, what, x)
        check(n, value, x)
        return value if self.reference is None else self.scaled(value)

    def _evaluate_on_own(self, n: int, noise: Noise, what: Evaluate, x: Tensor) -> Tensor:
        """Evaluate at x, or at a copy where the layer writes into its input, as one that starts with
        nn.ReLU(inplace=True) does: the scheme still needs x. A copy always would cost an operation. It is taken where
        torch counts no writes, for whether a layer writes may have changed: it may be another one, or go by a flag, a
        mode, the shape of x. And of a leaf that requires a gradient, to which torch lets nobody write.
        """
        key, counts = (n, what.module, self.training), counts_writes(x) and not refuses_writes(x)
        if not counts or self._writes.get(key, True):
            own = x.clone()
            value = self.evaluate(n, what, own, noise)
            if key not in self._writes and counts_writes(own):
                self._writes[key] = own._version > 0
            return value
        version = x._version
        value = self.evaluate(n, what, x, noise)
        if x._version != version:
            wrote(self._writes, key)
        return value
