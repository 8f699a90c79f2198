"""A function of 0, 1, 2, ..., computed by threads before its results are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

#: How many of the next ranges are begun with, besides the one that is asked for.
DEPTH = 2


class Ahead:
    """Results of a function, a range of its arguments at a time, each computed once by one of some threads.

    Threads, because Pillow decodes without the lock of the interpreter: processes would have to send the images. The
    ranges begun with beforehand lie as far apart as the last two that were asked for, so that a process that takes a
    part of each batch has its own parts computed. A wrong guess costs time, and changes no result.

    Args:
        threads: how many; by default as many as the machine has cores.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads or os.cpu_count(), thread_name_prefix="images")
        self._key: object = None
        self._begun: dict[int, Future[Any]] = {}
        self._last = 0

    def take(self, key: object, function: Callable[[int], Any], wanted: range, end: int) -> list[Any]:
        """The results at the arguments ``wanted``.

        Args:
            key: the same object for as long as the function is the same.
            function: of the arguments 0..end-1; what it raises is raised here.
            wanted: consecutive arguments.
            end: nothing is computed from there on.
        """
        known = self._begun if key is self._key else {}
        stride = wanted.start - self._last if known and wanted.start > self._last else len(wanted)
        parts = [range(wanted.start + i * stride, min(wanted.stop + i * stride, end)) for i in range(DEPTH + 1)]
        left, self._begun = self._begun, {i: known.get(i) or self._pool.submit(function, i) for r in parts for i in r}
        for i, future in left.items():
            if self._begun.get(i) is not future:
                future.cancel()
        self._key, self._last = key, wanted.start
        return [self._begun.pop(i).result() for i in wanted]
