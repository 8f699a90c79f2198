"""Ratios of times: pairs of samples one after the other, the order changing, in a process whose heap is held."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .processes import HELD, answer

HEAD = "| what | against | the first, ms | the other, ms | ratio, median | quartiles |\n" + "|---" * 6 + "|"

#: seconds of processor time that a sample takes at least
SAMPLE = 0.02
Once = Callable[[], object]


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
        milliseconds = " | ".join(f"{1000 * s:.{1 if s >= 0.01 else 3}f}" for s in self.seconds)
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
    return row(part, pair, samples)


def row(part: str, pair: str, samples: Sequence[tuple[float, float]]) -> Row:
    """The row of pairs of times, those of the first and of the other."""
    low, middle, high = statistics.quantiles([other / first for first, other in samples], n=4)
    medians = [statistics.median(column) for column in zip(*samples, strict=True)]
    return Row(part, pair, (medians[0], medians[1]), middle, (low, high))


def one_core() -> None:
    """Have this process run on one thread of one core."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def timed(once: Once, times: int) -> Callable[[], float]:
    """A function that runs something so many times, and returns the processor time of one."""

    def run() -> float:
        start = time.process_time()
        for _ in range(times):
            once()
        return (time.process_time() - start) / times

    return run


def often(once: Once) -> int:
    """How many times make a sample."""
    once()
    times = 1
    while times * timed(once, times)() < SAMPLE:
        times *= 2
    return times


def beside(part: str, what: str, baseline: Once, others: Mapping[str, Once], rounds: int) -> list[Row]:
    """The baseline once more, and others, each against the baseline, in samples of many times where one is short."""
    times = often(baseline)
    runs = {f"{what} (A/A)": baseline, **others}
    return [compare(part, name, (timed(baseline, times), timed(run, times)), rounds) for name, run in runs.items()]


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
