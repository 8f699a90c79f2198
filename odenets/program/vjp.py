"""Vector-Jacobian products, by autograd's record wherever that can be; what a record depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .transforms import plain, unwrapped

Tensors = tuple[Tensor, ...]
Pull = Callable[[Tensors], Tensors]


def vjp(function: Callable[..., Tensors], *inputs: Tensor, keep: bool = False) -> tuple[Tensors, Pull]:
    """As torch.func.vjp of a function with several values; the cotangents take their dtypes.

    By plain autograd, which takes what torch.func refuses (torch.autograd.grad inside the function, an
    autograd.Function of the old style, a custom operator) and less time. Under transformations of torch.func, and
    while torch.compile traces, by torch.func. Grad mode is on in a backward pass exactly if its results may be
    differentiated; then these are.

    Args:
        function: what is differentiated. Of what else it uses, nothing may depend on an input that is a leaf, unless
            grad mode is on.
        inputs: by what; those that require no gradient as well.
        keep: whether the second value is called more than once.
    """
    if not plain():
        values, pull, *_ = torch.func.vjp(function, *inputs)
    else:
        values, pull = _plain_vjp(function, inputs, keep)
    return values, lambda cotangents: pull(tuple(bar.to(v.dtype) for bar, v in zip(cotangents, values, strict=True)))


def _plain_vjp(function: Callable[..., Tensors], inputs: Tensors, keep: bool) -> tuple[Tensors, Pull]:
    again, inputs = torch.is_grad_enabled(), tuple(map(unwrapped, inputs))
    with torch.enable_grad():
        at = [_point(x, inputs, again) for x in inputs]
        values = function(*at)

    def pull(cotangents: Tensors) -> Tensors:
        ends = [(value, bar) for value, bar in zip(values, cotangents, strict=True) if value.requires_grad]
        found: Sequence[Tensor | None] = [None] * len(at)
        if ends:
            more = torch.is_grad_enabled()
            given, bars = [v for v, _ in ends], [bar for _, bar in ends]
            found = torch.autograd.grad(
                given, at, bars, retain_graph=keep or more, create_graph=more, allow_unused=True
            )
        return tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, at, strict=True))

    return (values if again else tuple(value.detach() for value in values)), pull


def _point(x: Tensor, inputs: Tensors, again: bool) -> Tensor:
    """What stands for an input: of which the function, and nothing else, is a function.

    If the result is to be differentiated, a view of x, which keeps what x depends on; a parameter itself may have
    gone into what else the function uses, and would get the gradient of that as well.
    """
    if again and x.requires_grad:
        return x.view_as(x)
    return x if not again and _may_stay(x, inputs) else x.detach().requires_grad_()


def _may_stay(x: Tensor, inputs: Tensors) -> bool:
    """Whether a parameter may be differentiated by as it is, so that its module need not be given another.

    Not with hooks: they would be called here, and once more when the gradient arrives at the parameter.
    Not if it is the state as well: the gradients of the two uses are to be told apart.
    """
    return x.is_leaf and x.requires_grad and not x._backward_hooks and sum(x is other for other in inputs) == 1


def captures(values: Sequence[Tensor], again: Callable[[], Sequence[Tensor]], inputs: Sequence[Tensor]) -> bool:
    """Whether values depend on a tensor that requires a gradient and was there before; ``inputs`` are not asked about.

    What an evaluation makes itself, where f takes a gradient inside of it at x.detach().requires_grad_(), is made
    anew by each. So what the record of ``again`` shares with that of the values was there before. It is called only
    where the values require a gradient at all.
    """
    if not any(value.requires_grad for value in values):
        return False
    with torch.enable_grad():
        more = again()
    known, one, other = set(map(id, inputs)), recorded_by(values), recorded_by(more)
    return any(key not in known for key in one.keys() & other.keys())


def recorded_by(values: Sequence[Tensor]) -> dict[int, object]:
    """All that values have been recorded to depend on, by identity: nodes of autograd's graph, leaves as tensors."""
    found: dict[int, object] = {}
    todo = [value.grad_fn or value for value in values if value.requires_grad]
    while todo:
        item = todo.pop()
        # A node that accumulates is made anew when nobody holds the last one; its leaf is what stays.
        item = getattr(item, "variable", item)
        if id(item) in found:
            continue
        found[id(item)] = item
        todo += [node for node, _ in getattr(item, "next_functions", ()) if node is not None]
    return found
