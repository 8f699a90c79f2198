"""Lists of layers, and shares, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .records import BlockDiagnosis


def layers(numbers: Iterable[int]) -> str:
    """Numbers in order, runs of three and more as ranges: "1, 2, 4-7"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def layers_of(blocks: Sequence[BlockDiagnosis], *, start: bool = False) -> str:
    """The layers of some blocks: "layer 4", "layers 1, 2, 4-7"; with a capital at the start of a sentence."""
    numbers = {block.layer for block in blocks}
    return f"{'L' if start else 'l'}ayer{'' if len(numbers) == 1 else 's'} {layers(numbers)}"


def percent(share: float) -> str:
    """A share as text; a small one is not rounded to nothing, an undefined one is a dash."""
    if math.isnan(share):
        return "-"
    return "< 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def factor(size: float) -> str:
    """How much something is multiplied by, in four digits; growth that would be rounded to 1 is told apart from 1."""
    text = f"{size:.4g}"
    return f"1 + {size - 1:.2g}" if text == "1" and size > 1 else text
