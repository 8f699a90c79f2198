"""The mode under which a module with sums in it runs: it sees every call of torch, and takes steps in place of sums."""

from __future__ import annotations

import sys
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ..fields import FieldError
from ..program import Evaluate
from ..program.step import State
from .calls import IN_PLACE, Addition, Function, Source, addition, called_from, version
from .chain import Chain
from .steps import Plan, Step
from .tape import Call, Tape


class Watch(TorchFunctionMode):
    """One call of a forward with sums in it.

    A sum is known by its line, and by which addition in that line it is; under torch.compile, which does not tell
    lines, by its number among all additions.
    """

    def __init__(self, plan: Plan, tape: Tape | None) -> None:
        super().__init__()
        self.plan, self.special, self.tape = plan, plan.special, tape
        self.counts: dict[Source, int] = {}
        self.number = -1
        self.recording = None if plan.plain or torch.compiler.is_compiling() else _recording()
        #: x + a, where a step is x + a + b -> x, what is added, and x + a itself
        self.parts: dict[int, tuple[Tensor, list[tuple[Addition, int]], Tensor]] = {}

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make a call, or take a step."""
        given = kwargs or {}
        if func in self.special:
            added = addition(func, args, given)
            step = None if added is None else self._known()
            if added is not None and step is not None:
                return self._take(step, added, args, given)
            if func in self.plan.moves:
                return self._follow(func, args, given)
        return func(*args, **given) if self.tape is None else self.tape.record(func, args, given)

    def _known(self) -> Step | None:
        """The step at the addition that is being made."""
        plan = self.plan
        if torch.compiler.is_compiling():
            self.number += 1
            return plan.by_number.get(self.number)
        source = called_from(2, THROUGH)
        total = plan.totals.get(source)
        if total is None:
            return None
        place = self.counts[source] = self.counts.get(source, -1) + 1
        if place >= total:
            raise FieldError(
                f"{plan.name}: got an addition in line {source[2]} of {source[1]} ({source[0]}) once more than at the "
                f"example, after {total} sums, expected the same sums at every input and in training; give an example "
                "that shows them, or unswap"
            )
        return plan.by_place.get((source, place))

    def finish(self) -> None:
        """See that no sum was left out.

        Raises:
            FieldError: a sum was not met where the example had one.
        """
        steps = self.plan.steps
        for k, step in enumerate(steps):
            at = step.at
            seen = self.number if torch.compiler.is_compiling() else self.counts.get(at.source, -1)
            if step.always and seen < (at.number if torch.compiler.is_compiling() else at.place):
                raise FieldError(
                    f"{self.plan.name}: got a forward without the sum number {k + 1} of {len(steps)} that it had at "
                    f"the example, in line {at.source[2]} of {at.source[1]} ({at.source[0]}), expected the same "
                    "sums at every input and in training; give an example that shows them, or unswap"
                )

    # ------------------------------------------------------------------------------------------------- a step

    def _take(self, step: Step, added: Addition, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        chain, (u, sums) = step.places[0][0], self._gathered(step, added)
        if chain.plain and chain.observer is None:
            value: Tensor = added.func(*args, **kwargs)
            return value
        self._refuse_checkpoint()
        if step.part:
            out = torch.add(u, _total([one.branch(one.terms(side)) for one, side in sums]))
            self.parts[id(out)] = u, sums, out
            return out
        branch = _total([one.branch(one.terms(side)) for one, side in sums])
        if branch.shape != u.shape:
            branch = branch.expand(u.shape)
        chain, n, carried = self._entered(step, u)
        stages = Stages(self, step, u, sums)
        if chain.observer is not None:
            chain.observer.on_step(n, (u, *carried), stages)
        # What the scheme carries must not be what is written to.
        state = chain.advance(n, carried, u, branch.clone() if step.at.reused else branch, stages)
        out = state[0]
        if added.func in IN_PLACE:
            out = args[0].copy_(out) if step.at.reused else out.to(args[0].dtype)
        if chain.tracked:
            chain.history.keep(n, out, state[1:])
        if self.tape is not None:
            self.tape.forget(step.clears)
        return out

    def _entered(self, step: Step, u: Tensor) -> tuple[Chain, int, State]:
        """Which step of which chain starts at u, and what is carried into it; () into the first."""
        chain, n = step.places[0]
        if not chain.tracked:
            return chain, n, ()
        for chain, n in step.places:
            session = chain.history.find(u)
            if session is not None and session.index + 1 == n:
                return chain, n, chain.history.carried(session, u)
        for chain, n in step.places:
            if n == 0 or not chain.exact:
                return chain, n, ()
        raise chain.history.broken(n)

    def _gathered(self, step: Step, added: Addition) -> tuple[Tensor, list[tuple[Addition, int]]]:
        """The state of a step, and what is added to it."""
        u, sums = added.operands[step.at.side], [(added, step.at.side)]
        if id(u) not in self.parts:
            return u, sums
        first, earlier, _ = self.parts.pop(id(u))
        return first, [*earlier, *sums]

    def _refuse_checkpoint(self) -> None:
        if not torch.compiler.is_compiling() and _recording() != self.recording and _inside_checkpoint():
            raise FieldError(
                f"{self.plan.name}: got a sum under torch.utils.checkpoint inside of it, which would run it again "
                f"without {self.plan.scheme}; expected activation checkpointing around it, or none"
            )

    # --------------------------------------------------------------------------------------- between two steps

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that may move a state, or be an activation of it; what is carried goes with the state."""
        x = args[0] if args else kwargs["input"]
        chains = [chain for chain in self.plan.chains if chain.tracked]
        found = [(chain.history, chain.history.find(x)) for chain in chains]
        before = version(x)
        value = func(*args, **kwargs) if self.tape is None else self.tape.record(func, args, kwargs)
        y = value if isinstance(value, Tensor) else x
        move = partial(_again, func, args[1:], kwargs) if self.plan.moves[func] else None
        for history, session in found:
            if session is not None and (y is not x or version(y) != before):
                history.follow(session, y, move)
        return value


