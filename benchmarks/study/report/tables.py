"""Means and deviations over seeds, as values and as Markdown tables."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...common.errors import ResultError
from ..result import Result


@dataclass(frozen=True)
class Cell:
    """All seeds of one depth and scheme; lm with its coefficients fixed is another scheme than lm.

    errors, best: test error in % after the last epoch and at the best one, one per seed.
    parameters, evaluations: of the network and of one forward pass.
    seconds: of training, one per seed.
    """

    depth: int
    scheme: str
    errors: tuple[float, ...]
    best: tuple[float, ...]
    parameters: int
    evaluations: int
    seconds: tuple[float, ...]


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1 in the denominator); None for the latter of one value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def show(values: Sequence[float], digits: int = 2) -> str:
    """Such as ``8.53 ± 0.21``; no deviation is shown for one value, since it has none."""
    mean, std = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def by_recipe(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Results by recipe name: different epochs or learning rates must not end in one mean."""
    groups = itertools.groupby(sorted(results, key=_recipe), key=_recipe)
    return {name: list(group) for name, group in groups}


def _recipe(result: Result) -> str:
    return result.config.recipe_name


def cells(results: Iterable[Result]) -> list[Cell]:
    """One cell per depth and scheme of the results of one recipe, by depth, then scheme.

    Raises:
        ResultError: seeds of one cell whose networks differ in size, or a run that is there twice.
    """
    ordered = sorted(results, key=lambda r: (r.config.depth, r.config.label, r.config.seed))
    groups = itertools.groupby(ordered, key=lambda r: (r.config.depth, r.config.label))
    return [_cell(depth, scheme, list(group)) for (depth, scheme), group in groups]


def _cell(depth: int, scheme: str, runs: list[Result]) -> Cell:
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
        depth,
        scheme,
        tuple(run.final_test_error for run in runs),
        tuple(float(run.values["best_test_error"]) for run in runs),
        *size,
        tuple(float(run.values["seconds"]) for run in runs),
    )


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table padded so that it reads well in a terminal too."""
    widths = [max(len(line[i]) for line in (header, *rows)) for i in range(len(header))]

    def line(entries: Sequence[str]) -> str:
        return "| " + " | ".join(entry.rjust(width) for entry, width in zip(entries, widths, strict=True)) + " |"

    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([line(header), rule, *map(line, rows)])


def error_table(table: Sequence[Cell]) -> str:
    """Test error by depth (rows) and scheme (columns): mean ± deviation, and the number of seeds."""
    schemes = sorted({cell.scheme for cell in table})
    entries = {(cell.depth, cell.scheme): f"{show(cell.errors)} (n={len(cell.errors)})" for cell in table}
    depths = sorted({cell.depth for cell in table})
    rows = [[str(depth), *(entries.get((depth, scheme), "") for scheme in schemes)] for depth in depths]
    return markdown(["depth", *schemes], rows)


def cost_table(table: Sequence[Cell]) -> str:
    """What each network costs, and its best epoch, which looked at the test set."""
    header = ["depth", "scheme", "seeds", "parameters", "evaluations", "seconds a run", "best epoch, %"]
    rows = [
        [
            str(cell.depth),
            cell.scheme,
            str(len(cell.errors)),
            f"{cell.parameters:,}",
            str(cell.evaluations),
            show(cell.seconds, 1),
            show(cell.best),
        ]
        for cell in table
    ]
    return markdown(header, rows)
