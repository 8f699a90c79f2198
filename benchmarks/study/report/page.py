"""The Markdown report of a folder of results, with its figures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from odenets.analysis import plot

from ...common.files import write_atomic
from .. import schedule
from ..result import Result
from . import error_figures as plots
from .tables import by_recipe, cells, cost_table, error_table

NAME = "report.md"
DPI = 150


def write(results: Sequence[Result], out: Path) -> str:
    """Writes ``out/report.md`` and its figures, each atomically; returns the tables for the terminal.

    Raises:
        ResultError: results that cannot stand in one table.
    """
    groups = by_recipe(results)
    tables = {name: error_table(cells(group)) for name, group in groups.items()}
    sections = [section(name, group, out) for name, group in groups.items()]
    write_atomic(out / NAME, "\n\n".join(["# Depth against accuracy", *sections, ""]).encode())
    shown = [f"{name}: test error in %, mean ± sample std over n seeds\n\n{table}" for name, table in tables.items()]
    return "\n\n".join([*shown, f"report: {out / NAME}"])


def section(name: str, results: Sequence[Result], out: Path) -> str:
    """The part of the report about one recipe; writes its figures."""
    table = cells(results)
    figures = draw(results)
    for kind, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
        write_atomic(out / file_name(kind, name), buffer.getbuffer())
    links = [f"![{kind.replace('_', ' ')}]({file_name(kind, name)})" for kind in figures]
    return "\n\n".join(
        [
            f"## {name}",
            "Test error in % after the last epoch: mean ± sample standard deviation over n seeds.",
            error_table(table),
            "Evaluations are those of residual functions in one forward pass. The best epoch is chosen on the "
            "test set and stands here for comparison with papers that report it.",
            cost_table(table),
            *links,
            provenance(results),
        ]
    )


def file_name(kind: str, recipe: str) -> str:
    """Of a figure, beside the report."""
    return f"{kind}-{recipe}.png"


def draw(results: Sequence[Result]) -> dict[str, Figure]:
    """The figures of one recipe by kind; learned coefficients only where a scheme has some."""
    config = results[0].config
    title = f"{config.data}, {config.epochs} epochs"
    figures = {
        "depth_error": plots.depth_error(cells(results), title),
        "learning_curves": plots.learning_curves(results, title),
    }
    symbols = sorted({record["symbol"] for run in results for record in run.values["learned_coefficients"]})
    for symbol in symbols:
        kind = "learned_coefficients" if len(symbols) == 1 else f"learned_coefficients_{symbol}"
        figures[kind] = plot.learned_coefficients(records_of(symbol, results), symbol=symbol)
    return figures


def records_of(symbol: str, results: Sequence[Result]) -> dict[str, list[dict[str, Any]]]:
    """The records of one coefficient, by run; runs without it are left out."""
    found = {
        f"{run.config.label}-{run.config.depth}, seed {run.config.seed}": [
            record for record in run.values["learned_coefficients"] if record["symbol"] == symbol
        ]
        for run in results
    }
    return {label: records for label, records in found.items() if records}


def provenance(results: Sequence[Result]) -> str:
    """Recipe, hardware, versions, dates and commands, each different one once."""
    values = [result.values for result in results]
    dates = sorted(value["date"] for value in values)
    lines = [
        f"- recipe: {facts(results[0].config.recipe)}; {schedule.describe(results[0].config)}",
        *(f"- hardware: {text}" for text in distinct(facts(value["hardware"]) for value in values)),
        *(f"- versions: {text}" for text in distinct(facts(value["versions"]) for value in values)),
        f"- finished: {dates[0]} to {dates[-1]}",
        *(f"- command: `{text}`" for text in distinct(value["command"] for value in values)),
    ]
    return "\n".join(lines)


def facts(values: dict[str, object]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, in order of appearance."""
    return list(dict.fromkeys(texts))
