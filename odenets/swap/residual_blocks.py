"""Which modules of a recorded pass are residual blocks: u -> u + f(u), once or several times in a row."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from .recording import Event, Frame, Trace
from .sums import IN_PLACE, Slot, Source


@dataclass(frozen=True)
class Block:
    """A residual block of a model.

    Args:
        name: its path in the model.
        slot: which of its arguments is the state.
        skips: for each of its sums, how many additions to the same state come before it (:class:`PartialForward`).
        sources: where in the code each of its sums is made.
        output: which of the tensors in what it returns is the state after it.
        activation: names of the functions that follow the last sum; none where the sum itself is returned.
        free: whether what follows a sum uses no tensor that was computed before it, but for the sum.
        alone: whether the state is all that it is given and all that it returns.
        trailing: how many additions to the last state come after it.
        in_place: whether a sum is written to what is added, and so has its dtype.
        rewrites: whether a tensor made before a sum is written to after it.
        writes: whether a sum that is made in place must be written to where it was.
    """

    name: str
    slot: Slot
    skips: tuple[int, ...]
    sources: tuple[Source, ...]
    output: int
    activation: tuple[str, ...]
    free: bool
    alone: bool
    trailing: int
    in_place: bool
    rewrites: bool
    writes: bool = False


class NoBlock(Exception):
    """Why a module with a sum in it is no block; an empty text where there is nothing to be said."""


class Analysis:
    """The blocks of a trace, innermost first, and of other modules with sums why they are none."""

    def __init__(self, trace: Trace, model: nn.Module) -> None:
        self.trace, self.owners = trace, trace.owners
        self.kernels = _kernels(trace, model)
        self.settled: set[int] = set()
        self.blocks: list[tuple[Frame, Block]] = []
        self.reasons: dict[str, str] = {}
        self.calls = [frame.name for frame in trace.frames]
        order = sorted(enumerate(trace.frames), key=lambda item: (item[1].stop, -item[1].start, -item[0]))
        for index, frame in order:
            if frame.stop >= 0:
                self._judge(index, frame)
        self.blocks.sort(key=lambda found: found[0].start)

    def _judge(self, index: int, frame: Frame) -> None:
        sums = States(self.trace, frame)
        inside = [block.name for own, block in self.blocks if frame.start <= own.start and own.stop <= frame.stop]
        new = [place for place in sums.places if place not in self.settled]
        self.settled.update(sums.places)
        try:
            if inside and new:
                raise NoBlock(f"it contains {inside[0]}, which is a block itself")
            if inside:
                return
            block = self._block(index, frame, sums)
        except NoBlock as reason:
            if str(reason) and (new or not sums.places):
                self.reasons[frame.name] = str(reason)
            return
        for name in [name for name in self.reasons if name.startswith(f"{frame.name}.") or not frame.name]:
            del self.reasons[name]
        self.settled.update(range(frame.start, frame.stop))
        self.blocks.append((frame, block))

    def _block(self, index: int, frame: Frame, sums: States) -> Block:
        if not sums.places:
            raise NoBlock(self._no_sum(index, frame))
        events = self.trace.events
        if any(number == id(frame.state) for place in sums.places for number, _ in events[place].outputs):
            raise NoBlock("its sum is written into its own input, which is then no more the state before")
        if not any(self._weighs(sums, i) for i in range(len(sums.places))):
            # An activation such as x (1 + tanh(x + x^3)) has no weights at all, and nobody took it for a block.
            weights = any(True for _ in frame.module.parameters())
            raise NoBlock("what it adds has no weight of two dimensions or more" if weights else "")
        if self.calls.count(frame.name) > 1:
            raise NoBlock(f"it is called {self.calls.count(frame.name)} times in a pass")
        last = len(sums.places)
        output = next((i for i, (number, _) in enumerate(frame.outputs) if sums.of(number) >> last), None)
        if output is None or sums.of(frame.outputs[output][0]) != 1 << last:
            raise NoBlock("what it returns depends on its input otherwise than through its sum")
        after = [e for e in events[sums.places[-1] + 1 : frame.stop] if sums.depends(e, last)]
        self._refuse_parameters(after)
        # Those that return what they are given are among them: in training, dropout does not.
        names = tuple(getattr(e.func, "__name__", "") for e in after if e.outputs)
        number, version = frame.outputs[output]
        if version != max(dict(e.outputs).get(number, 0) for e in events[sums.places[-1] : frame.stop]):
            names = (*names, "a write to a view of it")
        free = sums.free()
        alone = frame.alone and frame.bare
        sources = tuple(events[place].source for place in sums.places)
        *skips, trailing = sums.skips()
        in_place = any(events[place].func in IN_PLACE for place in sums.places)
        return Block(
            frame.name,
            frame.slot,
            tuple(skips),
            sources,
            output,
            names,
            free,
            alone,
            trailing,
            in_place,
            sums.rewrites(),
        )

    def _weighs(self, sums: States, i: int) -> bool:
        """Whether a weight has gone into what sum i adds."""
        events = self.trace.events[sums.before(i) : sums.places[i]]
        return any(number in self.kernels for e in events if sums.depends(e, i) for number, _ in e.inputs)

    def _refuse_parameters(self, after: list[Event]) -> None:
        names = [self.owners[number] for e in after for number, _ in e.inputs if number in self.owners]
        if names:
            raise NoBlock(
                f"parameters follow its sum ({names[0]}): the state would have to be projected by something that is "
                "learned, as in a post-LN transformer"
            )

    def _no_sum(self, index: int, frame: Frame) -> str:
        """What a sum, in the module's own forward, of two tensors that both come from the input tells; or nothing."""
        sums, shapes = States(self.trace, frame, state=False), self.trace.shapes
        for i in range(frame.start, frame.stop):
            e = self.trace.events[i]
            if e.operands is None or e.frame != index or i in self.settled:
                continue
            a, b = e.operands
            if sums.of(a) and sums.of(b) and a != b and shapes.get(a) == shapes.get(b):
                if shapes[a] != frame.state.shape:
                    return f"it changes the shape, from {tuple(frame.state.shape)} to {tuple(shapes[a])}"
                return "neither operand of its sum is its input itself (something is done to it on the way)"
        return ""


