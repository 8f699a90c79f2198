"""The mode under which a module with sums in it runs: it sees every call of torch, and takes steps in place of sums."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode, handle_torch_function
from torch.utils import checkpoint

from ..fields import FieldError
from ..program.step import State
from .calls import ADDITIONS, FOLLOWED, IN_PLACE, MOVES, Added, addition, called_from, does_nothing, total, version
from .chain import Chain, History, Session
from .replay import Stages, Tape
from .sums import Sum

#: held by the thread that records
_RECORDING = threading.RLock()
_PLAIN = Function.__dict__["apply"]


def _apply(cls: type, *args: Any, **kwargs: Any) -> Any:
    # Threads that record nothing have no mode, and are not concerned; nor is checkpointing where nothing is recorded.
    seen = cls is checkpoint.CheckpointFunction and not torch.is_grad_enabled()
    if torch._C._is_torch_function_mode_enabled() and not seen:
        return handle_torch_function(cls.apply, args, *args, **kwargs)  # type: ignore[attr-defined]
    return _PLAIN.__func__(cls, *args, **kwargs)


@contextmanager
def whole_functions() -> Iterator[None]:
    """While this holds, a mode is shown ``MyFunction.apply`` itself: only so has it its own backward pass again.

    For the time of a recording alone, since torch has no public place where one could say so. FieldError if another
    thread records: stages draw from the generators that all threads have.
    """
    if not _RECORDING.acquire(blocking=False):
        raise FieldError(
            "swap_scheme: got a second thread in a model under a scheme of several stages, which would draw the random "
            "numbers of the first one's, expected one thread at a time"
        )
    before = Function.__dict__["apply"]
    setattr(Function, "apply", classmethod(_apply))  # noqa: B010  (a method is assigned)
    try:
        yield
    finally:
        setattr(Function, "apply", before)  # noqa: B010
        _RECORDING.release()


class Watch(TorchFunctionMode):
    """One call of the forward of an Owner, a module with sums in it.

    A sum is known by its line, and by which addition in that line it is; under torch.compile, which does not tell
    lines, by its number among all additions.
    """

    def __init__(self, owner: Any, tape: Tape | None) -> None:
        self.owner, self.tape, self.special = owner, tape, ADDITIONS if owner.history is None else FOLLOWED
        #: additions seen, in each line that has a step
        self.counts: dict[Any, int] = {}
        #: x + a, where a step is x + a + b -> x and what is added; torch.compile would be bound to the id of an input
        self.parts: dict[Tensor, tuple[Tensor, list[Added]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Make a call, or take a step."""
        given = kwargs or {}
        if func in self.special:
            found = addition(func, args, given)
            if found is not None:
                one = self._known()
                if one is not None:
                    return self._take(one, func, *found)
            elif self.owner.history is not None and (func not in ADDITIONS or does_nothing(func, args)):
                return self._follow(self.owner.history, func, args, given)
        return func(*args, **given) if self.tape is None else self.tape.record(func, args, given)

    def _known(self) -> Sum | None:
        """The step at the addition that is being made."""
        owner = self.owner
        source: Any = owner.module.training if torch.compiler.is_compiling() else called_from(2)
        most = owner.totals.get(source)
        if most is None:
            return None
        place = self.counts.get(source, 0)
        self.counts[source] = place + 1
        if place >= most:
            raise self._unlike(f"an addition once more than at the example, after {most} sums,", source)
        return owner.by_place.get((source, place))

    def finish(self) -> None:
        """Raise FieldError if a sum was left out that the example had."""
        owner, training = self.owner, self.owner.module.training
        if torch.compiler.is_compiling() and owner.steps:
            count, most = self.counts.get(training, 0), owner.totals.get(training, "others in each call")
            if count != most:
                raise self._unlike(f"{count} additions, where there were {most} at the example,", training)
            return
        for k, one in enumerate(owner.steps):
            if one.always and self.counts.get(one.source, 0) <= one.place:
                got = f"a forward without the sum number {k + 1} of {len(owner.steps)} that it had at the example,"
                raise self._unlike(got, one.source)

    def _unlike(self, got: str, source: Any) -> FieldError:
        source = self.owner.steps[0].source if isinstance(source, bool) else source
        return FieldError(
            f"{self.owner.name}: got {got} in line {source[2]} of {source[1]} ({source[0]}), expected the same sums at "
            "every input and in training; give an example that shows them, or unswap (a swapped model cannot be traced "
            "by torch.fx; torch.export can, strict=False)"
        )

    def _take(self, one: Sum, func: Any, given: tuple[Tensor, ...], factor: float) -> Tensor:
        _refuse_checkpoint(self.owner)
        u, added = given[one.side], [((*given[: one.side], *given[one.side + 1 :]), factor)]
        if u in self.parts:
            u, earlier = self.parts.pop(u)
            added = [*earlier, *added]
        branch = total(added, u, {})
        if one.whole is not one:
            out = torch.add(u, branch)
            self.parts[out] = u, added
            return out
        chain, n, carried, start = self._entered(one, u)
        stages = None
        if self.tape is not None and (chain.observer is not None or chain.elsewhere(n)):
            stages = Stages(self.tape, one, u, added, self.owner.module.training)
        if chain.observer is not None:
            chain.observer.on_step(n, (u, *carried), stages)
        if func in IN_PLACE and chain.exact:
            # What is written over is needed, by the next step or for the gradients of coefficients.
            kept = given[0].clone()
            u, branch = (kept if x is given[0] else x for x in (u, branch))
        new = chain.advance(n, carried, u, branch, stages)
        # What is added came first, and torch lays a sum out in memory as its first operand.
        out, *left = (_laid_out(x, given[0]) for x in new) if one.side and func not in IN_PLACE else new
        if func in IN_PLACE:
            # What was made in inference mode is written to in it alone.
            inference = not torch.compiler.is_compiling() and given[0].is_inference()
            with torch.inference_mode() if inference else nullcontext():
                # Of copy_, what is written over has a gradient that is laid out in memory anew. A trace is to be the
                # same without a record.
                anew = torch.is_grad_enabled() and not torch.jit.is_tracing()
                out = given[0].zero_().add_(out) if anew else given[0].copy_(out)
        if chain.tracked:
            chain.history.keep(Session(chain, n, tuple(left), tuple(map(version, (out, *left))), start=start), out)
        if self.tape is not None and one.clears:
            self.tape.calls = []
        return out

    def _entered(self, one: Sum, u: Tensor) -> tuple[Chain, int, State, Tensor | None]:
        """Which step of which chain starts at u, what is carried into it, () into the first, and a session's start."""
        if not one.places[0][0].tracked:
            return *one.places[0], (), None
        session = one.places[0][0].history.find(u)
        if session is not None and (session.chain, session.step + 1) in one.places:
            return session.chain, session.step + 1, session.chain.carried(session, u), session.start
        chain, n = next(((c, n) for c, n in one.places if n == 0 or not c.exact), one.places[-1])
        if n and chain.exact:
            raise chain.broken(n)
        return chain, n, (), None

    def _follow(self, history: History, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A call that may move a state, or be an activation of it; what is carried goes with the state."""
        x: Any = args[0] if args else kwargs.get("input")
        session = history.find(x) if isinstance(x, Tensor) else None
        before = None if session is None else version(x)
        value = func(*args, **kwargs) if self.tape is None else self.tape.record(func, args, kwargs)
        y = value if isinstance(value, Tensor) else x
        if session is not None and (y is not x or version(y) != before):
            rest, more = args[1:], {key: item for key, item in kwargs.items() if key != "input"}
            moves = (lambda z: func(z, *rest, **more),) if func in MOVES else ()  # an activation is for the state alone
            versions = (version(y), *session.versions[1:])
            history.keep(session._replace(versions=versions, moves=session.moves + moves), y)
        return value


def _laid_out(x: Tensor, like: Tensor) -> Tensor:
    """The values of x, in memory in the order in which a tensor of the same shape is there.

    One with gaps or overlaps, as an expanded one is, does not settle how torch lays a sum out: x stays as it is.
    """
    strides = like.stride()
    if x.shape != like.shape or x.stride() == strides or torch.empty_like(like).stride() != strides:
        return x
    order = sorted(range(x.dim()), key=lambda i: -strides[i])
    return x.permute(order).contiguous().permute(sorted(range(x.dim()), key=lambda i: order[i]))


def _refuse_checkpoint(owner: Any) -> None:
    """Refuse a sum between torch.utils.checkpoint and the forward that is watched, whose frame is in this package."""
    frame: FrameType | None = None if torch.compiler.is_compiling() else sys._getframe(3)
    while frame is not None and frame.f_globals.get("__package__") != __package__:
        if frame.f_globals.get("__name__") == checkpoint.__name__:
            raise FieldError(
                f"{owner.name}: got a sum under torch.utils.checkpoint inside of it, which would run it again "
                f"without {owner.scheme}; expected activation checkpointing around it, or none"
            )
        frame = frame.f_back
