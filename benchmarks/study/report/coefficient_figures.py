"""Learned coefficients over layers and over epochs, and effective depths, in the manner of Lu et al. (2018)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from odenets.analysis.plot.style import new_panels, shades

from .coefficients import EffectiveDepth, Learned, stable_ends
from .error_figures import DEPTH
from .learning_curves import depth_panels, name_left
from .looks import Look, in_order, legend

#: Effective depths are drawn up to so many times the plain one.
CUT = 3.0


def over_layers(found: Sequence[Learned], looks: Mapping[str, Look], title: str) -> Figure:
    """k_n over the layer n, a panel a depth, a colour a label: each seed thin, their mean thick.

    Dashed lines are transitions between stages, across which nothing is joined; beyond the grey lines the scheme is
    not zero-stable. A band is from the smallest to the largest channel.
    """
    depths = sorted({one.config.depth for one in found})
    symbol = found[0].symbol
    figure, panels = depth_panels(len(depths))
    for axes, depth in zip(panels, depths, strict=True):
        own = [one for one in found if one.config.depth == depth]
        for one in own:
            _layers(axes, one, looks[one.config.label])
        for x in _transitions(own[0]):
            axes.axvline(x, color="0.45", linestyle=(0, (4, 3)), linewidth=0.9, zorder=1)
        _mark_ends(axes, own)
        axes.set(title=f"depth {depth}", xlabel="layer $n$")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        name_left(axes, f"${symbol}_n$")
    figure.suptitle(f"{title}: learned ${symbol}_n$ over the layers")
    legend(figure, panels, looks)
    return figure


def _layers(axes: Axes, one: Learned, look: Look) -> None:
    label = one.config.label
    for stage in sorted(set(one.stages)):
        places = one.of_stage(stage)
        layers = [one.layers[place] for place in places]
        for row in one.values[:, places]:
            axes.plot(layers, row, color=look.colour, linewidth=0.6, alpha=0.5)
        if (one.high > one.low).any():
            low, high = one.low[:, places].min(axis=0), one.high[:, places].max(axis=0)
            axes.fill_between(layers, low, high, color=look.colour, alpha=0.15, linewidth=0)
        axes.plot(
            layers,
            one.mean[places],
            color=look.colour,
            marker=look.marker,
            markersize=4,
            linestyle=look.line,
            linewidth=1.6,
            label=label,
        )


def _transitions(one: Learned) -> list[float]:
    """Between the last layer of a stage that has the coefficient, and the next layer."""
    return [one.layers[one.of_stage(stage)[-1]] + 0.5 for stage in sorted(set(one.stages))[:-1]]


def _mark_ends(axes: Axes, found: Iterable[Learned]) -> None:
    """Lines at the ends of zero-stability, and at 0."""
    axes.axhline(0, color="0.4", linewidth=0.8, zorder=1)
    for end in sorted({end for one in found for end in stable_ends(one.config)}):
        axes.axhline(end, color="0.4", linewidth=1.1, linestyle=":", zorder=1, label="end of zero-stability")


def over_epochs(found: Sequence[Learned], title: str) -> Figure:
    """k_n of one label over the epochs, mean over seeds: a row a depth, a panel a stage, a line a layer.

    Dark lines are the first layers of a stage, light ones its last.
    """
    stages = sorted({stage for one in found for stage in one.stages})
    symbol = found[0].symbol
    figure, panels = new_panels(len(found), len(stages), 3.6 * len(stages), 2.6 * len(found) + 0.6, sharey=True)
    for row, one in enumerate(found):
        for column, stage in enumerate(stages):
            axes = panels[row * len(stages) + column]
            _epochs(axes, one, one.of_stage(stage))
            axes.set(title=f"depth {one.config.depth}, stage {stage}", xlabel="epoch", ylabel=f"${symbol}_n$")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.label_outer()
    figure.suptitle(f"{title}: learned ${symbol}_n$ over the epochs, mean over seeds")
    for shade, which in zip(shades(2), ("first", "last"), strict=True):
        panels[0].plot([], [], color=shade, linewidth=1.6, label=f"{which} layer of the stage")
    legend(figure, panels[:1], {})
    return figure


def _epochs(axes: Axes, one: Learned, places: Sequence[int]) -> None:
    assert one.epochs is not None
    mean = one.epochs.mean(axis=0)
    for place, shade in zip(places, shades(len(places)), strict=True):
        axes.plot(1 + np.arange(len(mean)), mean[:, place], color=shade, linewidth=1.5)
    _mark_ends(axes, [one])


def effective(found: Sequence[EffectiveDepth], looks: Mapping[str, Look], title: str) -> Figure:
    """The effective depth over the depth, mean and deviation over seeds, beside the plain one."""
    figure, (axes,) = new_panels(1, 1, 5.5, 3.7)
    for label in in_order(one.config.label for one in found):
        own = [one for one in found if one.config.label == label]
        axes.errorbar(
            [one.config.depth for one in own],
            [one.final.mean() for one in own],
            yerr=[one.final.std(ddof=1) if len(one.final) > 1 else np.nan for one in own],
            color=looks[label].colour,
            marker=looks[label].marker,
            linestyle=looks[label].line,
            capsize=3,
            label=label,
        )
    depths, plain = zip(*sorted({(one.config.depth, one.plain) for one in found}), strict=True)
    axes.plot(depths, plain, color="0.4", linestyle=":", marker=".", label="plain depth: the sum of $h$")
    axes.set(xlabel=DEPTH.name, ylabel="effective depth")
    axes.set_xticks(depths)
    _cut(axes, max(plain))
    figure.suptitle(f"{title}\neffective depth: mean and deviation over seeds")
    legend(figure, [axes], looks)
    return figure


def effective_over_epochs(found: Sequence[EffectiveDepth], looks: Mapping[str, Look], title: str) -> Figure:
    """The effective depth after each epoch, a panel a depth: each seed thin, their mean thick, the plain one dotted."""
    depths = sorted({one.config.depth for one in found})
    figure, panels = depth_panels(len(depths), alike=False)
    for axes, depth in zip(panels, depths, strict=True):
        own = [one for one in found if one.config.depth == depth]
        for one in own:
            assert one.epochs is not None
            look, epochs = looks[one.config.label], 1 + np.arange(one.epochs.shape[1])
            axes.plot(epochs, one.epochs.T, color=look.colour, linewidth=0.6, alpha=0.5)
            line = {"color": look.colour, "linestyle": look.line, "linewidth": 1.6, "label": one.config.label}
            axes.plot(epochs, one.epochs.mean(axis=0), **line)
            axes.axhline(one.plain, color="0.4", linestyle=":", linewidth=1.1, zorder=1, label="plain depth")
        _cut(axes, own[0].plain)
        axes.set(title=f"depth {depth}", xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        name_left(axes, "effective depth")
    figure.suptitle(f"{title}: effective depth over the epochs")
    legend(figure, panels, looks)
    return figure


def _cut(axes: Axes, plain: float) -> None:
    """No more than CUT times the plain depth, up or down: a k_n near -1 would leave nothing else to be seen."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -CUT * plain), min(high, CUT * plain))
