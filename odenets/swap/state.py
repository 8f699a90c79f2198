"""What a swapped model has more than its original: a module with the coefficients and statistics of its chains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from .chain import Chain
from .findings import Findings
from .report import SwapReport, chain_report

#: name of the module in the swapped model, and so the start of the keys that it adds to the state_dict
NAME = "odenets_swap"


class SwapState(nn.Module):
    """The chains of a swapped model.

    The chains themselves hold the model's blocks a second time. So they are no submodules here, or every weight
    would have a second key in the state_dict; but ``modules()`` of the model does yield them, so that
    :func:`odenets.set_gradient`, :func:`odenets.count_evaluations` and ``analysis.learned_coefficients`` see them.
    """

    def __init__(
        self, chains: Sequence[Chain], findings: Findings, post_activation: str, left: Mapping[str, str]
    ) -> None:
        super().__init__()
        self._chains = list(chains)
        self.findings, self.post_activation, self.left = findings, post_activation, tuple(left.items())
        for i, chain in enumerate(self._chains):
            own = nn.Module()
            if any(True for _ in chain.coefficients.parameters()):
                own.coefficients = chain.coefficients
            if len(chain.branches.statistics):
                own.statistics = chain.branches.statistics
            self.add_module(str(i), own)

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The chains, in the order in which the model calls them."""
        return tuple(self._chains)

    def report(self) -> SwapReport:
        """What has been done."""
        first = self._chains[0]
        reports = tuple(map(chain_report, self._chains))
        return SwapReport(first.scheme.name, first.gradient_name, self.post_activation, reports, self.left)

    def forward(self, x: Any) -> Any:
        """x: an nn.Sequential, of which this is the last child, calls it."""
        return x

    def train(self, mode: bool = True) -> SwapState:
        """As of any module; the chains follow, but not the blocks in them, which are the model's."""
        super().train(mode)
        for chain in self._chains:
            chain.training = chain.field.training = mode
        return self

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """The chains as well, without what is in them."""
        memo = set() if memo is None else memo
        yield from super().named_modules(memo, prefix, remove_duplicate)
        for i, chain in enumerate(self._chains):
            if chain not in memo or not remove_duplicate:
                memo.add(chain)
                yield f"{prefix}.chain{i}" if prefix else f"chain{i}", chain

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        # A checkpoint of the original has none of these keys; all are then left as they are.
        if not any(key.startswith(prefix) for key in state_dict):
            state_dict.update(self.state_dict(prefix=prefix))
        super()._load_from_state_dict(state_dict, prefix, *others)
