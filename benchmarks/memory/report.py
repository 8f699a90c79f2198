"""The tables and the figure of ``odenets bench memory``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from odenets.analysis.plot.style import MARKERS, colours, new_panels, shared_legend

from ..common.markdown import markdown
from .networks import OURS, REVERSIBLE

Record = Mapping[str, Any]
MIB = 2**20
#: What the claim allows reversible to take, in times of direct.
ALLOWED = 1.40


def memory_table(records: Sequence[Record]) -> str:
    """One row for each way and depth of the network that ``--scheme`` names."""
    header = "way, depth, saved MiB, in states, peak MiB, gradients MiB, stored states, undone, defect, gradient error"
    rows = [header.split(", ")]
    for record in records:
        stored = record["stored"] or {}
        rows.append(
            [
                record["way"],
                str(record["depth"]),
                _mib(record["saved_bytes"]),
                f"{record['saved_bytes'] / record['state_bytes']:.4g}",
                _mib(record["peak_bytes"]),
                _mib(record["parameter_bytes"]),
                str(stored.get("states", "-")),
                str(stored.get("undone", "-")),
                _number(stored.get("defect")),
                _number(record["gradient_error"]),
            ]
        )
    return markdown("Memory", rows)


def peer_table(records: Sequence[Record]) -> str:
    """The peers and the same networks here."""
    rows = [["network", "library", "depth", "peak MiB", "stored states", "gradient error"]]
    for record in records:
        stored = record["stored"] or {}
        rows.append(
            [
                record["scheme"],
                record["library"],
                str(record["depth"]),
                _mib(record["peak_bytes"]),
                str(stored.get("states", "-")),
                _number(record["gradient_error"], missing="not finite"),
            ]
        )
    return markdown("Peers", rows)


def ratios(record: Record) -> list[float]:
    """Time of the way over that of direct, pair by pair, in order of size."""
    seconds = record["seconds"]
    return sorted(way / direct for way, direct in zip(seconds["way"], seconds["direct"], strict=True))


def bound(record: Record) -> float:
    """The ratio of one forward pass more, which no way that runs every layer again can beat."""
    return 1 + median(record["forward_seconds"]) / median(record["seconds"]["direct"])


def time_table(records: Sequence[Record]) -> str:
    """One row for each way and width; "direct" against itself tells how much of a ratio is noise."""
    header = "channels, network, library, way, direct ms a layer, ratio, lowest to highest, one forward more"
    rows = [header.split(", ")]
    for record in records:
        found = ratios(record)
        per_layer = 1000 * median(record["seconds"]["direct"]) / record["depth"]
        rows.append(
            [
                str(record["channels"]),
                record["scheme"],
                record["library"],
                record["way"],
                f"{per_layer:.1f}",
                f"{median(found):.2f}",
                f"{found[0]:.2f} to {found[-1]:.2f}",
                f"{bound(record):.2f}",
            ]
        )
    return markdown(f"Time at depth {records[0]['depth']}", rows)


def verdict(memory: Sequence[Record], time: Sequence[Record], scheme: str) -> list[str]:
    """The claim, part by part, and whether this run bears it out."""
    lines = []
    own = [record for record in memory if record["way"] == REVERSIBLE]
    if own:
        first, last = own[0], own[-1]
        grown = last["saved_bytes"] - first["saved_bytes"]
        states = last["stored"]["states"] - first["stored"]["states"]
        lines.append(
            f"Flat in depth: reversible saves {_mib(first['saved_bytes'])} MiB at depth {first['depth']} and "
            f"{_mib(last['saved_bytes'])} MiB at depth {last['depth']}, that is {grown / first['state_bytes']:+.3g} "
            f"states, with {states:+d} stored between the steps."
        )
    for record in time:
        if (record["library"], record["scheme"], record["way"]) == (OURS, scheme, REVERSIBLE):
            ratio = median(ratios(record))
            answer = "holds" if ratio <= ALLOWED else "does not hold"
            lines.append(f"At most {ALLOWED:.2f} times direct, {record['channels']} channels: {ratio:.2f}, {answer}.")
    return lines


def draw(records: Sequence[Record], title: str) -> Figure:
    """Saved bytes and peak over depth, a line a way."""
    figure, (left, right) = new_panels(1, 2, 9, 4.8, sharey=True)
    _lines(left, records, lambda record: record["saved_bytes"])
    _lines(right, records, lambda record: record["peak_bytes"])
    own = {record["depth"]: record["parameter_bytes"] / MIB for record in records}
    right.plot(list(own), list(own.values()), color="0.35", linestyle=":", label="gradients of the parameters")
    left.set_title("Saved for the backward pass")
    right.set_title("Peak of a forward and backward pass")
    left.set_ylabel("memory, MiB")
    figure.suptitle(title)
    shared_legend(figure, (left, right))
    return figure


def _lines(axes: Axes, records: Sequence[Record], size: Callable[[Record], int]) -> None:
    ways = list(dict.fromkeys(record["way"] for record in records))
    for way, colour, marker in zip(ways, colours(len(ways)), MARKERS, strict=False):
        own = [record for record in records if record["way"] == way]
        # A small network's peak may be all in memory that the process has already.
        sizes = [max(size(record), 1) / MIB for record in own]
        axes.plot([record["depth"] for record in own], sizes, color=colour, marker=marker, label=way)
    depths = sorted({record["depth"] for record in records})
    axes.set(xscale="log", yscale="log", xlabel="depth, layers")
    axes.set_xticks(depths, list(map(str, depths)))
    axes.minorticks_off()


def _mib(size: int) -> str:
    return f"{size / MIB:.3g}" if size < 1000 * MIB else f"{size / MIB:.0f}"


def _number(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:.1e}" if value else "0"
