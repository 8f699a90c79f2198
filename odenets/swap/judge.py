"""Which additions of a recorded pass are steps u + f(u), the chains they form, and why others are left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from .calls import ACTIVATIONS, MOVES, Source, does_nothing
from .sums import Sum
from .trace import Trace, Value

#: with more sums than this inside its branch a sum goes around blocks, and these are taken in its place
MANY = 2
#: of a sum inside the branch of another, which goes by these words and its owner
PART = "it is part of what is added by"


class Judge:
    """The sums of a trace, with the reason of those that are left alone, and the chains of the others.

    ``between``: modules without sums that move a state from one sum to the next; ``within``: all in which, or in
    modules inside of them, a sum or a move is made.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.values, self.sums, self.chains = trace, trace.values, list[Sum](), list[list[Sum]]()
        self.between, self.within, self.notes = set[str](), set[str](), tuple[str, ...]()
        for one in trace.additions:
            if self._is_sum(one):
                self.sums.append(one)
        for one in self.sums:
            self._own(one)
        self._refuse_unweighed()
        self._refuse_nested()
        self._refuse_post_norm()
        while self._placed():
            pass

    @property
    def taken(self) -> list[Sum]:
        """Those that are not left alone."""
        return [one for one in self.sums if not one.reason]

    def _is_sum(self, one: Sum) -> bool:
        fixed, shape = [self.values[n].fixed for n in one.operands], self._shape(one.made)
        if fixed[0] or all(fixed[1:]):
            return False
        sides = [s for s in one.sides if self._shape(one.operands[s]) == shape]
        found = any(self._direct(one, side, "weighed") or self._further(one, side) for side in sides)
        return found or any(self._direct(one, side, "scaled") for side in sides) or self._projected(one)

    def _direct(self, one: Sum, side: int, by: str) -> bool:
        """U + f(u), by way of a parameter."""
        terms, state = one.others(side), one.operands[side]
        while not any(getattr(self.values[f], by) >> state & 1 for f in terms):
            value = self.values[state]
            if value.call is None or not does_nothing(value.call.func, value.call.args):
                return False
            state = value.inputs[0]  # of which it is a copy
        one.side, one.state, one.terms, one.weighed = side, state, terms, by == "weighed"
        return True

    def _further(self, one: Sum, side: int) -> bool:
        """X + a + b, the second addition: what is added depends on the state of the first, and not on x + a."""
        u, terms = one.operands[side], [self.values[f] for f in one.others(side)]
        last = next((first for first in reversed(self.sums) if first.made == u and not first.reason), None)
        if last is None or last.frames[-1] is not one.frames[-1] or len(self.consumers(u)) > 1:
            return False
        if not any(f.weighed >> last.state & 1 for f in terms) or any(f.before >> u & 1 for f in terms):
            return False
        self.sums.remove(last)
        one.side, one.state, one.terms, one.parts = side, last.state, last.terms + one.others(side), last.additions
        return True

    def _projected(self, one: Sum) -> bool:
        """Both operands are made of something by way of a weight: a shortcut with weights, or two branches."""
        a, b = (self.values[n] for n in one.operands[:2])
        common = a.before & b.before
        ancestors = (n for n in range(common.bit_length() - 1, -1, -1) if common >> n & 1 and not self.values[n].fixed)
        state = next(ancestors, None)
        if state is None or not (a.weighed | b.weighed) >> state & 1:
            return False
        one.state, one.terms = state, one.operands[:2]
        before, after, *shapes = map(self._shape, (state, one.made, *one.terms))
        one.reason = "neither of its operands is what the other is made of"
        if before != after:
            one.reason = f"it changes the shape, from {before} to {after}"
        if shapes[0] != shapes[1]:
            small = next(shape for shape in shapes if shape != after)
            one.reason = f"it adds to a state {after} what is broadcast to it, {small}, and not made of it"
        return True

    def consumers(self, number: int) -> list[Value | None]:
        """What is made of a value, one for each call; None for the model's output."""
        uses = self.values[number].uses
        found = {id(self.values[n].call): self.values[n] for n in reversed(uses) if n >= 0}
        return [*found.values(), *([None] if -1 in uses else [])]

    def _shape(self, number: int) -> tuple[int, ...]:
        return tuple(self.values[number].tensor.shape)

    def _own(self, one: Sum) -> None:
        """The innermost call of a module that has seen all between the state and the sum; what is in the branch."""
        branch = [value for f in one.terms for value in self.trace.between(one.state, f)]
        first = min((value.number for value in branch), default=one.made)
        for part in one.additions:
            part.owner = next(frame for frame in reversed(one.frames) if frame.start <= first)
        if unseen := next((value.unseen for value in branch if value.unseen), ""):
            one.once = f"its branch goes through {unseen} in a script or the like, whose calls cannot be seen"
        drew = next((f"{value.drew}, which draws random numbers" for value in branch if value.drew), "")
        one.hidden = (drew or ("a forward that writes through views" if self.trace.aliased else ""),) * 2
        used = dict.fromkeys(i for value in branch for i in value.inputs)
        one.norms = tuple(norm for i in used if (norm := self.values[i].norm) is not None)

    def _refuse_unweighed(self) -> None:
        weighed = {id(one.owner) for one in self.taken if one.weighed}
        for one in self.taken:
            if not one.weighed and id(one.owner) not in weighed:
                one.reason = "what it adds has no weight of two dimensions or more"

    def _refuse_nested(self) -> None:
        values, taken = self.values, self.taken
        states = {n for one in taken for n in self.back(one.state)}

        def inside(inner: Sum, outer: Sum) -> bool:
            within = any(values[f].before >> inner.made & 1 for f in outer.terms)
            if inner is outer or not within or not values[inner.made].before >> outer.state & 1:
                return False
            # A mask that the scores of two layers are added to is no state; that of another stream goes on.
            return bool(values[inner.state].before >> outer.state & 1) or inner.made not in states

        # From the last one on: what is inside another is no outer one.
        for outer in reversed(taken):
            inner = [one for one in taken if inside(one, outer)] if not outer.reason else []
            blocks = [one for one in inner if values[one.state].before >> outer.state & 1]
            if len(blocks) > MANY:
                outer.reason = f"it goes around {len(blocks)} sums, which are taken in its place"
                continue
            for one in inner:
                one.reason = one.reason or f"{PART} {outer.owner.module or 'the model'}"
            # Of a shortcut, or of what is broadcast, nobody need know where the step is taken around it.
            for one in self.sums if not outer.reason else ():
                if one.reason and PART not in one.reason and inside(one, outer):
                    one.reason = f"{PART} {outer.owner.module or 'the model'}"

    def _refuse_post_norm(self) -> None:
        values, states = self.values, {n for one in self.sums for n in self.back(one.state)}
        # A norm that follows the last sum of several in a line, as before the head, is no part of these steps.
        going = {one.source for one in self.taken if one.made in states}
        ends = [one for one in self.taken if one.source not in going]
        for one in ends:
            after = (t.state for t in self.taken if values[t.state].scaled & ~values[t.state].weighed & 1 << one.made)
            if (later := next(after, None)) is not None:
                self._refuse_norm(one, self.trace.between(one.made, later))
        refused = {one.source: one.reason for one in ends if one.reason}
        for one in ends:
            uses = self.consumers(one.made)
            one.reason = one.reason or refused.get(one.source, "")
            alone = [other for other in self.taken if other.owner is one.owner] == [one]
            if len(uses) == 1 and uses[0] is not None and one.owner in uses[0].frames and alone:
                self._refuse_norm(one, [values[n] for n in values[one.made].uses if n >= 0])

    def _refuse_norm(self, one: Sum, after: Iterable[Value]) -> None:
        for value in after:
            inputs = [self.values[i] for i in value.inputs if self.values[i].parameter]
            if inputs and not any(i.kernel for i in inputs):
                one.reason = (
                    f"parameters follow its sum ({inputs[0].name or 'a norm'}): the state would have to be projected "
                    "by something that is learned, as in a post-LN transformer"
                )
                return

    def _placed(self) -> bool:
        """Place the additions in the calls of owners; whether a sum was refused, since calls of it differ."""
        owners = {one.owner.module for one in self.taken}
        steps = {id(part): (one, i) for one in self.taken for i, part in enumerate(one.additions)}
        known: dict[tuple[str, Source, int], list[tuple[Sum, Sum | None, int]]] = {}
        for added, frame, place, _ in self.trace.placed(owners):
            added.place = place
            one, i = steps.get(id(added), (None, 0))
            if one is not None and one.owner is not frame:
                one.reason = "it is made in a module that has a sum of its own"
            known.setdefault((frame.module, added.source, added.place), []).append((added, one, i))
        totals = Counter((module, source) for module, source, _ in known)
        for (module, source, _), calls in known.items():
            kinds = {None if one is None else (*(part.side for part in one.additions), i) for _, one, i in calls}
            for added, one, _ in calls:
                added.always, added.total = len(calls) == self.trace.called[module], totals[module, source]
                if one is not None and len(kinds) > 1:
                    one.reason = "the same line makes no step, or another one, in another call of its module"
        return {one.owner.module for one in self.taken} != owners

    def passes(self, number: int) -> int | None:
        """The one value that a value is made of, by moving it or as an activation."""
        value = self.values[number]
        inputs = [i for i in value.inputs if not self.values[i].fixed]
        if value.call is None or len(inputs) != 1 or any(self.values[i].parameter for i in value.inputs):
            return None
        known = value.call.func in MOVES | ACTIVATIONS or does_nothing(value.call.func, value.call.args)
        return inputs[0] if known and value.tensor.numel() == self.values[inputs[0]].tensor.numel() else None

    def back(self, number: int | None) -> Iterator[int]:
        """A value, and what it is made of by moves and activations alone."""
        while number is not None:
            yield number
            number = self.passes(number)
