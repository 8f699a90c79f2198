"""Some steps of a pass as pure functions of every tensor they use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from ..fields.bound import Function
from ..fields.context import Context
from ..fields.errors import FieldError
from ..fields.masks import Masks
from ..fields.step_layout import Home, StepLayout
from ..program import Evaluate, Program, Solve
from ..program.step import State, step
from ..program.transforms import plain
from ..stages.stage_equations import solve_stages, weighted
from .forward_pass import Pass


class Segment:
    """Steps start ... stop - 1 of a pass as pure functions of the state and ``tensors``.

    ``tensors`` are all parameters, buffers, learnable coefficients and noise that the steps use, each
    once, however many layers share it. ``running`` are the places in it of the BatchNorm statistics
    that a step updates: whoever runs the steps puts copies there, and writes them back (or not,
    when the steps are run again). Dropout masks are those of the first run.
    """

    def __init__(self, owner: Pass, start: int, stop: int, masks: Masks | None = None) -> None:
        # Not the pass itself, whose noise would live as long as the graph.
        self.net, self.reports, self.start, self.stop = owner.net, owner.reports, start, stop
        self.masks = masks or (None if owner.quiet else owner.masks)
        self.field, self.solver = owner.net.field, owner.net.solver
        self._owner: Pass | None = owner
        self.programs: dict[int, Program] = {}
        self.tensors: list[Tensor] = []
        self.running: dict[int, None] = {}
        self._layouts: dict[int, StepLayout] = {}
        # (n, evaluation) -> the place of what is in each home of it
        self._given: dict[tuple[int, int], list[int]] = {}
        self._places: dict[Tensor, int] = {}
        self._bound: dict[int, Function | None] = {}
        self._noise: dict[int, tuple[int, ...]] = {}
        self._learned: dict[int, dict[str, int]] = {}
        for n in range(start, stop):
            self._gather(n)
        layouts = self._layouts.values()
        modules = [self.field, *chain.from_iterable(layout.modules for layout in layouts)]
        #: what is around the blocks now, in the forward pass
        self.context = Context(modules, owner.device, list(chain.from_iterable(layout.places for layout in layouts)))

    # -------------------------------------------------------------- the layout

    def _place(self, tensor: Tensor) -> int:
        if tensor not in self._places:
            self._places[tensor] = len(self.tensors)
            self.tensors.append(tensor)
        return self._places[tensor]

    def _gather(self, n: int) -> None:
        net, owner = self.net, self._owner
        assert owner is not None
        self.programs[n] = net.plan[n].program
        if self.masks is None and not owner.quiet:
            owner.refuse_random(n)
        layout = self._layouts[n] = owner.layout(n)
        for index, used in layout.used.items():
            given = self._given[n, index] = [self._place(held[key]) for _, held, key in used.homes]
            for places, norm, standing_for in used.norms:
                if standing_for.training and norm.track_running_stats:
                    self.running.update((given[i], None) for i in places)
        self._bound[n] = owner.bound[n] if owner.bound else None
        self._noise[n] = tuple(self._place(tensor) for tensor in owner.noises[n])
        self._learned[n] = {symbol: self._place(value) for symbol, value in owner.learned[n].items()}

    def layout(self, n: int) -> object:
        """What must not change for what has been seen of step n to hold; of a function that is no module, unknown."""
        layout = self._layouts[n]
        if layout.bare and n == self.start:
            return object()
        held = [held[key] for used in layout.used.values() for _, held, key in used.homes]
        frozen = [(id(tensor), tensor.requires_grad) for tensor in held]
        modules = (self.field, *layout.modules)
        # Modes among them: a flag may decide whether something is kept for later calls.
        flags = [value for module in modules for value in vars(module).values() if value is True or value is False]
        return frozen, list(map(id, modules)), flags

    def assigned(self, n: int, what: Evaluate, tensors: Sequence[Tensor]) -> list[str]:
        """Names of those of ``tensors`` that are not where an evaluation has been given them."""
        return [
            name
            for (name, held, key), place in self._homes(n, what)
            if place not in self.running and (key not in held or held[key] is not tensors[place])
        ]

    def _homes(self, n: int, what: Evaluate) -> Iterator[tuple[Home, int]]:
        """The homes of what an evaluation uses, and the places of what is in them."""
        return zip(self._layouts[n].used[what.index].homes, self._given[n, what.index], strict=True)

    def probe(self) -> Segment:
        """The same steps, with masks of their own."""
        assert self._owner is not None
        return Segment(self._owner, self.start, self.stop, Masks())

    def release(self) -> None:
        """Let go of the tensors: the node of the graph has its own, and may have given them up."""
        self.tensors, self._places, self._owner = [], {}, None

    def places(self, n: int, what: Evaluate | None = None) -> set[int]:
        """Places of what an evaluation, or a whole step, may be differentiated by; noise is none of it."""
        wanted = self.programs[n].evaluated if what is None else (what,)
        found = {place for item in wanted for place in self._given[n, item.index]}
        coefficients = set(self._learned[n].values()) if what is None else set()
        return found.difference(self.running) | coefficients

    def place_of(self, n: int, symbol: str) -> int:
        """Place of a learnable coefficient of step n."""
        return self._learned[n][symbol]

    # --------------------------------------------------------------- the steps

    def evaluate(self, n: int, tensors: Sequence[Tensor], what: Evaluate, x: Tensor, again: bool = False) -> Tensor:
        """The function of step n at x; ``again`` leaves running statistics alone."""
        values, bound, field = self._elsewhere(n, tensors, what, again), self._bound[n], self.field
        noise = tuple(tensors[place] for place in self._noise[n])

        def function(what: Evaluate, x: Tensor) -> Tensor:
            if values:
                return functional_call(field, values, (n, noise, what, x), tie_weights=False)
            return field(n, noise, what, x) if bound is None else bound(what, x)

        needed = x.requires_grad
        value = function(what, x) if self.masks is None else self.masks.call(n, function, what, x)
        # A function that takes a gradient inside of it may ask for that of x, and has a record whether wanted or not.
        if x.requires_grad and not needed:
            x.requires_grad_(False)
        return value if torch.is_grad_enabled() or not value.requires_grad else value.detach()

    def _elsewhere(self, n: int, tensors: Sequence[Tensor], what: Evaluate, again: bool) -> dict[str, Tensor]:
        """Those of ``tensors`` that are not in their modules already; to put one there takes as long as a small layer.

        Of statistics that are not to be updated, copies.
        """
        values, stays, running = {}, plain(), self.running if again else ()
        for (name, held, key), place in self._homes(n, what):
            if place in running:
                values[name] = tensors[place].clone()
            elif key not in held:
                raise FieldError(
                    f"layer {n}: got no {name} any more, which there was in the forward pass, expected the same "
                    "parameters until the backward pass is over (no weight_norm, pruning or parametrization put on or "
                    "taken off in between)"
                )
            elif not (stays and held[key] is tensors[place]):
                values[name] = tensors[place]
        return values

    def learned(self, n: int, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """The learnable coefficients of step n."""
        return {symbol: tensors[place] for symbol, place in self._learned[n].items()}

    def advance(self, n: int, state: State, tensors: Sequence[Tensor], again: bool = False) -> State:
        """Step n."""
        function = partial(self.evaluate, n, tensors, again=again)
        return step(
            self.programs[n], function, state, self.learned(n, tensors), partial(self._solve, n, tensors, again)
        )

    def _solve(self, n: int, tensors: Sequence[Tensor], again: bool, what: Solve, constants: State) -> State:
        """Values of the functions whose stages depend on each other; what the solver reports goes to the pass."""

        def function(tensors: Sequence[Tensor], item: Evaluate, x: Tensor) -> Tensor:
            # The solver comes back to it in every backward pass, be it of autograd's own record.
            with self.context.restored():
                return self.evaluate(n, tensors, item, x, again=True)

        places = sorted(set().union(*(self.places(n, item) for item in what.evaluations)))
        solver = self.solver
        if any(couples(self._layouts[n].used[item.index].modules) for item in what.evaluations):
            # A Krylov space for each sample does not see what another does to it.
            solver = replace(solver, per_sample=False)
        values, report = solve_stages(what, constants, function, tensors, places=places, solver=solver)
        if again or report is None:
            return values
        self.reports.append((n, report))
        for item, c, row in zip(what.evaluations, constants, what.weights, strict=True):
            # Iterations leave running statistics alone; one more evaluation, at the solution, updates them.
            if self.running.keys() & set(self._given[n, item.index]):
                with torch.no_grad():
                    self.evaluate(n, tensors, item, c + weighted(row, values))
        return values

    def write_back(self, statistics: Sequence[Tensor]) -> None:
        """Give the modules the running statistics that the steps have left in the copies."""
        with torch.no_grad():
            for place, value in zip(self.running, statistics, strict=True):
                self.tensors[place].copy_(value)

    def retreat(self, n: int, inverse: Program, state: State, tensors: Sequence[Tensor]) -> State:
        """Step n undone."""
        return step(inverse, partial(self.evaluate, n, tensors, again=True), state, self.learned(n, tensors))

    def copies(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """``tensors`` with copies of the running statistics, to be written to."""
        return [tensor.clone() if place in self.running else tensor for place, tensor in enumerate(tensors)]


def couples(modules: Iterable[nn.Module]) -> bool:
    """Whether one of them makes a sample's value depend on the others': BatchNorm with the batch's statistics."""
    return any(isinstance(m, _BatchNorm) and (m.training or m.running_mean is None) for m in modules)
