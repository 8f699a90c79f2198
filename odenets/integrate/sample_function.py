"""f(t, u) for those samples of a batch that are still being solved for, each at a time of its own."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .packing import Packing


class SampleFunction:
    """A function of times and states with a row for each sample, called with some of the rows.

    A function may hold a tensor with a row for each sample of the whole batch. It fails with fewer; then, and from then
    on, it is given all of them, those that are done at the start of the solve, where it has been evaluated before. The
    rejected alternative is never to leave a sample out: those that are done would be computed to the end.

    Args:
        function: f, or what else is to be evaluated, called with t of shape (n, 1, ..., 1).
        packing: how a state is one tensor.
        t, u: the start, of all samples.

    ``samples`` says which samples the rows of the next call are of; None for all of them. ``evaluations`` counts the
    calls.
    """

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], packing: Packing, t: Tensor, u: Tensor) -> None:
        self.function, self.dims = function, packing.dims
        self._all = t.reshape(-1, *[1] * (self.dims - 1)), u.detach()
        self._whole = False
        self._fewer = False
        self.samples: Tensor | None = None
        self.evaluations = 0

    def __call__(self, t: Tensor, u: Tensor) -> Tensor:
        """The values, a row for each of the samples."""
        if t.dim() != self.dims:
            t = t.reshape(-1, *[1] * (self.dims - 1))
        if self._fewer or self.samples is None or u.shape[0] == self._all[1].shape[0]:
            self.evaluations += 1
            return self.function(t, u)
        return self._with_fewer(t, u)

    def _with_fewer(self, t: Tensor, u: Tensor) -> Tensor:
        self.evaluations += 1
        if not self._whole:
            try:
                value = self.function(t, u)
            except (RuntimeError, ValueError, IndexError):  # FieldError among them
                # Where that is not the reason, it fails with all of them as well, and says so.
                self._whole = True
            else:
                self._fewer = True
                return value
        assert self.samples is not None
        times, states = self._all
        every = self.function(times.index_copy(0, self.samples, t), states.index_copy(0, self.samples, u))
        return every.index_select(0, self.samples)
