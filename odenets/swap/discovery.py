"""What a probing pass finds in a model: its blocks, the chains they form, and what is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .partial_forward import PartialForward
from .recording import Frame, Trace, call, fresh, record, undisturbed
from .residual_blocks import Analysis, Block
from .sums import arguments, tensors_in

#: relative difference between a block and the same block with its sums put back in their place
ROUNDING = 1e-4


@dataclass(frozen=True)
class Findings:
    """Chains of blocks, each block's input the output of the one before; name -> reason of what is left alone.

    ``runs[i]``: the blocks of chain i are consecutive children of an nn.Sequential, functions of the state alone.
    """

    chains: tuple[tuple[Block, ...], ...]
    runs: tuple[bool, ...]
    reasons: tuple[tuple[str, str], ...]


def find(model: nn.Module, example: Any) -> Findings:
    """Run ``model`` at ``example`` to find its blocks, and again to see that each can be run sum by sum."""
    trace = record(model, example)
    analysis = Analysis(trace, model)
    blocks = [block for _, block in analysis.blocks]
    # What follows a sum in place may go on with its value, or with another name of what it was written to. Writing
    # there, always, would cost two copies of the state for each sum.
    wrong = disagreeing(model, example, blocks)
    blocks = [replace(block, writes=block.name in wrong) for block in blocks]
    wrong = disagreeing(model, example, blocks) if wrong else wrong
    pairs = zip(analysis.blocks, blocks, strict=True)
    found = [(frame, block) for (frame, _), block in pairs if block.name not in wrong]
    chains = _chains(trace, found)
    return Findings(
        tuple(tuple(block for _, block in chain) for chain in chains),
        tuple(_is_run(model, [block for _, block in chain]) for chain in chains),
        tuple({**analysis.reasons, **wrong}.items()),
    )


def _chains(trace: Trace, found: list[tuple[Frame, Block]]) -> list[list[tuple[Frame, Block]]]:
    chains: list[list[tuple[Frame, Block]]] = []
    end: tuple[int, int] | None = None
    for frame, block in found:
        if end != (id(frame.state), frame.version):
            chains.append([])
        chains[-1].append((frame, block))
        number, version = frame.outputs[block.output]
        same = trace.shapes[number] == frame.state.shape
        end = (number, version) if same else None
    return chains


def _is_run(model: nn.Module, chain: list[Block]) -> bool:
    paths = [block.name.rpartition(".") for block in chain]
    if len({parent for parent, _, _ in paths}) != 1 or not all(block.alone and not block.activation for block in chain):
        return False
    parent = model.get_submodule(paths[0][0]) if chain[0].name else None
    if type(parent) is not nn.Sequential or "forward" in vars(parent):
        return False
    names = list(parent._modules)
    first = names.index(paths[0][2])
    return names[first : first + len(chain)] == [name for _, _, name in paths]


def disagreeing(model: nn.Module, example: Any, blocks: list[Block]) -> dict[str, str]:
    """Blocks whose forward, with each sum computed anew in its place, returns something else than before."""
    # Copies, for in the pass just recorded what follows a block may have written to what it returned.
    (expected, before), (again, after) = (_outputs(model, example, blocks, put=put) for put in (False, True))
    reason = "what follows its sum does not see what is put in the sum's place"
    wrong = {name: reason for name, value in again.items() if not _close(value, expected[name])}
    same = len(before) == len(after) and all(map(_close, after, before))
    if not wrong and not same:
        reason = "the model makes something else of it than of what its sum was (does it see what is written to?)"
        wrong = dict.fromkeys(again, reason)
    return wrong


def _close(found: Tensor, expected: Tensor) -> bool:
    if found.shape != expected.shape or not expected.numel():
        return found.shape == expected.shape
    sizes = expected.abs()[expected.isfinite()]
    limit = ROUNDING * float(sizes.max()) if sizes.numel() else 0.0
    return torch.allclose(found.double(), expected.double(), rtol=0.0, atol=limit, equal_nan=True)


def _outputs(model: nn.Module, example: Any, blocks: list[Block], put: bool) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The state after each block, and what the model returns; with ``put`` of sums computed anew, in their place."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as stack:
        for block in blocks:
            module = model.get_submodule(block.name)
            original = module.forward

            def forward(*args: Any, _block: Block = block, _original: Any = original, **kwargs: Any) -> Any:
                result = _put(_original, _block, args, kwargs) if put else _original(*args, **kwargs)
                outputs[_block.name] = list(tensors_in(result))[_block.output].clone()
                return result

            stack.enter_context(forward_of(module, forward))
        stack.enter_context(undisturbed(model, example))
        found = call(model, fresh(example))
    return outputs, [x for x in tensors_in(found) if x.is_floating_point()]


@contextmanager
def forward_of(module: nn.Module, forward: Any) -> Iterator[None]:
    """The module with another forward, for a while."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        del module.__dict__["forward"]
        if own is not None:
            module.__dict__["forward"] = own


def _put(original: Any, block: Block, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    with PartialForward(
        block, arguments(args, kwargs, block.slot).state, lambda watch, branch: torch.add(watch.state, branch)
    ):
        return original(*args, **kwargs)
