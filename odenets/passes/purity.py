"""Whether steps are the functions of their tensors that whoever runs them again takes them for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from ..fields.context import put_back
from ..fields.errors import FieldError
from ..fields.masks import capture, replaying
from ..program import Evaluate
from ..program.transforms import plain
from ..program.vjp import recorded_by
from .segment import Segment

SHARDED = (
    "Blocks that are sharded one by one gather parameters in hooks of their own: fully_shard the network as a whole"
)


def check_pure(segment: Segment, u: Tensor) -> None:
    """See that the steps depend on no differentiated tensor but those they are known to use, and change none.

    Of a tensor that a function holds by closure, or has kept from an earlier call (a weight that is made once for
    evaluation), the gradient would be dropped, silently: f is called without a record, or once more. So each function
    of a step is evaluated at u with one set of copies of its tensors, and with another. What the second record shares
    with the first was there before, or was kept.

    Costs these two evaluations of each module at its first run, and again when its modules, their modes and flags, or
    what is frozen in them change; of functions that are no modules the first step in every pass. Not under torch.func,
    whose own tensors are not to be told apart, nor when tracing.

    Raises:
        FieldError: a step that is no such function.
    """
    if getattr(parametrize, "_cache_enabled", 0):
        raise FieldError(
            "got a network inside parametrize.cached(), which would hand the backward pass weights without a graph, "
            "expected none around an implicit scheme, or gradient='checkpoint' or 'reversible'; use an explicit scheme "
            "with gradient='direct' there"
        )
    if not plain() or torch.jit.is_tracing():
        return
    if any(map(is_lazy, segment.tensors)):
        raise FieldError(
            "got lazy modules without weights yet, which an implicit scheme, or gradient='checkpoint' or 'reversible', "
            "cannot run, expected weights; call the blocks once before"
        )
    known, keys = segment.field.checked, {n: segment.layout(n) for n in range(segment.start, segment.stop)}
    new = [n for n, key in keys.items() if known.get(n) != key]
    if not new:
        return
    probe, device = segment.probe(), u.device
    sets = [[x.detach().clone().requires_grad_(x.requires_grad) for x in segment.tensors] for _ in range(2)]
    # Not seen by hooks on what is saved: torch.utils.checkpoint counts, and would miss these the next time.
    unseen = saved_tensors_hooks(lambda x: x, lambda x: x)
    modules = segment.context.modules
    with (
        unseen,
        torch.enable_grad(),
        segment.context.precision(),
        replaying(capture(device), device),
        put_back(modules),
    ):
        for n in new:
            # Of a module once: its later evaluations in a step are the same function.
            for what in {what.module: what for what in reversed(segment.programs[n].evaluated)}.values():
                _check(probe, n, what, u.detach(), sets)
            known[n] = keys[n]


def _check(probe: Segment, n: int, what: Evaluate, u: Tensor, sets: Sequence[list[Tensor]]) -> None:
    first, second = [recorded_by([_evaluated(probe, n, what, u, tensors)]) for tensors in sets]
    if not (shared := first.keys() & second.keys()):
        return
    if shared & set(map(id, sets[0])):
        raise FieldError(
            f"layer {n} keeps what it made of its parameters, and uses it in later calls (a weight that is made once "
            "for evaluation): it has no record there, so they would get a wrong gradient; expected it made anew in "
            "each call, or use an explicit scheme with gradient='direct'"
        )
    raise FieldError(
        f"layer {n} uses a tensor that requires a gradient and is neither its parameter nor its buffer (a "
        "plain attribute, a variable around a lambda), which would get none; expected an nn.Parameter, a "
        f"buffer or a submodule (f an nn.Module), or detach it, or use gradient='direct'. {SHARDED}"
    )


def _evaluated(probe: Segment, n: int, what: Evaluate, u: Tensor, tensors: list[Tensor]) -> Tensor:
    """The function, which must not write into its tensors, nor put others in their places."""
    versions, assigned = [x._version for x in tensors], []

    def look(*_: Any) -> None:
        # Inside of the call, for afterwards the tensors are back in their places.
        assigned.extend(probe.assigned(n, what, tensors))

    handle = probe.field.register_forward_hook(look)
    try:
        # A copy, for f may have taken a gradient by it.
        value = probe.evaluate(n, tensors, what, u.clone(), again=True)
    finally:
        handle.remove()
    if assigned or [x._version for x in tensors] != versions:
        raise written(f"layer {n}")
    return value


def written(which: str) -> FieldError:
    """The error for a layer that changes its own tensors."""
    return FieldError(
        f"{which}: got one that writes into a buffer or a parameter in its forward pass, or assigns it (as "
        "spectral_norm does in training), expected BatchNorm's statistics alone to change there, for running the "
        "layer again would give something else; use gradient='direct' with an explicit scheme, if only for a first "
        f"call that sets parameters by its data. {SHARDED}"
    )
