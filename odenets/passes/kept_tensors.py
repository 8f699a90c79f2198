"""Layers that keep a tensor from one call for the next, where they are called without autograd's record."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fields.context import Attribute, put_back, with_attributes
from ..fields.errors import FieldError
from ..fields.masks import capture, replaying
from ..program import Evaluate
from ..program.transforms import plain
from ..program.vjp import recorded_by
from .segment import Segment


def settle(segment: Segment, u: Tensor) -> None:
    """End the forward pass of a segment; u is a state.

    Raises:
        FieldError: a layer keeps what it made of its parameters, and uses it again.
    """
    kept = segment.context.settle()
    if kept and torch.is_grad_enabled() and plain():
        _refuse_kept(segment, u.detach(), kept)


def _refuse_kept(segment: Segment, u: Tensor, kept: Sequence[Attribute]) -> None:
    """Refuse layers that keep what they made of their parameters, as a weight that is made once for evaluation.

    It was made without a record, which all steps have that are run again, or undone, for their gradient: the parameters
    would get none, silently. A layer that keeps an output to be looked at is none of these: what is recorded with what
    it keeps, and without, depends on the same parameters.
    """
    probe = segment.probe()
    tensors = [x.detach().clone().requires_grad_(x.requires_grad) for x in segment.tensors]
    known = set(map(id, tensors))

    def used(n: int, what: Evaluate) -> set[int]:
        with put_back(segment.context.modules):
            return recorded_by([probe.evaluate(n, tensors, what, u, again=True)]).keys() & known

    with torch.enable_grad(), segment.context.precision(), replaying(capture(u.device), u.device):
        for n, program in segment.programs.items():
            for what in program.evaluated:
                after = used(n, what)
                with with_attributes(kept):
                    before = used(n, what)
                if before - after:
                    names = sorted({key for _, key, _ in kept})
                    raise FieldError(
                        f"layer {n} keeps a tensor ({', '.join(names)}) that it made of its parameters, and uses it in "
                        "later calls: it has no record, so they would get no gradient; expected it made anew in each "
                        "call, or use an explicit scheme with gradient='direct'"
                    )
