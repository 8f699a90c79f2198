"""A few steps as one node of autograd's graph, which stores states instead of activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..passes.purity import check_pure, written
from ..passes.segment import Segment
from ..program.step import State
from ..program.transforms import active, plain, saved, with_record
from .backward import Backward, End
from .defect import fingerprint
from .pullback import Pullback


class SegmentFunction(torch.autograd.Function):
    """(w, tensors) -> (w+, running statistics, fingerprint of w+).

    In ``setup_context`` style, with vector-Jacobian products by torch.func.vjp wherever the backward pass
    may be differentiated or transformed: autograd.grad there gives second derivatives that are
    silently wrong, and neither torch.compile nor vmap takes it.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(way: Backward, carried: int, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the steps, with nothing recorded."""
        segment, state = way.segment, tuple(inputs[:carried])
        tensors = segment.copies(inputs[carried:])
        for n in range(segment.start, segment.stop):
            state = segment.advance(n, state, tensors)
        # autograd takes an output that is an input, or another output, for a view of it
        own: list[Tensor] = []
        for value in state:
            own.append(value.clone() if any(value is other for other in (*inputs, *own)) else value)
        mark = own[0].new_empty(0) if way.needs_end else fingerprint(own)
        return (*own, *(tensors[place] for place in segment.running), mark)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the state before, the state after where the steps are to be undone, and the tensors."""
        way, carried, *tensors = inputs
        statistics, mark = output[carried:-1], output[-1]
        ctx.way, ctx.carried, ctx.inputs = way, carried, len(tensors)
        ctx.mark_non_differentiable(*statistics, mark)
        # The statistics written to are copies, never the buffers themselves, which change before the backward pass.
        kept = list(tensors)
        for place, value in zip(way.segment.running, statistics, strict=True):
            kept[carried + place] = value
        kept += [mark, *(output[:carried] if way.needs_end else ())]
        ctx.save_for_backward(*kept)
        # The same ones: vmap keeps one list of what is batched for both.
        ctx.save_for_forward(*kept)

    @staticmethod
    @with_record
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        """The steps taken back one by one, or once more."""
        way, carried, kept = ctx.way, ctx.carried, saved(ctx)
        inputs, (mark, *end) = kept[: ctx.inputs], kept[ctx.inputs :]
        state, tensors = inputs[:carried], inputs[carried:]
        needed = [place for place in range(len(tensors)) if ctx.needs_input_grad[2 + carried + place]]
        pullback = Pullback(way.segment, tensors, needed)
        with way.segment.context.precision(), way.segment.context.restored():
            cotangents = pullback.doubted(way.walk(pullback, state, End(mark, tuple(end)), grads[:carried]))
        cotangents = tuple(bar.to(w.dtype) for bar, w in zip(cotangents, state, strict=True))
        return (None, None, *cotangents, *(pullback.gradients.get(place) for place in range(len(tensors))))


class ForwardModeSegmentFunction(SegmentFunction):
    """With a Jacobian-vector product besides; a class of its own, since torch.compile refuses one that has it."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        """The steps run again, with tangents."""
        way, carried = ctx.way, ctx.carried
        segment, kept = way.segment, saved(ctx)[: ctx.inputs]
        moving = [i for i, tangent in enumerate(tangents[2:]) if tangent is not None and kept[i].is_floating_point()]

        def run(*values: Tensor) -> State:
            inputs = list(kept)
            for i, value in zip(moving, values, strict=True):
                inputs[i] = value
            return SegmentFunction.forward(way, carried, *inputs)[:carried]

        # J v as the derivative of J^T w by w: torch.func.jvp cannot run inside torch.autograd.forward_ad.
        _, pull, *_ = torch.func.vjp(run, *(kept[i] for i in moving))
        _, push, *_ = torch.func.vjp(pull, tuple(torch.zeros_like(w) for w in kept[:carried]))
        (out,) = push(tuple(tangents[2 + i] for i in moving))
        return (*out, *[None] * (len(segment.running) + 1))


def forward_over_forward() -> bool:
    """Whether forward mode is nested: torch then runs the jvp of a Function without the outer tangents."""
    return not torch.compiler.is_compiling() and active().count("Jvp") > 1


def run_segment(way: Backward, state: State) -> State:
    """The state after the steps of a segment; its gradient takes the ``way`` back.

    Raises:
        FieldError: a layer that uses a tensor that requires a gradient and is no parameter, or that
            writes into a buffer that is none of BatchNorm's.
    """
    segment, carried = way.segment, len(state)
    check_pure(segment, state[0])
    versions = _versions(segment)
    kind = SegmentFunction if torch.compiler.is_compiling() else ForwardModeSegmentFunction
    with segment.context.precision():
        found = kind.apply(way, carried, *_distinct(state), *segment.tensors)
    if _versions(segment) != versions:
        raise written(f"layers {segment.start} to {segment.stop - 1}")
    segment.context.settle()
    segment.write_back(found[carried:-1])
    segment.release()
    return found[:carried]


def _versions(segment: Segment) -> list[int]:
    if not plain():
        return []
    return [
        tensor._version
        for i, tensor in enumerate(segment.tensors)
        if i not in segment.running and not tensor.is_inference()
    ]


def _distinct(state: State) -> State:
    """The state with views in the place of tensors that stand there twice, which torch.compile does not take."""
    found: list[Tensor] = []
    for value in state:
        found.append(value.view_as(value) if any(value is other for other in found) else value)
    return tuple(found)
