"""Which additions of a recorded pass are steps u + f(u), the chains they form, and why others are left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from .calls import name_of, nothing_done, words
from .trace import Call, Frame, Seen, Trace

#: what moves the values of a state and keeps them all
MOVES = words(
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze contiguous "
    "clone roll T mT alias"
)
#: what may follow a sum, and is applied to the state alone
ACTIVATIONS = words(
    "relu relu_ relu6 leaky_relu leaky_relu_ elu elu_ selu selu_ celu gelu silu mish softplus hardtanh hardtanh_ "
    "hardswish hardsigmoid tanh tanh_ sigmoid sigmoid_ rrelu softsign clamp clamp_ __setitem__ fill_ masked_fill "
    "masked_fill_ nan_to_num dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
)
#: with more sums than this inside its branch a sum goes around blocks, and these are taken in its place
MANY = 2
#: of a sum inside the branch of another, which goes by these words and its owner
PART = "it is part of what is added by"


@dataclass(eq=False)
class Sum:
    """An addition to a state of what is made of it.

    ``state`` and ``terms``, what is added, are numbers of values. ``weighed``: by way of a weight of two dimensions or
    more. ``copies``: how often the state is copied before it. ``parts`` are earlier additions of the same step, as
    x + a in x + a + b. ``once``: why what is added cannot be had at other states.
    """

    seen: Seen
    side: int
    state: int
    terms: tuple[int, ...]
    weighed: bool
    copies: int = 0
    parts: tuple[Seen, ...] = ()
    sides: tuple[int, ...] = ()
    reason: str = ""
    once: str = ""
    owner: Frame = field(default_factory=lambda: Frame("", 0, 0))
    #: (which addition in its line, which of all) in its owner, of all its parts; whether each call of its owner has it
    places: list[tuple[int, int]] = field(default_factory=list)
    always: bool = True

    @property
    def steps(self) -> tuple[Seen, ...]:
        """All its additions, in order."""
        return (*self.parts, self.seen)


class Judge:
    """The sums of a trace, with the reason of those that are left alone."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.sums: list[Sum] = []
        for seen in trace.additions:
            self._add(seen)
        for found in self.sums:
            self._own(found)
        self._refuse_unweighed()
        self._refuse_nested()
        self._refuse_post_norm()
        for found in self.taken:
            if found.side == 0 and found.seen.reused:
                found.reason = "its sum is written into its own state, which is used again under its old name"
        self._place()

    @property
    def taken(self) -> list[Sum]:
        """Those that are not left alone."""
        return [found for found in self.sums if not found.reason]

    # ------------------------------------------------------------------------------------------- what is a sum

    def _add(self, seen: Seen) -> None:
        trace = self.trace
        fixed = [trace.fixed[n] for n in seen.operands]
        sides = [s for s in seen.addition.sides if trace.shapes[seen.operands[s]] == trace.shapes[seen.made]]
        if any(fixed[:1]) or all(fixed[1:]):
            return
        found = [self._direct(seen, side, trace.weighed) or self._further(seen, side) for side in sides]
        found += [self._direct(seen, side, trace.scaled) for side in sides]
        best = next((one for one in found if one is not None), None) or self._projected(seen)
        if best is not None:
            self.sums.append(best)

    def _direct(self, seen: Seen, side: int, by: list[int]) -> Sum | None:
        """U + f(u), by way of a parameter."""
        terms = _others(seen.operands, side)
        for copies, state in enumerate(self._same(seen.operands[side])):
            if any(by[f] >> state & 1 for f in terms):
                return Sum(seen, side, state, terms, by is self.trace.weighed, copies)
        return None

    def _same(self, u: int) -> Iterator[int]:
        """u, and what it is a copy of."""
        yield u
        while (call := self.trace.calls[u]) is not None and nothing_done(call.func, call.args):
            u = call.inputs[0]
            yield u

    def _further(self, seen: Seen, side: int) -> Sum | None:
        """X + a + b, the second addition: what is added depends on the state of the first, and not on x + a."""
        trace, u, terms = self.trace, seen.operands[side], _others(seen.operands, side)
        last = next((one for one in reversed(self.sums) if one.seen.made == u and not one.reason), None)
        if last is None or last.seen.frames[-1] is not seen.frames[-1] or last.seen.reused:
            return None
        after = any(trace.weighed[f] >> last.state & 1 for f in terms)
        if not after or any(trace.before[f] >> u & 1 for f in terms) or len(self._consumers(u)) > 1:
            return None
        self.sums.remove(last)
        parts, sides = (*last.parts, last.seen), (*last.sides, last.side)
        return Sum(seen, side, last.state, (*last.terms, *terms), True, last.copies, parts, sides)

    def _projected(self, seen: Seen) -> Sum | None:
        """Both operands are made of something by way of a weight: a shortcut with weights, or two branches."""
        trace, (a, b) = self.trace, seen.operands[:2]
        common = trace.before[a] & trace.before[b]
        ancestors = (n for n in range(common.bit_length() - 1, -1, -1) if common >> n & 1 and not trace.fixed[n])
        state = next(ancestors, None)
        if state is None or not (trace.weighed[a] | trace.weighed[b]) >> state & 1:
            return None
        before, after = tuple(trace.shapes[state]), tuple(trace.shapes[seen.made])
        reason = "neither of its operands is what the other is made of"
        if before != after:
            reason = f"it changes the shape, from {before} to {after}"
        return Sum(seen, 0, state, (a, b), True, reason=reason)

    def _consumers(self, number: int) -> list[Call | None]:
        """The calls that use a value; None for the model's output."""
        found = {id(self.trace.calls[n]): self.trace.calls[n] for n in self.trace.uses[number] if n >= 0}
        return [*found.values(), *([None] if -1 in self.trace.uses[number] else [])]

    # ---------------------------------------------------------------------------------------- what is left alone

    def _own(self, found: Sum) -> None:
        """The innermost call of a module that has seen all between the state and the sum."""
        ways = [n for f in found.terms for n in self.trace.between(found.state, f)]
        first = min(ways, default=found.seen.made)
        found.owner = next(frame for frame in reversed(found.seen.frames) if frame.start <= first)
        unseen = next((self.trace.unseen[n] for n in ways if n in self.trace.unseen), "")
        if unseen:
            found.once = f"its branch goes through {unseen} in a script or the like, whose calls cannot be seen"

    def _refuse_unweighed(self) -> None:
        weighed = {id(one.owner) for one in self.taken if one.weighed}
        for found in self.taken:
            if not found.weighed and id(found.owner) not in weighed:
                found.reason = "what it adds has no weight of two dimensions or more"

    def _refuse_nested(self) -> None:
        before, taken = self.trace.before, self.taken
        states = {n for found in taken for n in self._back(found.state)}

        def inside(inner: Sum, outer: Sum) -> bool:
            within = any(before[f] >> inner.seen.made & 1 for f in outer.terms)
            if inner is outer or not within or not before[inner.seen.made] >> outer.state & 1:
                return False
            # A mask that the scores of two layers are added to is no state; that of another stream goes on.
            return bool(before[inner.state] >> outer.state & 1) or inner.seen.made not in states

        # From the last one on: what is inside another is no outer one.
        for outer in reversed(taken):
            inner = [one for one in taken if inside(one, outer)] if not outer.reason else []
            blocks = [one for one in inner if before[one.state] >> outer.state & 1]
            if len(blocks) > MANY:
                outer.reason = f"it goes around {len(blocks)} sums, which are taken in its place"
                continue
            for one in inner:
                one.reason = one.reason or f"{PART} {outer.owner.module or 'the model'}"

    def _refuse_post_norm(self) -> None:
        trace, states = self.trace, {n for found in self.sums for n in self._back(found.state)}
        # A norm that follows the last sum of several in a line, as before the head, is no part of these steps.
        going = {found.seen.source for found in self.taken if found.seen.made in states}
        ends = [found for found in self.taken if found.seen.source not in going]
        for found in ends:
            s = found.seen.made
            after = (t for t in self.taken if trace.scaled[t.state] >> s & 1 and not trace.weighed[t.state] >> s & 1)
            if (later := next(after, None)) is not None:
                self._refuse_norm(found, trace.between(s, later.state))
        refused = {found.seen.source: found.reason for found in ends if found.reason}
        for found in ends:
            uses = self._consumers(found.seen.made)
            found.reason = found.reason or refused.get(found.seen.source, "")
            if len(uses) == 1 and uses[0] is not None and found.owner in uses[0].frames and self._alone(found):
                self._refuse_norm(found, [n for n in trace.uses[found.seen.made] if n >= 0])

    def _alone(self, found: Sum) -> bool:
        return [one for one in self.taken if one.owner is found.owner] == [found]

    def _refuse_norm(self, found: Sum, after: Iterable[int]) -> None:
        for n in after:
            call = self.trace.calls[n]
            inputs = [] if call is None else [i for i in call.inputs if self.trace.parameter[i]]
            if inputs and not any(self.trace.kernel[i] for i in inputs):
                found.reason = (
                    f"parameters follow its sum ({self.trace.names.get(inputs[0], 'a norm')}): the state would have to "
                    "be projected by something that is learned, as in a post-LN transformer"
                )
                return

    # ------------------------------------------------------------------------------------------- how it is known

    def _place(self) -> None:
        """Number each sum among the additions of its owner; those of one module must be the same in all its calls."""
        owners = {id(seen): found.owner for found in self.taken for seen in found.steps}
        steps = {id(seen): (found, i) for found in self.taken for i, seen in enumerate(found.steps)}
        modules = {found.owner.module for found in self.taken}
        frames = {id(f): f for seen in self.trace.additions for f in seen.frames if f.module in modules}
        known: dict[object, list[tuple[Frame, Sum | None, int]]] = {}
        for frame in frames.values():
            counts: dict[object, int] = {}
            # What is a step of a module inside is not seen as an addition.
            own = [seen for seen in frame.additions if owners.get(id(seen), frame) is frame]
            for number, seen in enumerate(own):
                place = counts[seen.source] = counts.get(seen.source, -1) + 1
                found, i = steps.get(id(seen), (None, 0))
                known.setdefault((frame.module, seen.source, place), []).append((frame, found, i))
                if found is not None:
                    found.places.append((place, number))
        for calls in known.values():
            kinds = {None if found is None else (*found.sides, found.side, i) for _, found, i in calls}
            number = sum(frame.module == calls[0][0].module for frame in frames.values())
            for found in [found for _, found, _ in calls if found is not None]:
                found.always = found.always and len(calls) == number
                if len(kinds) > 1:
                    found.reason = "the same line makes no step, or another one, in another call of its module"

    # --------------------------------------------------------------------------------------------------- chains

    def _passes(self, number: int) -> Call | None:
        """The call that made a value of one other alone, by moving it or as an activation."""
        call, trace = self.trace.calls[number], self.trace
        if call is None or len([i for i in call.inputs if not trace.fixed[i]]) != 1:
            return None
        known = name_of(call.func) in MOVES | ACTIVATIONS or nothing_done(call.func, call.args)
        if not known or any(trace.parameter[i] for i in call.inputs):
            return None
        return call if trace.shapes[number].numel() == trace.shapes[self._input(call)].numel() else None

    def _input(self, call: Call) -> int:
        return next(i for i in call.inputs if not self.trace.fixed[i])

    def _back(self, number: int) -> Iterator[int]:
        """A value, and what it is made of by moves and activations alone."""
        yield number
        while (call := self._passes(number)) is not None:
            number = self._input(call)
            yield number

    def after(self, found: Sum) -> Iterator[Call]:
        """The activations that follow a sum, where nothing else uses it."""
        number = found.seen.made
        while len(calls := self._consumers(number)) == 1 and (call := calls[0]) is not None:
            number = next(n for n in range(number + 1, len(self.trace.calls)) if self.trace.calls[n] is call)
            if self._passes(number) is None or name_of(call.func) not in ACTIVATIONS:
                break
            yield call
        # Or what is written into a view of it.
        made, tensors = found.seen.made, self.trace.tensors
        for n in self.trace.uses[made]:
            call = self.trace.calls[n] if n >= 0 and tensors[n] is tensors[made] else None
            if call is not None and made not in call.inputs:
                yield call

    def norms(self, found: Sum) -> Iterator[str]:
        """The normalisations whose statistics its branch uses."""
        trace = self.trace
        calls = [trace.calls[n] for f in found.terms for n in trace.between(found.state, f)]
        used = dict.fromkeys(i for call in calls if call is not None for i in call.inputs)
        return (trace.norms[i] for i in used if i in trace.norms)

    def chains(self) -> list[list[tuple[Sum, list[Call]]]]:
        """Sums whose state is what the one before made, moved or behind an activation at most, with these calls."""
        ends: dict[int, list[tuple[Sum, list[Call]]]] = {}
        chains = []
        for found in self.taken:
            ways = list(self._back(found.state if found.parts else found.seen.operands[found.side]))
            before = next((n for n in ways if n in ends), None)
            chain: list[tuple[Sum, list[Call]]] = [] if before is None else ends.pop(before)
            calls = [self.trace.calls[n] for n in (ways[: ways.index(before)] if before is not None else ())]
            if not chain:
                chains.append(chain)
            chain.append((found, [call for call in reversed(calls) if call is not None]))
            ends[found.seen.made] = chain
        return chains


def _others(operands: Sequence[int], side: int) -> tuple[int, ...]:
    return (*operands[:side], *operands[side + 1 :])
