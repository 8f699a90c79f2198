"""Optimal checkpointing: which states to store when only so many may be held.

To go back through l steps with s stored states (the first included), run to step m and store it,
go back through the l - m steps after it with s - 1, then through the m before it with s:

    t(l, s) = min_m  m + t(l - m, s - 1) + t(m, s),    t(1, s) = 0,    t(l, 1) = l (l - 1) / 2

steps are run again. Source: Griewank & Walther (2000), Algorithm 799: revolve.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

#: first and last step of a segment, and how many states it may hold on the way back; None: all its steps at once
CheckpointedSegment = tuple[int, int, int | None]


@lru_cache(maxsize=64)
def _table(steps: int, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """t(l, slots) and the m of its minimum, for l = 0 ... steps."""
    lengths = np.arange(steps + 1)
    if slots == 1:
        return lengths * (lengths - 1) // 2, lengths - 1
    fewer, _ = _table(steps, slots - 1)
    cost, split = np.zeros(steps + 1, dtype=np.int64), np.ones(steps + 1, dtype=np.int64)
    for length in range(2, steps + 1):
        m = np.arange(1, length)
        totals = m + fewer[length - m] + cost[m]
        best = int(totals.argmin())
        cost[length], split[length] = totals[best], m[best]
    return cost, split


#: splits[s - 1][l]: where to store the next state when l steps are ahead and s states may be held
Splits = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=64)
def splits_of(steps: int, slots: int) -> Splits:
    """The optimal splits as plain numbers, which torch.compile can trace."""
    slots = min(slots, steps)
    return tuple(tuple(map(int, _table(steps, s)[1])) for s in range(1, slots + 1))


def recomputed(steps: int, slots: int) -> int:
    """t(steps, slots): steps that are run again on the way back."""
    return int(_table(steps, min(slots, steps))[0][steps])


@lru_cache(maxsize=64)
def segment_lengths(steps: int, slots: int) -> tuple[int, ...]:
    """Lengths of the segments between the states that the forward pass stores.

    The forward pass is free. On the way back segment i, the last one first, has ``slots - i``
    states to itself: those of later segments are gone. So the sum of t(l_i, slots - i) is minimised.
    """
    slots = min(slots, steps)
    tables = [_table(steps, slots - i)[0] for i in range(slots)]
    cost, split = tables[-1][: steps + 1], []
    for table in reversed(tables[:-1]):
        totals = [table[1:length] + cost[length - 1 : 0 : -1] for length in range(2, steps + 1)]
        split.append([1, 1, *(int(total.argmin()) + 1 for total in totals)])
        cost = np.array([0, 0, *(int(total.min()) for total in totals)])
    lengths, left = [], steps
    for best in reversed(split):
        if left <= 1:
            break
        lengths.append(best[left])
        left -= lengths[-1]
    return (*lengths, left)


def checkpointed_segments(first: int, last: int, states: int | None) -> Iterator[CheckpointedSegment]:
    """The segments of the steps ``first`` to ``last`` - 1 between stored states."""
    steps = last - first
    if not steps:
        return
    if states is None:
        size = math.ceil(math.sqrt(steps))
        yield from ((start, min(start + size, last), None) for start in range(first, last, size))
        return
    lengths = segment_lengths(steps, states)
    for i, length in enumerate(lengths):
        yield first, first + length, len(lengths) - i
        first += length
