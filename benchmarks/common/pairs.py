"""Ratios of times: pairs of samples one after the other, the order changing, in a process whose heap is held."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .processes import HELD, answer

HEAD = "| what | against | the first, ms | the other, ms | ratio, median | quartiles |\n" + "|---" * 6 + "|"


@dataclass(frozen=True)
class Row:
    """Ratios of the time of one thing to that of another, pair by pair, and the median seconds of both."""

    part: str
    pair: str
    seconds: tuple[float, float]
    ratio: float
    quartiles: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.quartiles
        milliseconds = " | ".join(f"{1000 * s:.1f}" for s in self.seconds)
        return f"| {self.part} | {self.pair} | {milliseconds} | {self.ratio:.3f} | {low:.3f} to {high:.3f} |"


def compare(part: str, pair: str, runs: Sequence[Callable[[], float]], rounds: int) -> Row:
    """The second of two runs against the first; each returns the seconds that it took."""
    for run in runs:  # the first loads kernels, the second has its memory
        run(), run()
    samples: list[tuple[float, float]] = []
    for n in range(rounds):
        order = (0, 1) if n % 2 else (1, 0)
        found = {i: runs[i]() for i in order}
        samples.append((found[0], found[1]))
    low, middle, high = statistics.quantiles([other / first for first, other in samples], n=4)
    medians = [statistics.median(column) for column in zip(*samples, strict=True)]
    return Row(part, pair, (medians[0], medians[1]), middle, (low, high))


def in_new_process(module: str, what: dict[str, Any]) -> list[Row]:
    """The rows that ``python -m module --here WHAT`` prints, from a fresh process with one thread and a held heap.

    Raises:
        BenchmarkError: the process failed.
    """
    rows = answer(module, ["--here", json.dumps(what)], HELD)
    return [Row(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()}) for row in rows]


def page(title: str, claims: str, rows: Sequence[Row], facts: dict[str, Any]) -> str:
    """The result as Markdown: what is claimed, the table, the machine."""
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    return "\n\n".join([f"# {title}", claims, "\n".join([HEAD, *map(str, rows)]), told]) + "\n"
