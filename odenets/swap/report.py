"""What swap_scheme has found and done, as a value and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..scheme import Scheme
from .chain import Chain

#: of an eigenvalue; a double one of V has the square root of the machine's
ROUNDING = 1e-6


@dataclass(frozen=True)
class ChainReport:
    """One chain of blocks.

    Args:
        blocks: paths of its blocks; ``sums`` how many steps each is.
        evaluations: evaluations of branches in one pass.
        starting: steps taken by the starting scheme.
        activation: names of what follows the last sum of its blocks.
        notes: what to know about the scheme on this chain.
        whole: whether their nn.Sequential runs its blocks as one.
    """

    blocks: tuple[str, ...]
    sums: tuple[int, ...]
    evaluations: int
    starting: int
    activation: tuple[str, ...]
    whole: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SwapReport:
    """What has been swapped in a model: the scheme, its chains, and (path, reason) of what is left alone."""

    scheme: str
    gradient: str
    post_activation: str
    chains: tuple[ChainReport, ...]
    left: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        blocks, steps = sum(len(c.blocks) for c in self.chains), sum(sum(c.sums) for c in self.chains)
        yield (
            f"{self.scheme}: {blocks} blocks in {len(self.chains)} chains, {steps} steps, "
            f"{sum(c.evaluations for c in self.chains)} evaluations, gradient {self.gradient}"
        )
        for i, chain in enumerate(self.chains):
            after = f"; {', '.join(chain.activation)} after each ({self.post_activation})" if chain.activation else ""
            start = f", {chain.starting} of them to start" if chain.starting else ""
            once = ", run as one by their nn.Sequential" if chain.whole else ""
            steps = sum(chain.sums)
            yield f"  chain {i}: {steps} steps{start}, {chain.evaluations} evaluations{once}{after}"
            sums = zip(chain.blocks, chain.sums, strict=True)
            yield "    " + ", ".join(f"{name or 'the model'}" + (f" ({k} sums)" if k > 1 else "") for name, k in sums)
            yield from (f"    note: {note}" for note in chain.notes)
        if self.left:
            yield "left alone:"
            yield from (f"  {name or 'the model'}: {reason}" for name, reason in self.left)


def chain_report(chain: Chain) -> ChainReport:
    """What there is to be said about a chain."""
    plans, starting = chain.plans, min(len(chain.starting_programs), chain.steps)
    return ChainReport(
        tuple(plan.name for plan in plans),
        tuple(len(plan.skips) for plan in plans),
        chain.evaluations,
        starting,
        tuple(dict.fromkeys(name for plan in plans for name in plan.activation)),
        chain.run_at_once and chain.gradient_name != "direct",
        tuple(_notes(chain, starting)),
    )


def _notes(chain: Chain, starting: int) -> Iterator[str]:
    if starting == chain.steps:
        yield "every step is a starting step; the scheme itself takes none"
    if max(len(plan.skips) for plan in chain.plans) > 1 and parasitic(chain.scheme):
        yield (
            "the scheme has a root of modulus 1 beside 1, and the sums of a block are different functions in turn: it "
            "weighs some of them against the others, and does not approximate u' = their sum"
        )


def parasitic(scheme: Scheme) -> bool:
    """Whether V, the step where f = 0, has an eigenvalue of modulus 1 beside 1; of numbers, not of free symbols."""
    if scheme.carried == 1 or scheme.V.free_symbols:
        return False
    roots = np.linalg.eigvals(np.array(scheme.V.tolist(), dtype=float))
    return bool(((abs(abs(roots) - 1) < ROUNDING) & (abs(roots - 1) > ROUNDING)).any())
