"""Which networks of a study are compared with which: at equal depth, and at about equal work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..config import AXES, TRAINED, RunConfig
from .cells import Cell
from .statistics import Difference, paired

#: The scheme that others are compared with: ResNet. Without it, the label that comes first by name.
REFERENCE = "euler"
#: Those that a network of another depth is compared with at about equal evaluations.
AT_EQUAL_WORK = (REFERENCE, "lm")
#: Evaluations are about equal if they differ by no more than this part of the larger number.
ABOUT = 0.2
#: What two networks must share besides the recipe to be compared.
SHARED = tuple(name for name in AXES if name not in ("depth", "scheme", "seed", "coefficients", "per_channel"))


@dataclass(frozen=True)
class Comparison:
    """A network beside the one that it is compared with.

    final, best: its error minus the other's, after the last epoch and at the best one; None without a common seed.
    """

    cell: Cell
    reference: Cell

    @property
    def final(self) -> Difference | None:
        """After the last epoch."""
        return paired(self.cell.errors, self.reference.errors)

    @property
    def best(self) -> Difference | None:
        """At the best epoch of each run."""
        return paired(self.cell.best, self.reference.best)


def at_equal_depth(table: Iterable[Cell]) -> list[Comparison]:
    """Each network with the reference of its depth, and each treatment of coefficients with the plain scheme."""
    found = []
    for group in _alike(table, depth=True):
        for cell in group:
            reference = _plain(cell.config, REFERENCE, group) or group[0]
            plain = _plain(cell.config, cell.config.scheme, group) or reference
            others = [reference] if plain is reference else [reference, plain]
            found += [Comparison(cell, other) for other in others if other is not cell]
    return found


def over_depths(found: Iterable[Comparison]) -> list[tuple[list[Comparison], Difference]]:
    """What two schemes differ by at several depths, and the difference over all pairs, paired by depth and seed.

    Student's t of the pairs as if the difference were the same at each depth. Left out are depths at which both are one
    network: as large, and with the same error at each seed. Where no depth has two pairs there is nothing to pool.
    """

    def labels(one: Comparison) -> tuple[str, str]:
        return one.cell.label, one.reference.label

    def one_network(one: Comparison, difference: Difference) -> bool:
        sizes = {(cell.parameters, cell.evaluations) for cell in (one.cell, one.reference)}
        return len(sizes) == 1 and not difference.mean and not difference.deviation

    apart = [one for one in found if one.final is not None and not one_network(one, one.final)]
    pooled = []
    for _, group in itertools.groupby(sorted(apart, key=labels), key=labels):
        same = list(group)
        ours, theirs = (
            {(cell.depth, seed): error for cell in cells for seed, error in cell.errors.items()}
            for cells in zip(*((one.cell, one.reference) for one in same), strict=True)
        )
        if (difference := paired(ours, theirs)) is not None and difference.n > len(same) > 1:
            pooled.append((same, difference))
    return pooled


def at_equal_evaluations(table: Iterable[Cell]) -> list[Comparison]:
    """Each network with euler and lm of the nearest number of evaluations, where that is about equal and not its depth.

    Of two that are as near, the one of fewer evaluations.
    """
    found = []
    for group in _alike(table, depth=False):
        for cell in (cell for cell in group if cell.config.scheme not in AT_EQUAL_WORK):
            for scheme in AT_EQUAL_WORK:
                nearest = _nearest(cell, [one for one in group if one.label == _label(cell.config, scheme)])
                if nearest is not None and nearest.depth != cell.depth:
                    found.append(Comparison(cell, nearest))
    return found


def _nearest(cell: Cell, others: Iterable[Cell]) -> Cell | None:
    """The one of about as many evaluations; None if there is none."""

    def apart(one: Cell) -> int:
        return abs(one.evaluations - cell.evaluations)

    near = [one for one in others if apart(one) <= ABOUT * max(one.evaluations, cell.evaluations)]
    return min(near, key=lambda one: (apart(one), one.evaluations), default=None)


def _label(config: RunConfig, scheme: str) -> str:
    """What a scheme is called that takes the place of a network's, its coefficients treated as by default."""
    return replace(config, scheme=scheme, coefficients=TRAINED, per_channel=False).label


def _plain(config: RunConfig, scheme: str, group: Iterable[Cell]) -> Cell | None:
    """The network of that label, if it is there."""
    label = _label(config, scheme)
    return next((cell for cell in group if cell.label == label), None)


def _alike(table: Iterable[Cell], *, depth: bool) -> list[list[Cell]]:
    """Networks that share all that must be shared, and the depth or not."""

    def key(cell: Cell) -> tuple[object, ...]:
        return (*([cell.depth] if depth else []), *(getattr(cell.config, name) for name in SHARED))

    return [list(group) for _, group in itertools.groupby(sorted(table, key=key), key=key)]
