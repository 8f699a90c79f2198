"""The tables of a report, in Markdown that reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...common.markdown import padded
from ..costs import MEBIBYTE, Cost
from .cells import Cell, cost_of
from .coefficients import EffectiveDepth, Learned
from .comparisons import Comparison
from .looks import in_order
from .published import Published
from .statistics import WORTH_SEEING, Difference, mean_std


def show(values: Sequence[float], digits: int = 2) -> str:
    """Such as ``8.53 ± 0.21``; no deviation is shown for one value, since it has none."""
    mean, std = mean_std(values)
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def errors(table: Sequence[Cell]) -> str:
    """Test error by depth (rows) and label (columns): mean ± deviation, and the number of seeds."""
    labels = in_order(cell.label for cell in table)
    entries = {(cell.depth, cell.label): f"{show(list(cell.errors.values()))} (n={len(cell.errors)})" for cell in table}
    depths = sorted({cell.depth for cell in table})
    rows = [[str(depth), *(entries.get((depth, label), "") for label in labels)] for depth in depths]
    return padded(["depth", *labels], rows)


#: What a line of differences ends with: the heading, and the entry.
ENDS: dict[str, Callable[[Difference | None, Difference | None], str]] = {
    "seeds": lambda final, best: "0" if final is None else str(final.n),
    "error minus the other's, %": lambda final, best: "" if final is None else f"{final.mean:+.2f}",
    "95 % interval": lambda final, best: _interval(final),
    "a difference": lambda final, best: "seen" if final is not None and final.seen else "not told",
    f"seeds to see {WORTH_SEEING:g} %": lambda final, best: str((final and final.needed) or ""),
    "at the best epoch, %": lambda final, best: "" if best is None else f"{best.mean:+.2f}",
    "its 95 % interval": lambda final, best: _interval(best),
}


def _interval(found: Difference | None) -> str:
    return "" if found is None or found.interval is None else "{:+.2f} to {:+.2f}".format(*found.interval)


def differences(found: Sequence[Comparison]) -> str:
    """Networks beside one of their depth."""
    rows = [[str(one.cell.depth), one.cell.label, one.reference.label, *_ends(one)] for one in found]
    return padded(["depth", "scheme", "beside", *ENDS], rows)


def equal_evaluations(found: Sequence[Comparison]) -> str:
    """Networks beside one of about as many evaluations, of another depth."""
    rows = [[*_work(one.cell), *_work(one.reference), *_ends(one)] for one in found]
    return padded(["scheme", "depth", "evaluations", "beside", "its depth", "its evaluations", *ENDS], rows)


def _work(cell: Cell) -> list[str]:
    return [cell.label, str(cell.depth), str(cell.evaluations)]


def _ends(one: Comparison) -> list[str]:
    return [entry(one.final, one.best) for entry in ENDS.values()]


def costs(table: Sequence[Cell], measured: Mapping[str, Cost]) -> str:
    """What each network costs, and its best epoch, which looked at the test set; measured steps if there are some."""
    header = ["depth", "scheme", "seeds", "parameters", "evaluations", "seconds a run", "best epoch, %"]
    known = [cost_of(cell, measured) for cell in table]
    if any(known):
        header += ["a step, ms", "quartiles", "peak memory, MiB"]
    rows = [
        [
            str(cell.depth),
            cell.label,
            str(len(cell.errors)),
            f"{cell.parameters:,}",
            str(cell.evaluations),
            show(list(cell.seconds.values()), 1),
            show(list(cell.best.values())),
            *(_step(cost) if any(known) else []),
        ]
        for cell, cost in zip(table, known, strict=True)
    ]
    return padded(header, rows)


def _step(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["", "", ""]
    low, high = cost.quartiles
    return [f"{1e3 * cost.seconds:.1f}", f"{1e3 * low:.1f} to {1e3 * high:.1f}", f"{cost.peak_bytes / MEBIBYTE:.1f}"]


def coefficients(found: Sequence[Learned], depths: Sequence[EffectiveDepth]) -> str:
    """The learned coefficients of each network over layers and seeds, and what depth they make of it."""
    effective = {(one.config.depth, one.config.label): one for one in depths}
    rows = []
    for one in found:
        made = effective[one.config.depth, one.config.label]
        numbers = [f"{f(one.values):.2f}" for f in (lambda v: v.min(), lambda v: v.mean(), lambda v: v.max())]
        network = [str(one.config.depth), one.config.label, one.symbol, str(len(one.values))]
        rows.append([*network, *numbers, show(list(map(float, made.final))), f"{made.plain:g}"])
    header = ["depth", "scheme", "symbol", "seeds", "smallest", "mean", "largest", "effective depth", "plain depth"]
    return padded(header, rows)


def published(others: Sequence[Published], table: Sequence[Cell]) -> str:
    """Published test errors beside those of the same network here."""
    own = {(cell.depth, cell.label): show(list(cell.errors.values())) for cell in table}
    rows = [
        [
            str(one.config.depth),
            one.config.label,
            one.origin,
            str(one.config.epochs),
            f"{one.error:.2f}",
            "" if one.best is None else f"{one.best:.2f}",
            own.get((one.config.depth, one.config.label), ""),
        ]
        for one in others
    ]
    return padded(["depth", "scheme", "source", "epochs", "published, %", "its best epoch, %", "here, %"], rows)
