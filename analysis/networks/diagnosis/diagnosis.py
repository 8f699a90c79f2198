"""The diagnosis of a network: its records, its sentences, and their forms as text and for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from odenets.scheme.shown import Shown, cut

from .diagnosis_text import render, short
from .records import BlockDiagnosis, StageDiagnosis, to_plain


@dataclass(frozen=True, repr=False)
class Diagnosis(Shown):
    """What :func:`odenets.analysis.diagnose` found.

    Attributes:
        blocks, stages: records in the order of the network.
        findings: sentences on what the numbers say.
        suggestion: what to do, with the reason.
        warnings: where the analysis does not hold, or holds less.
        settings: samples, values, dense_limit, dtype, seed, tolerance, quick.
    """

    blocks: tuple[BlockDiagnosis, ...]
    stages: tuple[StageDiagnosis, ...]
    findings: tuple[str, ...]
    suggestion: str
    warnings: tuple[str, ...]
    settings: dict[str, Any] = field(hash=False)

    @property
    def analysed(self) -> tuple[BlockDiagnosis, ...]:
        """The blocks with a spectrum."""
        return tuple(block for block in self.blocks if block.spectrum is not None)

    def text(self) -> str:
        """A table with a line a block, the findings, the suggestion and the warnings."""
        return render(self.blocks, self.findings, self.suggestion, self.warnings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: complex numbers as [re, im], None for what is infinite or NaN."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        # Not the report itself, cut after 40 lines: its table is too wide for a prompt, and the advice is below it.
        return cut(short(self.blocks, self.findings, self.suggestion, self.warnings))