def _kernels(trace: Trace, model: nn.Module) -> set[int]:
    """Weights of at least two dimensions, and what is made of weights and buffers alone, as by weight_norm."""
    kernels = {id(p) for p in model.parameters() if sum(size > 1 for size in p.shape) > 1}
    fixed = set(trace.owners)
    for e in trace.events:
        used = {number for number, _ in e.inputs}
        if used and used <= fixed:
            made = {number for number, _ in e.outputs}
            fixed |= made
            kernels |= made if used & kernels else set()
    return kernels


class States:
    """The sums of a call of a module: x -> s_1 -> s_2 ..., and what else depends on which of them.

    ``of(number)`` is a set of bits: bit j for a tensor that depends on state j, x being state 0, otherwise
    than through a later state.
    """

    def __init__(self, trace: Trace, frame: Frame, state: bool = True) -> None:
        self.events, self.shapes, self.frame = trace.events, trace.shapes, frame
        self.masks: dict[int, int] = {id(frame.state): 1}
        self.ends: list[tuple[int, int]] = [(id(frame.state), frame.version)]
        self.places: list[int] = []
        for i in range(frame.start, frame.stop):
            e = self.events[i]
            if not (state and self._sum(i, e)):
                mask = 0
                for number, _ in e.inputs:
                    mask |= self.masks.get(number, 0)
                for number, _ in e.outputs:
                    # What returns a tensor that there was (Identity, dropout in evaluation) changes nothing about it.
                    if mask and (number not in dict(e.inputs) or dict(e.inputs)[number] != dict(e.outputs)[number]):
                        self.masks[number] = mask

    def of(self, number: int) -> int:
        """The states that a tensor depends on."""
        return self.masks.get(number, 0)

    def depends(self, e: Event, state: int) -> bool:
        """Whether a call is given something that depends on a state."""
        return any(self.of(number) >> state & 1 for number, _ in e.inputs)

    def before(self, i: int) -> int:
        """The first event after the sum before sum i."""
        return self.places[i - 1] + 1 if i else self.frame.start

    def _sum(self, i: int, e: Event) -> bool:
        if e.operands is None or e.operands[0] == e.operands[1] or len(e.outputs) != 1:
            return False
        versions = dict(e.inputs)
        for j in reversed(range(len(self.ends))):
            number, version = self.ends[j]
            if number not in e.operands or versions.get(number) != version:
                continue
            other = e.operands[0] if e.operands[1] == number else e.operands[1]
            # What is added must depend on that state, and on none before it.
            if self._since(other, j) != 1 << j or self.shapes[number] != self.shapes[e.outputs[0][0]]:
                continue
            self._drop(j)
            self.places.append(i)
            self.ends.append(e.outputs[0])
            self.masks[e.outputs[0][0]] = 1 << len(self.places)
            return True
        return False

    def _since(self, number: int, j: int) -> int:
        """The states a tensor depends on, those after j taken for j."""
        mask = self.of(number)
        return mask if mask < 1 << (j + 1) else (mask & ((1 << j) - 1)) | 1 << j

    def _drop(self, j: int) -> None:
        """States after j were inside a branch."""
        del self.ends[j + 1 :], self.places[j:]
        self.masks = {number: self._since(number, j) for number in self.masks}

    def skips(self) -> tuple[int, ...]:
        """Additions to the same state that come before each sum, and after the last."""
        return tuple(
            sum(
                e.operands is not None and e.operands[0] != e.operands[1] and self.ends[i][0] in e.operands
                for e in self.events[self.before(i) : place]
            )
            for i, place in enumerate([*self.places, self.frame.stop])
        )

    def rewrites(self) -> bool:
        """Whether a tensor that was made before a sum, what is added excepted, is written to after it."""
        made: set[int] = set()
        stops = [*self.places[1:], self.frame.stop]
        for i, place in enumerate(self.places):
            made |= {number for e in self.events[self.before(i) : place] for number, _ in e.outputs}
            made -= set(dict(self.ends)) | set(self.events[place].operands or ())
            for e in self.events[place + 1 : stops[i]]:
                before = dict(e.inputs)
                if any(number in made and before.get(number, version) != version for number, version in e.outputs):
                    return True
        return False

    def free(self) -> bool:
        """Whether nothing that was computed before a sum, but for what is added, is used after it."""
        made: set[int] = set()
        for i, place in enumerate(self.places):
            made |= {number for e in self.events[self.before(i) : place] for number, _ in e.outputs}
            made -= set(dict(self.ends))
            stop = self.places[i + 1] + 1 if i + 1 < len(self.places) else self.frame.stop
            if any(number in made for e in self.events[place + 1 : stop] for number, _ in e.inputs):
                return False
        return not made & set(dict(self.frame.outputs))
