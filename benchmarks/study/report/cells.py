"""The results of one network over its seeds, and which results may stand in one table."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ...common.errors import ResultError
from ..config import RunConfig
from ..costs import Cost, key
from ..result import Result


@dataclass(frozen=True)
class Cell:
    """All seeds of one depth and label; lm with its coefficients fixed is another label than lm.

    config: of the run with seed 0, whether or not that is finished.
    errors, best: test error in % after the last epoch and at the best one, by seed.
    parameters, evaluations: of the network and of one forward pass.
    seconds: of training, by seed.
    """

    config: RunConfig
    errors: Mapping[int, float]
    best: Mapping[int, float]
    parameters: int
    evaluations: int
    seconds: Mapping[int, float]

    @property
    def depth(self) -> int:
        """Layers of the network."""
        return self.config.depth

    @property
    def label(self) -> str:
        """The scheme with what is done otherwise than by default."""
        return self.config.label


def cost_of(cell: Cell, costs: Mapping[str, Cost]) -> Cost | None:
    """What a training step of a network takes, if it was measured."""
    return costs.get(key(cell.config))


def by_recipe(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by recipe name: different epochs or learning rates must not end in one mean."""
    groups = itertools.groupby(sorted(results, key=_recipe), key=_recipe)
    return {name: list(group) for name, group in groups}


def _recipe(result: Result) -> str:
    return result.config.recipe_name


def by_network(results: Iterable[Result]) -> list[list[Result]]:
    """The seeds of each depth and label, by depth, then label."""
    ordered = sorted(results, key=lambda r: (r.config.depth, r.config.label, r.config.seed))
    groups = itertools.groupby(ordered, key=lambda r: (r.config.depth, r.config.label))
    return [list(group) for _, group in groups]


def cells(results: Iterable[Result]) -> list[Cell]:
    """One cell per depth and label of the results of one recipe, by depth, then label.

    Raises:
        ResultError: seeds of one cell whose networks differ in size, or a run that is there twice.
    """
    return [_cell(runs) for runs in by_network(results)]


def _cell(runs: list[Result]) -> Cell:
    name = runs[0].config.name
    if len({run.config.seed for run in runs}) < len(runs):
        raise ResultError(
            f"{name}: there are {len(runs)} results with repeated seeds, expected one of each; remove copies"
        )
    sizes = {(run.values["parameters"], run.values["evaluations"]) for run in runs}
    if len(sizes) > 1:
        raise ResultError(
            f"{name} and its other seeds: got (parameters, evaluations) {sorted(sizes)}, expected the same in all; "
            "they come from different versions of the network, train them again"
        )
    (size,) = sizes
    return Cell(
        replace(runs[0].config, seed=0),
        {run.config.seed: run.final_test_error for run in runs},
        {run.config.seed: float(run.values["best_test_error"]) for run in runs},
        *size,
        {run.config.seed: float(run.values["seconds"]) for run in runs},
    )
