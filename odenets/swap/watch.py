"""The mode under which a module with sums in it runs: it sees every call of torch, and takes steps in place of sums."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import checkpoint

from ..fields import FieldError
from ..program.step import State
from .calls import IN_PLACE, Added, Function, Source, called_from, factor_of, operands, others, version
from .chain import Chain, elsewhere
from .steps import Plan, Step, total
from .tape import Stages, Tape


class Watch(TorchFunctionMode):
    """One call of a forward with sums in it.

    A sum is known by its line, and by which addition in that line it is; under torch.compile, which does not tell
    lines, by its number among all additions.
    """

    def __init__(self, plan: Plan, tape: Tape | None) -> None:
        self.plan, self.special, self.tape = plan, plan.special, tape
        #: additions seen, in each line that has a step; under torch.compile all together
        self.counts: dict[Source, int] = {}
        self.number = 0
        #: x + a, where a step is x + a + b -> x, what is added, and x + a itself
        self.parts: dict[int, tuple[Tensor, list[Added], Tensor]] = {}

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Make a call, or take a step."""
        given = kwargs or {}
        if func in self.special:
            added = operands(func, args, given)
            if added is not None:
                step = self._known()
                if step is not None and (step.places[0][0].observer is not None or not step.places[0][0].plain):
                    return self._take(step, func, added, factor_of(func, given))
            if func in self.plan.moves:
                return self._follow(func, args, given)
        return func(*args, **given) if self.tape is None else self.tape.record(func, args, given)

    def _known(self) -> Step | None:
        """The step at the addition that is being made."""
        plan = self.plan
        if torch.compiler.is_compiling():
            self.number += 1
            return plan.by_number.get(self.number - 1)
        source = called_from(2)
        most = plan.totals.get(source)
        if most is None:
            return None
        place = self.counts.get(source, 0)
        self.counts[source] = place + 1
        if place >= most:
            raise FieldError(
                f"{plan.name}: got an addition in line {source[2]} of {source[1]} ({source[0]}) once more than at the "
                f"example, after {most} sums, expected the same sums at every input and in training; give an example "
                "that shows them, or unswap"
            )
        return plan.by_place.get((source, place))

    def finish(self) -> None:
        """See that no sum was left out.

        Raises:
            FieldError: a sum was not met where the example had one.
        """
        plan, compiled = self.plan, torch.compiler.is_compiling()
        for k, added in enumerate(step.added for step in plan.steps):
            missing = self.number <= added.number if compiled else self.counts.get(added.source, 0) <= added.place
            if added.always and missing:
                raise FieldError(
                    f"{plan.name}: got a forward without the sum number {k + 1} of {len(plan.steps)} that it had at "
                    f"the example, in line {added.source[2]} of {added.source[1]} ({added.source[0]}), expected the "
                    "same sums at every input and in training; give an example that shows them, or unswap (a swapped "
                    "model cannot be traced by torch.fx; torch.export can, strict=False)"
                )

    # ------------------------------------------------------------------------------------------------- a step

    def _take(self, step: Step, func: Function, given: tuple[Tensor, ...], factor: Any) -> Tensor:
        _refuse_checkpoint(self.plan)
        u, added = given[step.added.side], [Added(func, others(given, step.added.side), factor)]
        if id(u) in self.parts:
            u, earlier, _ = self.parts.pop(id(u))
            added = [*earlier, *added]
        branch = total([one.value(one.terms) for one in added], u)
        if step.added is not step.whole:
            out = torch.add(u, branch)
            self.parts[id(out)] = u, added, out
            return out
        chain, n, carried = self._entered(step, u)
        stages = None
        if self.tape is not None and (chain.observer is not None or elsewhere(chain.program_of(n))):
            stages = Stages(self.tape, step, u, added)
        if chain.observer is not None:
            chain.observer.on_step(n, (u, *carried), stages)
        out, *left = chain.advance(n, carried, u, branch, stages)
        if func in IN_PLACE:
            left = [x.clone() if x is given[0] else x for x in left]
            out = given[0].copy_(out)
        if chain.tracked:
            chain.history.keep(n, out, tuple(left))
        if self.tape is not None and step.whole.clears:
            self.tape.calls = []
        return out

    def _entered(self, step: Step, u: Tensor) -> tuple[Chain, int, State]:
        """Which step of which chain starts at u, and what is carried into it; () into the first."""
        if not step.places[0][0].tracked:
            return *step.places[0], ()
        for chain, n in step.places:
            session = chain.history.find(u)
            if session is not None and session.step + 1 == n:
                return chain, n, chain.history.carried(session, u)
        for chain, n in step.places:
            if n == 0 or not chain.exact:
                return chain, n, ()
        raise chain.history.broken(n)

    # --------------------------------------------------------------------------------------- between two steps

    def _follow(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that may move a state, or be an activation of it; what is carried goes with the state."""
        x = args[0] if args else kwargs["input"]
        found = [(chain.history, chain.history.find(x)) for chain in self.plan.tracked]
        before = version(x)
        value = func(*args, **kwargs) if self.tape is None else self.tape.record(func, args, kwargs)
        y = value if isinstance(value, Tensor) else x
        more = {key: item for key, item in kwargs.items() if key != "input"}
        for history, session in found:
            if session is not None and (y is not x or version(y) != before):
                move = partial(_moved, func, args[1:], more) if self.plan.moves[func] else None
                history.follow(session, y, move)
        return value


def _moved(func: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], x: Tensor) -> Tensor:
    value: Tensor = func(x, *args, **kwargs)
    return value


def _refuse_checkpoint(plan: Plan) -> None:
    """Refuse a sum between torch.utils.checkpoint and the forward that is watched, whose frame is in this package."""
    frame: FrameType | None = None if torch.compiler.is_compiling() else sys._getframe(3)
    while frame is not None and frame.f_globals.get("__package__") != __package__:
        if frame.f_globals.get("__name__") == checkpoint.__name__:
            raise FieldError(
                f"{plan.name}: got a sum under torch.utils.checkpoint inside of it, which would run it again "
                f"without {plan.scheme}; expected activation checkpointing around it, or none"
            )
        frame = frame.f_back
