"""What the numbers say, in sentences: derived from the statistics by stated rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from ..config import DECAYED, TRAINED
from . import sawtooth
from .cells import Cell
from .coefficients import Learned
from .comparisons import ABOUT, AT_EQUAL_WORK, REFERENCE, Comparison
from .missing import Named
from .statistics import CONFIDENCE, WORTH_SEEING, Difference, deviation_range


def in_words(found: Difference | None, one: str, other: str, of: str = "seed") -> str:
    """Such as ``lm errs less than euler by 0.21 (95 % interval -0.05 to 0.47, 3 seeds): no difference can be told``."""
    if found is None:
        return f"{one} and {other} have no seed in common: nothing can be told"
    size = f"{one} errs {'less' if found.mean < 0 else 'more'} than {other} by {abs(found.mean):.2f}"
    seeds = f"{found.n} {of}{'s' * (found.n != 1)}"
    if found.n == 1:
        return f"{size} on the one seed that both have: nothing can be told"
    if found.interval is None:
        same = f"{one} errs as {other} does on each of {seeds}"
        return f"{size} on each of {seeds}: equal differences have no interval" if found.mean else same
    # The interval of what is said: of the size, in the direction that is named.
    low, high = sorted(-end if found.mean < 0 else end for end in found.interval)
    told = "a difference is seen" if found.seen else "no difference can be told"
    return f"{size} (95 % interval {low:.2f} to {high:.2f}, {seeds}): {told}"


def equal_depth(found: Comparison) -> str:
    """A network beside one of its depth."""
    return f"Depth {found.cell.depth}: {in_words(found.final, found.cell.label, found.reference.label)}."


def all_depths(found: Sequence[Comparison], difference: Difference) -> str:
    """Two networks at several depths."""
    *most, last = (str(one.cell.depth) for one in found)
    said = in_words(difference, found[0].cell.label, found[0].reference.label, "pair")
    return f"Depths {', '.join(most)} and {last}, as if the difference were the same at each: {said}."


def equal_evaluations(found: Comparison) -> str:
    """A network beside one of about as many evaluations."""
    names = [f"{c.label} at depth {c.depth} ({c.evaluations} evaluations)" for c in (found.cell, found.reference)]
    return f"{in_words(found.final, *names)}."


def without_equal_work(table: Iterable[Cell], found: Iterable[Comparison]) -> str:
    """Which networks of several evaluations a layer have nothing to be compared with at equal work; empty for none."""
    table = list(table)
    usual = {cell.depth: cell.evaluations for cell in table if cell.label == REFERENCE}
    compared = [comparison.cell for comparison in found]
    left = [
        f"{cell.label} at depth {cell.depth} ({cell.evaluations})"
        for cell in table
        if cell.evaluations != usual.get(cell.depth, cell.evaluations) and all(cell is not one for one in compared)
    ]
    if not left:
        return ""
    return (
        f"No {' or '.join(AT_EQUAL_WORK)} of about as many evaluations, within {100 * ABOUT:.0f} %, is there for "
        f"{', '.join(left)}."
    )


def decay(found: Sequence[Learned]) -> list[str]:
    """What decay of a coefficient does to it: the mean over layers and seeds beside that of the plain scheme."""
    sentences = []
    for one in found:
        target = DECAYED.get(str(one.config.coefficients))
        plain = next((other for other in found if target is not None and _trained(one, other)), None)
        if plain is not None:
            own, free = float(one.values.mean()), float(plain.values.mean())
            way = "nearer to" if abs(own - target) < abs(free - target) else "not nearer to"
            sentences.append(
                f"Decayed to {target:g}, the {one.symbol}_n of {one.config.scheme} at depth {one.config.depth} are "
                f"{_spread(one)}, without decay {_spread(plain)}: on average {way} {target:g}."
            )
    return sentences


def _trained(one: Learned, other: Learned) -> bool:
    """Whether the other is the same coefficient of the same network without decay."""
    return other.symbol == one.symbol and other.config == replace(
        one.config, coefficients=TRAINED, seed=other.config.seed
    )


def _spread(found: Learned) -> str:
    return f"{found.values.mean():.2f} on average ({np.min(found.values):.2f} to {np.max(found.values):.2f})"


def shapes(found: Iterable[Learned]) -> list[str]:
    """Whether the k_n of lm have the published shape."""
    return [sawtooth.in_words(one) for one in found if (one.config.scheme, one.symbol) == ("lm", "k")]


def unsaid(comparisons: Iterable[Comparison], pooled: Iterable[Difference] = ()) -> list[str]:
    """What the seeds are too few for; ``pooled`` are the differences over all depths."""
    known = [(one, one.final) for one in comparisons if one.final is not None]
    measured = [(one, difference) for one, difference in known if difference.needed is not None]
    sentences = []
    intervals = len(measured) + sum(difference.interval is not None for difference in pooled)
    if intervals > 1:
        sentences.append(
            f"Were there no difference at all, {(1 - CONFIDENCE) * intervals:.1f} of these {intervals} "
            "intervals of 95 % would still be expected to miss 0, by chance."
        )
    few = [(one, difference) for one, difference in measured if difference.needed > difference.n]
    if few:
        least, most = (f(difference.needed for _, difference in few) for f in (min, max))
        n = min(difference.n for _, difference in few)
        low, high = deviation_range(n)
        sentences.append(
            f"To see a difference of {WORTH_SEEING:g} % (two-sided test at 5 %, power 80 %) would take "
            f"{least if least == most else f'{least} to {most}'} seeds, by the comparison. This is rough: the true "
            f"deviation may be {low:.2f} to {high:.1f} times one estimated from {n} seeds, and the number goes with "
            "its square."
        )
    if single := [one for one, difference in known if difference.n == 1]:
        named = ", ".join(dict.fromkeys(f"{one.cell.label} at depth {one.cell.depth}" for one in single))
        sentences.append(f"One seed has no deviation, and nothing can be told of {named}.")
    return sentences


def unfinished(found: Iterable[Named]) -> list[str]:
    """How many runs of each study are missing."""
    return [
        f"{len(study.missing)} of the {study.runs} runs of study {study.name} are not finished (listed at the end): "
        "what is said here holds for those that are."
        for study in found
        if study.missing
    ]