#: what hands calls on; a step in a module inside is no addition of the modules around it
THROUGH = frozenset(f.__code__ for f in (Watch.__torch_function__, Watch._follow, Tape.record))


class Stages:
    """What is added to a state of one step, where the state is another."""

    def __init__(self, watch: Watch, step: Step, u: Tensor, sums: list[tuple[Addition, int]]) -> None:
        self.tape, self.step, self.u, self.sums = watch.tape, step, u, sums
        self.way: list[Call] | None = None
        self.added = [one.terms(side) for one, side in sums]

    def __call__(self, what: Evaluate | None, y: Tensor) -> Tensor:
        """Its value at y, in an evaluation of the step, or for an analysis."""
        self.ready()
        assert self.tape is not None
        assert self.way is not None
        for function in self.step.site.activation if self.step.places[0][0].stages else ():
            y = function(y)
        statistics = {} if what is None else self.step.of_stage(what.index)
        terms = [x for one in self.added for x in one]
        found = iter(self.tape.replay(self.way, self.u, y, terms, statistics))
        sums = zip(self.sums, self.added, strict=True)
        branch = _total([one.branch(tuple(next(found) for _ in terms)) for (one, _), terms in sums])
        return branch if branch.shape == y.shape else branch.expand(y.shape)

    def ready(self) -> Stages:
        """Find the calls on the way, while they are there."""
        if self.way is None:
            assert self.tape is not None  # schemes that evaluate elsewhere record
            self.u = self.tape.origin(self.u, self.step.site.copies)
            self.way = self.tape.way(self.u, self.added)
        return self

    def constants(self) -> list[Tensor]:
        """The tensors besides the state that what is added is made of."""
        made = {id(x) for call in self.ready().way or () for x in call.made}
        given = [x for call in self.way or () for x in call.given]
        return [x for x in given if id(x) not in made and x is not self.u]


def _total(branches: list[Tensor]) -> Tensor:
    total = branches[0]
    for branch in branches[1:]:
        total = total + branch
    return total


def _again(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], x: Tensor) -> Tensor:
    others = {key: value for key, value in kwargs.items() if key != "input"}
    value: Tensor = func(x, *args, **others)
    return value


def _recording() -> object:
    """Whether autograd records, and into what; both kinds of torch.utils.checkpoint change that."""
    return torch.is_grad_enabled(), torch._C._autograd._top_saved_tensors_default_hooks(True)


def _inside_checkpoint() -> bool:
    """Whether torch.utils.checkpoint is at work above; no_grad around a sum is none of its doing."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == checkpoint.__name__:
            return True
        frame = frame.f_back
    return False
