"""f linearised at the start of a step: its Jacobian, by samples or of all, and the linear equations with it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..fields import FieldError
from ..stages.kept_jacobian import DenseJacobian, ProductJacobian
from .adaptive import Counts
from .control import Tolerance
from .stage_equation import LARGEST, rows, state

#: numbers of the matrices of all samples
LARGEST_TOTAL = 2**24


class Linearised:
    """J = f_u, and the solutions of (I - W x J) x = r.

    A state of two dimensions or more is a batch of samples along the first, whose Jacobians are matrices of their own,
    unless f couples them, which one product of J tells: then the whole state is one sample. So is one with too many
    numbers for matrices, whose equations are solved by GMRES, in units of the tolerance.
    """

    #: whether each sample has steps of its own, so that none may be coupled to another
    each = False
    #: of GMRES in these units, from the norm of a right-hand side: what the solution may leave; None is its own
    goal: Callable[[Tensor], Tensor] | None = None

    def __init__(self, tolerance: Tolerance | None, counts: Counts) -> None:
        self.tolerance, self.counts = tolerance, counts
        self.jacobian: DenseJacobian | ProductJacobian | None = None
        self._joint = False

    def scales(self, u: Tensor) -> Tensor:
        """The tolerance of the entries of a sample's numbers, times the root of how many there are; 1 without one."""
        within = self.tolerance
        size = u.abs() * 0 + 1 if within is None else within.atol + within.rtol * u.abs()
        count = u.numel() // u.shape[0] if self.each else u.numel()
        size = (size * math.sqrt(max(1, count))).to(u.real.dtype).expand(u.shape)
        return rows(torch.complex(size, size) if u.is_complex() else size, self.samples(u))

    def samples(self, u: Tensor) -> int:
        """How many samples the state consists of."""
        return u.shape[0] if self.each or (u.dim() > 1 and not self._joint) else 1

    def linearise(self, f: Callable[[Tensor], Tensor], u: Tensor) -> None:
        """The Jacobian of f at u, f a function of the state, evaluated once unless it couples samples.

        Raises:
            FieldError: a state of half precision; samples with steps of their own that f couples, or that are too large
                for matrices.
        """
        if u.real.dtype not in (torch.float32, torch.float64):
            raise FieldError(f"y0: got {u.dtype} with an implicit scheme, expected float32, float64 or complex ones")

        def function(z: Tensor) -> Tensor:
            return rows(f(state(z, u)), len(z))

        samples = self.samples(u)
        with torch.no_grad():
            if u.numel() // samples > LARGEST or u.numel() ** 2 // samples > LARGEST_TOTAL:
                self._join(f"samples of {u.numel() // samples} numbers, {samples} of them")
                options = {} if self.goal is None else {"goal": self.goal}
                self.jacobian = ProductJacobian(function, rows(u, 1), self.scales(u), **options)
            else:
                self.jacobian = DenseJacobian(function, rows(u, samples))
        self.counts.jacobians += 1
        if self.jacobian.coupled:
            self._join("an f of which a sample's value depends on other samples")
            self.linearise(f, u)

    def _join(self, what: str) -> None:
        """The whole state is one sample from now on."""
        if self.each:
            raise FieldError(
                f"per_sample: got {what}, with a scheme that solves linear equations, expected samples by themselves "
                f"and matrices of at most {LARGEST} rows, {LARGEST_TOTAL} numbers in all; leave out per_sample"
            )
        self._joint = True

    def solved(self, weights: tuple[tuple[float, ...], ...], r: Tensor) -> Tensor:
        """(I - W x J)^-1 r."""
        assert self.jacobian is not None
        known = self.jacobian.factorisations
        found = self.jacobian.solve(weights, r)
        self.counts.factorisations += self.jacobian.factorisations - known
        return found
