"""Gradients from states that are computed again by the inverse scheme."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from ..fields import FieldError
from ..fields.context import put_back
from ..fields.masks import Masks, capture, replaying
from ..passes import Network, Pass
from ..passes.purity import check_pure
from ..passes.segment import Segment
from ..program.reverse import Reverse, compile_reverse
from ..program.step import State
from ..program.transforms import capturing, eager_under_compile, recorded, traced_as_constant
from ..scheme import Scheme, SchemeError
from .anchors import SegmentPlan, inverse_matrix, joined, learn_growth, place_anchors
from .backward import Recompute, Undo
from .checkpoint_schedule import splits_of
from .defect import Monitor, check, relative_defect
from .errors import ReversalError
from .gradient import Gradient, Runner, Stored, positive
from .segment_function import run_segment

#: relative error of the gradient that is tolerated, by the dtype of the state
TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
#: A gradient's relative error is taken as up to so many times that of the states; beyond, the run raises.
SENSITIVITY = 10.0
#: Anchors are placed for an error so many times smaller than the one that raises.
MARGIN = 3.0
REHEARSALS = 8
#: Forward passes whose backward pass may still be learned from.
REMEMBERED = 16


@dataclass(frozen=True)
class Reversible(Gradient):
    """Store a few states, and undo the steps between them in the backward pass (Gomez et al. 2017).

    Args:
        tolerance: relative error of the gradient that is tolerated. Default: 1e-10 in float64, 1e-4 in
            float32, 2e-2 in float16, 1e-1 in bfloat16.
        on_failure: what to do with steps that, undone, miss their stored state by too much: "raise", or
            "rerun" them from it, which is right and takes longer. Under torch.compile they raise. In a CUDA
            graph, which has the anchors of the last eager pass, their gradient is nan.

    The stored states are called anchors. They are as many as the tolerance needs: the amplification
    of rounding errors by the inverse step, with k_n as trained, says where (1/|k_n| a step for LM),
    corrected by what the first forward pass and later backward passes measure. A step that cannot be
    undone, or not to that tolerance, is run again instead. At each anchor the backward pass measures
    by how much it is missed, and raises ReversalError where the gradient would be wrong.

    The scheme must be reversible; a one-step scheme is made so by :func:`odenets.mccallum_foster`.
    """

    tolerance: float | None = None
    on_failure: str = "raise"

    def __post_init__(self) -> None:
        if self.on_failure not in ("raise", "rerun"):
            raise FieldError(f"Reversible: got on_failure = {self.on_failure!r}, expected 'raise' or 'rerun'")
        if self.tolerance is not None:
            object.__setattr__(self, "tolerance", positive(self.tolerance, "Reversible: tolerance"))

    def attach(self, net: Network) -> Runner:
        """Refuse a scheme that is not reversible."""
        refuse_irreversible(net.scheme)
        return ReversibleRun(self, net)

    def __str__(self) -> str:
        return "reversible" if self.tolerance is None else f"reversible(tolerance={self.tolerance:g})"


def refuse_irreversible(scheme: Scheme) -> None:
    """SchemeError for a scheme whose steps cannot be undone."""
    if not (scheme.reversible and scheme.explicit):
        one_step = scheme.carried == 1 and scheme.V[0, 0] == 1 and scheme.explicit
        instead = f"mccallum_foster(schemes[{scheme.name!r}]), which is, or " if one_step else ""
        raise SchemeError(
            f"gradient='reversible': got {scheme.name}, whose step cannot be done and undone explicitly, "
            f"expected a reversible explicit scheme; take {instead}gradient='checkpoint'"
        )


@traced_as_constant
def largest_error(options: Reversible, dtype: torch.dtype) -> float:
    """Largest relative error of a state that is accepted."""
    return (options.tolerance or TOLERANCES[dtype]) / SENSITIVITY


#: dtype of the state, autocast, training: errors grow differently in each
_Mode = tuple[torch.dtype, bool, bool]
_Measured = dict[tuple[int, int], float]


class ReversibleRun(Runner):
    """The loop over segments that are undone, or run again where that is more exact."""

    #: of the first pass, at most, each of which takes two passes more
    rehearsals = REHEARSALS

    def __init__(self, options: Reversible, net: Network) -> None:
        self.options, self.reverse = options, compile_reverse(net.scheme, net.h)
        self.learned = bool(net.scheme.V.free_symbols)
        self.growth: dict[_Mode, list[float]] = {}
        # What the backward passes of the last forward passes have measured of which segments, until it is learned from.
        self.measured: dict[_Mode, deque[tuple[tuple[SegmentPlan, ...], _Measured]]] = {}
        # The segments of the first eager pass: a compiled network is traced with them, and not anew when anchors move.
        self.plans_compiled: dict[_Mode, tuple[SegmentPlan, ...]] = {}
        inverses, ones = inverse_matrices(net), [1.0] * net.steps
        # For torch.compile, which cannot read coefficients: used until a pass has been run eagerly.
        self.plans_at_first = {
            dtype: joined(place_anchors(inverses, ones, *self._limits(dtype)), net.first_step) for dtype in TOLERANCES
        }
        self.last: _Mode | None = None

    def _limits(self, dtype: torch.dtype) -> tuple[float, float]:
        """Unit roundoff, and the error that anchors are placed for."""
        return torch.finfo(dtype).eps / 2, largest_error(self.options, dtype) / MARGIN

    @property
    def stored(self) -> Stored | None:
        """Anchors of the last pass."""
        if self.last is None:
            return None
        plans, measured = self.measured[self.last][-1]
        undone = sum(plan.stop - plan.start for plan in plans if plan.undone)
        steps = plans[-1].stop - plans[0].start if plans else 0
        return Stored(steps, max(len(plans) - 1, 0), steps - undone, undone, max(measured.values(), default=None))

    def integrate(self, run: Pass, first: int, state: State) -> State:
        """One node of the graph for each segment between two anchors."""
        plan, after = None, state
        for plan, after in self.segments(run, first, state):  # noqa: B007 - the last ones are what is wanted
            pass
        if plan is not None and plan.undone and run.net.scheme.components == 1:
            # The node keeps its output; what follows may write into the network's, as nn.ReLU(inplace=True) does.
            return (after[0].clone(), *after[1:])
        return after

    def segments(self, run: Pass, first: int, state: State) -> Iterator[tuple[SegmentPlan, State]]:
        """Each segment, and the carried values after it."""
        dtype = state[0].dtype
        device = state[0].device.type
        mode = dtype, device != "meta" and torch.is_autocast_enabled(device), run.net.training
        if torch.compiler.is_compiling():
            plans, record = self.plans_compiled.get(mode, self.plans_at_first[dtype]), None
        elif capturing():
            plans, record = self.measured[mode][-1][0] if mode in self.measured else self.plans_at_first[dtype], None
        else:
            plans = self._plan(mode, run, first, state)
            record = self.measured[mode][-1][1]
        scales, limit = carried_scales(run), largest_error(self.options, dtype)
        for plan in plans:
            segment = Segment(run, plan.start, plan.stop)
            if plan.undone:
                monitor = Monitor(plan.start, plan.stop, limit, record, undone=True)
                again = self._instead(segment, limit)
                state = run_segment(Undo(segment, self.reverse, monitor, scales, self.learned, again), state)
            else:
                # Steps that change when they are called again cannot be undone either, and end up here.
                state = run_segment(Recompute(segment, Monitor(plan.start, plan.stop, limit)), state)
            yield plan, state

    def _instead(self, segment: Segment, limit: float) -> Callable[[], Recompute] | None:
        """What makes the other way back, when it is needed: the splits of thousands of steps take seconds."""
        if self.options.on_failure == "raise" or recorded():
            return None
        steps = segment.stop - segment.start
        monitor = Monitor(segment.start, segment.stop, limit)
        return lambda: Recompute(segment, monitor, splits_of(steps, math.ceil(math.sqrt(steps))))

    def settled(self, plans: tuple[SegmentPlan, ...]) -> tuple[SegmentPlan, ...]:
        """The segments to be taken, where these are what the tolerance asks for."""
        return plans

    @eager_under_compile
    def _plan(self, mode: _Mode, run: Pass, first: int, state: State) -> tuple[SegmentPlan, ...]:
        """The segments for the coefficients as they are now and all that has been measured.

        Not traced where a block breaks the graph, so that a pass runs eagerly around it: its loops are as long as what
        has been measured, and there would be another trace for each pass.
        """
        new, inverses = mode not in self.growth, inverse_matrices(run.net)
        inverses[:first] = [None] * first
        growth = self.growth.get(mode, [1.0] * run.net.steps)
        limit = largest_error(self.options, mode[0])
        for old, record in self.measured.get(mode, ()):
            growth = learn_growth(growth, old, record)
            # One segment has raised, and kept the backward pass from the others: all are measured anew.
            new = new or any(defect > limit for defect in record.values())
            record.clear()
        limits = self._limits(mode[0])
        plans = place_anchors(inverses, growth, *limits)
        for _ in range(self.rehearsals if new else 0):
            measured = rehearse(run, self.reverse, [plan for plan in plans if plan.stop > first], state)
            growth = learn_growth(growth, plans, measured)
            if (again := place_anchors(inverses, growth, *limits)) == plans:
                break
            plans = again
        plans = self.settled(joined(plans, first))
        self.growth[mode], self.last = growth, mode
        self.plans_compiled.setdefault(mode, plans)
        self.measured.setdefault(mode, deque(maxlen=REMEMBERED)).append((plans, {}))
        return plans


def rehearse(run: Pass, reverse: Reverse, plans: Sequence[SegmentPlan], state: State) -> _Measured:
    """Relative error that undoing each segment leaves: the steps are run and undone once, and nothing else changes."""
    found: _Measured = {}
    scales, learned = carried_scales(run), bool(run.net.scheme.V.free_symbols)
    device = state[0].device
    with torch.no_grad(), replaying(capture(device), device):
        for plan in plans:
            segment = Segment(run, plan.start, plan.stop, masks=Masks())
            check_pure(segment, state[0])
            before = state
            with segment.context.precision(), put_back(segment.context.modules):
                for n in range(plan.start, plan.stop):
                    state = segment.advance(n, state, segment.tensors, again=True)
                if plan.undone:
                    back = state
                    for n in reversed(range(plan.start, plan.stop)):
                        back = segment.retreat(n, reverse.inverse, back, segment.tensors)
                    # What is beyond the limit is beyond it: that is what is to be found out.
                    with suppress(ReversalError):
                        monitor = Monitor(plan.start, plan.stop, math.inf, found)
                        check(monitor, relative_defect(back, before, state, scales, learned))
    return found


def carried_scales(run: Pass) -> tuple[float, ...]:
    """Factor of each carried value in the state's units: h for those kept without it."""
    program = run.net.program
    return tuple(program.h if slope else 1.0 for slope in program.slopes)


def inverse_matrices(net: Network) -> list[np.ndarray | None]:
    """V^-1 of each step, with its coefficients as they are; None where it cannot be undone or they cannot be read."""
    values = coefficient_values(net)
    schemes = [net.program_of(n).scheme for n in range(net.steps)]
    return [None if own is None else inverse_matrix(s, own) for s, own in zip(schemes, values, strict=True)]


def coefficient_values(net: Network) -> list[Mapping[str, list[float]] | None]:
    """For each step its coefficients as numbers, read from the device in one piece; None under vmap over them."""
    tensors = [(n, symbol, value) for n in range(net.steps) for symbol, value in net.coefficients_at(n).items()]
    found: list[dict[str, list[float]] | None] = [{} for _ in range(net.steps)]
    if not tensors:
        return list(found)
    try:
        flat = torch.cat([value.detach().reshape(-1) for *_, value in tensors]).tolist()
    except RuntimeError:  # batched: there is no one number
        return [{} if not net.coefficients_at(n) else None for n in range(net.steps)]
    for n, symbol, value in tensors:
        own = found[n]
        assert own is not None
        own[symbol], flat = flat[: value.numel()], flat[value.numel() :]
    return list(found)
