"""Whether the learned k_n have the shape that is published of LM-ResNet, by stated rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .coefficients import Learned, Numbers

#: What is taken for strongly negative.
STRONGLY = -0.5
#: The last layers of the network, among which it must be reached.
LAST = 3
#: Beyond it lm is not zero-stable; the published k_n are there from 32 layers on.
LIMIT, BEYOND_FROM = -1.0, 32
RULES = (
    "Published of k_n: a sawtooth, about 0.5 just after a transition, falling through 0 within a stage, strongly "
    f"negative in the last one to three layers, beyond {LIMIT:g} from {BEYOND_FROM} layers on. Here it is taken to be "
    "there in a seed where (1) the first learned k_n of every stage after a transition is above 0, (2) the last one of "
    f"each of these stages is below its first, and (3) the smallest of the last {LAST} of the network is below "
    f"{STRONGLY:g}. Stages with a single learned k_n have no shape."
)


@dataclass(frozen=True)
class Sawtooth:
    """In how many of n seeds each rule holds, and all three; the range of what the rules look at.

    Attributes:
        positive: the first learned k_n after every transition is above 0.
        falling: the last one of each of these stages is below its first.
        negative: the smallest of the last three is below STRONGLY.
        whole: all of these.
        beyond: some k_n is below LIMIT.
        first: smallest and largest over seeds and transitions.
        last: smallest and largest over seeds of the smallest of the last three.
    """

    n: int
    positive: int
    falling: int
    negative: int
    whole: int
    beyond: int
    first: tuple[float, float]
    last: tuple[float, float]


def sawtooth(found: Learned) -> Sawtooth | None:
    """The rules for the seeds of a network; None where there is no transition, or a stage has a single k_n."""
    stages = [found.of_stage(stage) for stage in sorted(set(found.stages))]
    if len(stages) < 2 or min(map(len, stages)) < 2:
        return None
    values = found.values
    first = values[:, [places[0] for places in stages[1:]]]
    last = values[:, stages[-1][-LAST:]].min(axis=1)
    falls = np.stack([values[:, places[-1]] < values[:, places[0]] for places in stages[1:]])
    positive, falling, negative = (first > 0).all(axis=1), falls.all(axis=0), last < STRONGLY
    rules = [positive, falling, negative, positive & falling & negative, (values < LIMIT).any(axis=1)]
    return Sawtooth(len(values), *(int(rule.sum()) for rule in rules), first=_range(first), last=_range(last))


def _range(values: Numbers) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def in_words(found: Learned) -> str:
    """A sentence or two on the k_n of a network."""
    who = f"{found.config.label} at depth {found.config.depth}"
    shape = sawtooth(found)
    if shape is None:
        return f"The k_n of {who} have no shape to compare: a stage has a single learned one."
    n = shape.n
    seeds = f"{n} seed" + "s" * (n != 1)
    parts = (shape.positive, shape.falling, shape.negative)
    none = "show a part of" if n in parts else "do not show"
    verdict = "show" if shape.whole == n else f"show in {shape.whole} of {seeds}" if shape.whole else none
    return (
        f"The k_n of {who} {verdict} the published sawtooth: above 0 after every transition in {shape.positive} of "
        f"{seeds} ({_interval(shape.first)}), falling from there in {shape.falling}, strongly negative at the "
        f"end in {shape.negative} (smallest of the last {LAST}: {_interval(shape.last)}), "
        f"beyond {LIMIT:g} in {shape.beyond} (published: from {BEYOND_FROM} layers on)."
    )


def _interval(ends: Iterable[float]) -> str:
    low, high = (f"{end:.2f}" for end in ends)
    return low if low == high else f"{low} to {high}"
