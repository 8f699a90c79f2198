"""A diagnosis as text: a table, the findings, the suggestion, the warnings; and what of it a prompt shows."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from odenets.scheme.shown import MOST_LINES

from ...text.tables import render as table
from .layer_lists import percent
from .records import BlockDiagnosis

WIDTH = 110
HEADER = (
    "layer", "stage", "scheme", "coefficient", "h_eff", "N", "Re(lambda)", "max |lambda|", "log norm", "||J||",
    "outside", "grows", "unstable", "max |zeta|", "||step||", "modified",
)  # fmt: skip
#: Those that a prompt shows: what decides whether a layer is stable.
AT_A_PROMPT = ("layer", "scheme", "coefficient", "h_eff", "Re(lambda)", "outside", "unstable", "max |zeta|")
LEGEND = (
    "h_eff: effective step. N: dimension. log norm: largest eigenvalue of (J + J^T)/2. outside: share of the "
    "eigenvalues with |zeta| > 1; grows: of these the flow over h_eff grows as well, Re(h_eff lambda) > 0, unstable: "
    "it does not. ||step||: 2-norm of one step as a matrix, on all that it carries. modified: size of the leading "
    "modified term relative to f_0, f/(1 + k) for lm. Several samples: the largest value."
)


def render(blocks: Sequence[BlockDiagnosis], findings: Sequence[str], suggestion: str, warnings: Sequence[str]) -> str:
    """The whole report."""
    parts = [table(HEADER, [_row(block) for block in blocks]), _paragraph(LEGEND)]
    parts.append("Findings\n" + _bullets(findings))
    parts.append("Suggestion\n" + _paragraph(suggestion, "  "))
    if others := _others(blocks):
        parts.append("Other schemes on these spectra, over each layer's h_eff (largest over the layers)\n" + others)
    if warnings:
        parts.append("Where the analysis does not hold\n" + _bullets(warnings))
    return "\n\n".join(parts)


def short(blocks: Sequence[BlockDiagnosis], findings: Sequence[str], suggestion: str, warnings: Sequence[str]) -> str:
    """The table with fewer columns, of so many layers that the suggestion fits below it."""
    below = "Suggestion\n" + _paragraph(suggestion, "  ")
    room = max(1, MOST_LINES - below.count("\n") - 6)  # less the head of the table, empty lines, the last one
    worst = sorted(range(len(blocks)), key=lambda i: _largest(blocks[i]), reverse=True)[:room]
    columns = [HEADER.index(name) for name in AT_A_PROMPT]
    rows = [[row[j] for j in columns] for row in (_row(blocks[i]) for i in sorted(worst))]
    told = f"print() shows all, with {len(findings)} findings and {len(warnings)} warnings."
    if len(rows) < len(blocks):
        told = f"The {len(rows)} lines of {len(blocks)} with the largest |zeta|; {told}"
    return "\n\n".join([table(AT_A_PROMPT, rows), below, told])


def _largest(block: BlockDiagnosis) -> float:
    """|zeta|, over the channels where they have coefficients of their own; what was not analysed comes last."""
    if block.amplification is None:
        return -math.inf
    return block.amplification.maximum if block.channel_maximum is None else block.channel_maximum


def _row(block: BlockDiagnosis) -> list[str]:
    place = f"{block.layer}" if block.function is None else f"{block.layer}.{block.function}"
    start = [place, str(block.stage), block.name]
    s, a = block.spectrum, block.amplification
    if s is None or a is None:
        why = "changes the shape" if block.kind == "transition" else "did not converge"
        return [*start, why, *[""] * (len(HEADER) - 4)]
    low = min(value.real for value in s.eigenvalues)
    modified = "-" if block.modified is None else f"{block.modified.relative:.2g} (h^{block.modified.order})"
    return [
        *start,
        ", ".join(_coefficient(c.symbol, c.mean, c.low, c.high) for c in block.coefficients) or "-",
        number(block.effective_step),
        str(block.dimension),
        f"{low:.2f} to {s.abscissa:.2f}",
        number(s.radius),
        number(s.bounds[1]),
        number(s.norm),
        percent(a.outside),
        percent(a.growing),
        percent(a.unstable),
        number(_largest(block)) + ("" if block.channel_maximum is None else " (channels)"),
        number(block.step_norm),
        modified,
    ]


def _coefficient(symbol: str, mean: float, low: float, high: float) -> str:
    return f"{symbol} = {mean:.3f}" + ("" if low == high else f" ({low:.2f} to {high:.2f})")


def number(x: float | None) -> str:
    """Three digits; what is unknown is a dash."""
    if x is None or math.isnan(x):
        return "-"
    return "inf" if math.isinf(x) else f"{x:.3g}"


def _others(blocks: Sequence[BlockDiagnosis]) -> str:
    """One line a scheme: at the same effective step and at the same cost, everywhere and where no flow grows."""
    found: dict[str, list[list[float]]] = {}
    for block in (block for block in blocks if block.spectrum is not None):
        for a in block.alternatives:
            row = [a.evaluations, a.same_step.maximum, a.same_step.worst_unstable]
            row += [a.same_cost.maximum, a.same_cost.worst_unstable]
            found.setdefault(a.scheme.partition("(")[0], []).append(row)
    if not found:
        return ""
    header = ("scheme", "evaluations", "max |zeta|", "of Re <= 0", "same cost: max |zeta|", "of Re <= 0", "layers")
    rows = []
    for name, entries in found.items():
        worst = [max(column) for column in zip(*entries, strict=True)]
        rows.append([name, f"{worst[0]:.0f}", *[number(x) for x in worst[1:]], str(len(entries))])
    return table(header, rows)


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(textwrap.fill(s, WIDTH, initial_indent="- ", subsequent_indent="  ") for s in sentences)


def _paragraph(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
