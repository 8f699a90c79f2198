"""What swap_scheme has found and done, as a value and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .chain import Chain


@dataclass(frozen=True)
class ChainReport:
    """One chain of blocks.

    Args:
        blocks: paths of its blocks; ``sums`` how many steps each is.
        evaluations: evaluations of branches in one pass.
        starting: steps taken by the starting scheme.
        activation: names of what follows the last sum of its blocks.
        whole: whether their nn.Sequential runs its blocks as one.
    """

    blocks: tuple[str, ...]
    sums: tuple[int, ...]
    evaluations: int
    starting: int
    activation: tuple[str, ...]
    whole: bool


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
        if self.left:
            yield "left alone:"
            yield from (f"  {name or 'the model'}: {reason}" for name, reason in self.left)


def chain_report(chain: Chain) -> ChainReport:
    """What there is to be said about a chain."""
    plans = chain.plans
    return ChainReport(
        tuple(plan.name for plan in plans),
        tuple(len(plan.skips) for plan in plans),
        chain.evaluations,
        min(len(chain.starting_programs), chain.steps),
        tuple(dict.fromkeys(name for plan in plans for name in plan.activation)),
        chain.run_at_once and chain.gradient_name != "direct",
    )
