"""Which figures a report has of the results of one recipe, and what is said below each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from ..costs import Cost
from ..result import Result
from . import coefficient_figures, error_figures
from .cells import Cell, cost_of
from .coefficients import EffectiveDepth, Learned
from .learning_curves import learning_curves
from .looks import Look
from .published import Published


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure, its name within the recipe, and a caption."""

    kind: str
    figure: Figure
    caption: str


@dataclass(frozen=True, eq=False)
class Drawing:
    """What all figures of a recipe are drawn by: the title, and how each label looks."""

    title: str
    looks: Mapping[str, Look]


def of_errors(
    drawing: Drawing, table: Sequence[Cell], costs: Mapping[str, Cost], others: Sequence[Published]
) -> list[Picture]:
    """Error over depth and parameters, over work, and memory over depth where that was measured."""
    epochs = " and ".join(map(str, sorted({one.config.epochs for one in others})))
    hollow = f" Hollow: published numbers, of {epochs} epochs." if others else ""
    sizes = [error_figures.DEPTH, error_figures.PARAMETERS]
    known = [cost for cell in table if (cost := cost_of(cell, costs)) is not None]
    work = [error_figures.EVALUATIONS, *([error_figures.step_seconds(costs)] if known else [])]
    timed = " Right: over the time of a training step." if known else ""
    found = [
        Picture(
            "depth_error",
            error_figures.errors(sizes, table, drawing.looks, drawing.title, others),
            f"Test error after the last epoch over the depth, and over the number of parameters.{hollow}",
        ),
        Picture(
            "work_error",
            error_figures.errors(work, table, drawing.looks, drawing.title),
            "Test error over the evaluations of residual functions in a forward pass: a scheme of s stages takes s of "
            f"them a layer.{timed}",
        ),
    ]
    if known:
        figure = error_figures.memory(table, costs, drawing.looks, drawing.title)
        found.append(Picture("memory_depth", figure, "The most memory that a training step takes, over the depth."))
    return found


def of_training(drawing: Drawing, results: Sequence[Result]) -> Picture:
    """The learning curves."""
    figure = learning_curves(results, drawing.looks, drawing.title)
    return Picture("learning_curves", figure, "Test error after each epoch: seeds thin, their mean thick.")


def of_coefficients(drawing: Drawing, found: Sequence[Learned], depths: Sequence[EffectiveDepth]) -> Iterable[Picture]:
    """Each learned coefficient over layers and over epochs, and the effective depths."""
    symbols = sorted({one.symbol for one in found})
    for symbol in symbols:
        own = [one for one in found if one.symbol == symbol]
        end = "" if len(symbols) == 1 else f"_{symbol}"
        yield Picture(
            f"learned_coefficients{end}",
            coefficient_figures.over_layers(own, drawing.looks, drawing.title),
            f"{symbol}_n after the last epoch over the layers: seeds thin, their mean thick. Dashed: transitions "
            "between stages.",
        )
        for label in dict.fromkeys(one.config.label for one in own):
            told = [one for one in own if one.config.label == label and one.epochs is not None]
            if told:
                yield Picture(
                    f"coefficients_over_epochs{end}-{slug(label)}",
                    coefficient_figures.over_epochs(told, f"{drawing.title}, {label}"),
                    f"{symbol}_n of {label} after each epoch, mean over seeds: a line a layer, dark at the begin of a "
                    "stage, light at its end.",
                )
    if depths:
        yield Picture(
            "effective_depth",
            coefficient_figures.effective(depths, drawing.looks, drawing.title),
            "The time that the network advances u' = f by: the sum over its steps of h/(1 + k_n) for lm, of h where "
            "there is no learned coefficient. Near k_n = -1 a step has no bound, beyond it goes backwards: the axis "
            f"ends at {coefficient_figures.CUT:g} times the plain depth.",
        )
    if told := [one for one in depths if one.epochs is not None]:
        yield Picture(
            "effective_depth_over_epochs",
            coefficient_figures.effective_over_epochs(told, drawing.looks, drawing.title),
            "The same after each epoch: seeds thin, their mean thick.",
        )


def slug(label: str) -> str:
    """A label as a part of a file's name."""
    return re.sub(r"[^a-z0-9_.]+", "-", label.lower()).strip("-")
