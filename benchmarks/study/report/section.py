"""The part of a report about the results of one recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .. import schedule
from ..costs import Cost
from ..result import Result
from . import coefficients, comparisons, figures, findings, published, sawtooth, tables
from .cells import Cell, cells, cost_of
from .figures import Drawing, Picture
from .missing import Named

READING = (
    "Errors are in % of the test images, after the last epoch: mean ± sample standard deviation over n seeds. The best "
    "epoch is chosen on the test set, and stands here for comparison with papers that report it."
)
DIFFERENCES = (
    "Of runs with the same seed, error minus the other's: negative where the scheme errs less. The interval is of "
    "Student's t; a difference is seen where it does not hold 0. The seeds to see a difference are those of a paired "
    "t-test (two-sided, 5 %) with power 80 %, for the deviation seen, which few seeds tell roughly."
)
PUBLISHED = (
    "Numbers of others, of the epochs and the recipe of the paper: beside those from here for orientation, and "
    "compared with nothing. Which epoch the paper's are of is not known here; the reproduction's are of its last."
)


@dataclass(frozen=True, eq=False)
class Content:
    """All that is derived from the results of one recipe, before it is written.

    Attributes:
        results: of the recipe.
        table: the same by network.
        depth, work: comparisons at equal depth and at about equal evaluations.
        learned, effective: coefficients and effective depths of the networks that have some.
        others: published numbers of the same networks.
        costs: of training steps.
    """

    results: Sequence[Result]
    table: Sequence[Cell]
    depth: Sequence[comparisons.Comparison]
    work: Sequence[comparisons.Comparison]
    learned: Sequence[coefficients.Learned]
    effective: Sequence[coefficients.EffectiveDepth]
    others: Sequence[published.Published]
    costs: Mapping[str, Cost]


def content(results: Sequence[Result], costs: Mapping[str, Cost]) -> Content:
    """What the results of a recipe give.

    Raises:
        ResultError: results that cannot stand in one table.
    """
    table = cells(results)
    return Content(
        results,
        table,
        comparisons.at_equal_depth(table),
        comparisons.at_equal_evaluations(table),
        coefficients.learned(results),
        coefficients.effective_depths(results),
        published.beside(table),
        costs,
    )


def what_is_found(found: Content, studies: Iterable[Named]) -> str:
    """The findings as lists of sentences."""
    pooled = comparisons.over_depths(found.depth)
    groups = {
        "At equal depth": [
            *(findings.equal_depth(one) for one in found.depth),
            *(findings.all_depths(*one) for one in pooled),
        ],
        "At about equal evaluations": [
            *(findings.equal_evaluations(one) for one in found.work),
            findings.without_equal_work(found.table, found.work),
        ],
        "Learned coefficients": [*findings.shapes(found.learned), *findings.decay(found.learned)],
        "What cannot be said": [
            *findings.unsaid([*found.depth, *found.work], [difference for _, difference in pooled]),
            *findings.unfinished(studies),
        ],
    }
    told = {title: [sentence for sentence in sentences if sentence] for title, sentences in groups.items()}
    parts = [f"**{title}**\n\n" + "\n".join(f"- {one}" for one in own) for title, own in told.items() if own]
    return "\n\n".join(parts) or "There is nothing to compare: one scheme, and no other of its depth."


def pictures(found: Content, looks: Mapping[str, figures.Look]) -> dict[str, list[Picture]]:
    """The figures by the heading that they stand under."""
    config = found.results[0].config
    drawing = Drawing(f"{config.data}, {config.epochs} epochs", looks)
    return {
        "errors": figures.of_errors(drawing, found.table, found.costs, found.others),
        "training": [figures.of_training(drawing, found.results)],
        "coefficients": list(figures.of_coefficients(drawing, found.learned, found.effective)),
    }


def text(found: Content, shown: Mapping[str, Sequence[str]], studies: Sequence[Named], measure: str) -> str:
    """The section in Markdown.

    Args:
        found: what it is about.
        shown: the figures as Markdown, by heading.
        studies: of the folder.
        measure: the command that measures what steps take.
    """
    parts = [
        f"## {found.results[0].config.recipe_name}",
        "### What the numbers say",
        what_is_found(found, studies),
        "### Test error",
        READING,
        tables.errors(found.table),
        *shown["errors"],
        *_differences(found),
        "### What it costs",
        "Evaluations are those of residual functions in one forward pass.",
        tables.costs(found.table, found.costs),
        *_unmeasured(found, measure),
        "### Training",
        *shown["training"],
        *_coefficients(found, shown["coefficients"]),
        *_published(found),
        "### Where it comes from",
        provenance(found),
    ]
    return "\n\n".join(parts)


def _differences(found: Content) -> list[str]:
    if not found.depth and not found.work:
        return []
    at_work = ["At about equal evaluations:", tables.equal_evaluations(found.work)] if found.work else []
    at_depth = ["At equal depth:", tables.differences(found.depth)] if found.depth else []
    return ["### Differences", DIFFERENCES, *at_depth, *at_work]


def _unmeasured(found: Content, measure: str) -> list[str]:
    known = [cost_of(cell, found.costs) is not None for cell in found.table]
    if all(known):
        return []
    some = "of some networks " if any(known) else ""
    return [
        f"The seconds of a run are those of a machine that may have had other work. Time and memory of a training step "
        f"{some}were not measured: `{measure}` does that."
    ]


def _coefficients(found: Content, shown: Sequence[str]) -> list[str]:
    if not found.learned:
        return []
    parts = ["### Learned coefficients", tables.coefficients(found.learned, found.effective), *shown]
    if findings.shapes(found.learned):
        parts.insert(1, sawtooth.RULES)
    if any(one.epochs is None for one in found.learned):
        parts.append("Some results are of a version that recorded coefficients after the last epoch only.")
    return parts


def _published(found: Content) -> list[str]:
    if not found.others:
        return []
    sources = [f"- {name}: {published.SOURCES[name]}" for name in dict.fromkeys(one.source for one in found.others)]
    table = tables.published(found.others, found.table)
    return ["### Published numbers", PUBLISHED, table, "\n".join(sources)]


def provenance(found: Content) -> str:
    """Recipe, hardware, versions, dates and commands, each different one once."""
    values = [result.values for result in found.results]
    config = found.results[0].config
    dates = sorted(value["date"] for value in values)
    measured = [cost for cell in found.table if (cost := cost_of(cell, found.costs)) is not None]
    lines = [
        f"- recipe: {facts(config.recipe)}; {schedule.describe(config)}",
        *(f"- hardware: {text}" for text in distinct(facts(value["hardware"]) for value in values)),
        *(f"- versions: {text}" for text in distinct(facts(value["versions"]) for value in values)),
        f"- finished: {dates[0]} to {dates[-1]}",
        *(f"- command: `{text}`" for text in distinct(value["command"] for value in values)),
        *(f"- steps measured on: {text}" for text in distinct(facts(one.hardware | one.versions) for one in measured)),
    ]
    return "\n".join(lines)


def facts(values: Mapping[str, object]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, in order of appearance."""
    return list(dict.fromkeys(texts))
