"""Newton's method: matrices where samples are small, else inexact, by GMRES, with one Krylov space per sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .dense import fits
from .gmres import gmres
from .implicit_gradient import Tangents
from .option_values import check_count, check_real
from .simplified_newton import CONTRACTION, simplified_newton
from .solver import Norm, Solver, finite_rows, rows
from .solver_report import Report, nothing

Function = Callable[[Tensor], Tensor]
#: sufficient decrease of the line search (Armijo 1966)
ARMIJO = 1e-4
#: the largest forcing term that is chosen
COARSEST = 0.1


@dataclass(frozen=True, kw_only=True)
class NewtonKrylov(Solver):
    r"""Inexact Newton on R(z) = z - G(z) (Dembo, Eisenstat & Steihaug 1982), for stiff problems.

    Each iteration solves (I - G_z) d = -R by restarted GMRES to a relative residual eta, in the
    variables scaled by 1 / (atol + rtol \|z\|) in which convergence is measured (Brown & Hindmarsh
    1989), and goes from z to z + d while the corrections d become shorter. R need not: where a stiff
    problem is curved, a step that all but solves it may raise R a thousandfold (Deuflhard 2011, 3.3).
    A sample whose d does not become shorter starts again, from z to z + t d with t = 1, 1/2, 1/4, ... until
    \|\|R(z + t d)\|\| <= (1 - 1e-4 t (1 - eta)) \|\|R(z)\|\|. Products with G_z are by torch.func.jvp, or, where G has
    no forward-mode derivative, by reverse mode twice.

    Samples of at most ``dense`` numbers begin with Newton's method in its simplified form
    (:func:`.simplified_newton.simplified_newton`): the matrix I - G_z, by reverse mode, factorised and kept over the
    iterations. Those that it does not solve begin again as above; the report says what was used.

    Beside the residual, a sample has also converged when d, and the residual \|\|R + (I - G_z) d\|\|
    that GMRES left, are at most 1 in the same norm, and d is not the first correction and not longer than
    the one before (unless that was at most 1 too): d is the error of z to first order. In a stiff
    problem R can be held up by rounding, of eps \|\|G_z\|\| \|\|z\|\|, where z is long exact.

    Args:
        rtol, atol, max_iterations, per_sample, on_failure, adjoint: see :class:`Solver`.
        krylov: dimension of the Krylov space; S D (krylov + 1) numbers are kept.
        restarts: how often GMRES restarts in one Newton iteration.
        forcing: eta. None is 0.9 (\|\|R_k\|\| / \|\|R_k-1\|\|)^2 and at most 0.1 (Eisenstat & Walker 1996,
            choice 2), never asking for less than a tenth of the tolerance; but the root of the
            rounding unit where D <= krylov: there the whole equation is cheap, and a coarse
            solution misses the slow components of a stiff system, whose part of R is small.
        backtracks: how often t is halved before a sample is given up.

    Raises:
        SolverError: an option of a wrong type or out of range.
    """

    krylov: int = 30
    restarts: int = 20
    forcing: float | None = None
    backtracks: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("krylov", self.krylov, 1)
        check_count("restarts", self.restarts, 0)
        check_count("backtracks", self.backtracks, 0)
        if self.forcing is not None:
            check_real("forcing", self.forcing, 0, 0.9)

    @property
    def advice(self) -> str:
        """What to do when it does not converge."""
        return (
            f"Try a smaller step h, a better guess, more max_iterations (now {self.max_iterations}), a larger krylov "
            f"(now {self.krylov}) or more restarts (now {self.restarts}), or per_sample=False if the function couples "
            "samples."
        )

    def iterate(self, function: Function, guess: Tensor) -> tuple[Tensor, Report]:
        """See :meth:`Solver.iterate`."""
        z, begun = simplified_newton(self, function, guess) if fits(guess, self.dense) else (guess, nothing(guess))
        if bool(begun.converged.all()):
            return z, begun
        run = _Run(self, function, begun)
        now = run.start(rows(begun.converged, z, guess))
        before = torch.full_like(now.size, torch.inf)
        for _ in range(self.max_iterations - int(begun.iterations.max())):
            active = ~(now.converged | now.failed)
            if not bool(active.any()):
                break
            now, before = run.advance(now, active, before), now.size
        return now.z, run.report(now)


class _Samples(NamedTuple):
    """The S samples between two iterations: iterate, G(iterate), error norm and what is settled."""

    z: Tensor
    g: Tensor
    size: Tensor
    converged: Tensor
    failed: Tensor
    finite: Tensor
    damped: Tensor  # whether the line search is on
    last: Tensor  # norm of the correction before


class _Step(NamedTuple):
    """d (S, D), the part of R that GMRES left (S,), which samples have one, and the norm it is measured in."""

    d: Tensor
    left: Tensor
    good: Tensor
    norm: Norm


class _Run:
    """One solve: the function, the options, what it has cost."""

    def __init__(self, options: NewtonKrylov, function: Function, begun: Report) -> None:
        self.options, self.function, self.begun = options, function, begun
        self.tangents = Tangents(function)
        self.iterations, self.evaluations, self.products = begun.iterations, begun.evaluations, 0

    def start(self, z: Tensor) -> _Samples:
        g = self._evaluate(z)
        done, size = self.begun.converged, Norm(self.options, z)(z - g)
        size, finite = torch.where(done, self.begun.residual, size), done | finite_rows(g)
        plain, first = torch.zeros_like(finite), torch.full_like(size, torch.inf)
        self.origin = _Samples(z, g, size, done | (finite & (size <= 1)), ~finite, finite, plain, first)
        return self.origin

    def report(self, now: _Samples) -> Report:
        counts = self.evaluations, self.products
        return Report(now.converged, now.size, self.iterations, *counts, now.finite, self.begun.matrices)

    def advance(self, now: _Samples, active: Tensor, before: Tensor) -> _Samples:
        """One Newton iteration of the active samples; ``before`` is their error norm one iteration ago."""
        self.iterations = self.iterations + active
        step = self._correction(now, active, self._forcing(now, before))
        error = torch.maximum(step.norm(step.d), step.left * now.size)
        # One short correction may be that of a function which is steep here and flat beside: it takes a second one.
        settled = (step.norm(step.d) <= CONTRACTION * now.last) | (now.last <= 1)
        exact = step.good & (error <= 1) & settled & ~now.last.isinf()
        able = step.good & (step.left < 1) & ~exact
        moved = now._replace(z=rows(exact, now.z + step.d, now.z))
        moved, again = self._full_step(moved, able & ~now.damped, active & ~exact & ~now.damped, step)
        moved, stuck = self._search(moved, able & now.damped, step)
        found = able & ~again & ~stuck
        size = torch.where(found, Norm(self.options, moved.z)(moved.z - moved.g), torch.where(exact, error, now.size))
        return moved._replace(
            size=torch.where(again, self.origin.size, size),
            converged=now.converged | exact | (found & (size <= 1)),
            failed=now.failed | (active & ~exact & ~found & ~again),
            finite=now.finite & (step.good | again | ~active),
            last=torch.where(again, torch.inf, step.norm(step.d)),
        )

    def _full_step(self, now: _Samples, able: Tensor, free: Tensor, step: _Step) -> tuple[_Samples, Tensor]:
        """Go to z + d with the samples in ``able``; the second value says which of the ``free`` start anew, damped."""
        if not bool(free.any()):
            return now, free
        shorter = able & (step.norm(step.d) <= CONTRACTION * now.last)
        trial = rows(shorter, now.z + step.d, now.z)
        value = self._evaluate(trial)
        taken = shorter & finite_rows(value)
        # At the very first correction there is nothing to start anew from, unless a shorter step might do.
        again = free & ~taken & (able | ~now.last.isinf())
        z, g = rows(taken, trial, now.z), rows(taken, value, now.g)
        z, g = rows(again, self.origin.z, z), rows(again, self.origin.g, g)
        return now._replace(z=z, g=g, damped=now.damped | again), again

    def _forcing(self, now: _Samples, before: Tensor) -> Tensor:
        """Relative residual (S,) asked of GMRES."""
        if self.options.forcing is not None:
            return torch.full_like(now.size, self.options.forcing)
        if now.z.shape[1] <= self.options.krylov:
            return torch.full_like(now.size, torch.finfo(now.size.dtype).eps ** 0.5)
        chosen = torch.where(before.isinf(), COARSEST, 0.9 * (now.size / before) ** 2)
        return torch.maximum(chosen, 0.1 / now.size).clamp_max(COARSEST)

    def _correction(self, now: _Samples, active: Tensor, eta: Tensor) -> _Step:
        """GMRES for (I - G_z) d = -R, in scaled variables."""
        norm = Norm(self.options, now.z)
        w = norm.weights

        tangent = self.tangents.at(now.z)

        def operator(v: Tensor) -> Tensor:
            # The tangent of a 0-dimensional part may come out in float64.
            return v - w * tangent(v / w).to(v.dtype)

        b = rows(active, w * (now.g - now.z), 0.0)
        size = torch.linalg.vector_norm(b, dim=1)
        d, left, report = gmres(operator, b, eta * size, self.options.krylov, self.options.restarts)
        self.products += report.products
        good = active & report.finite & finite_rows(d)
        return _Step(rows(good, d / w, 0.0), torch.where(size > 0, left / size, 0.0), good, norm)

    def _search(self, now: _Samples, search: Tensor, step: _Step) -> tuple[_Samples, Tensor]:
        """Backtracking of the samples in ``search``; the second value says for which no t was found."""
        z, g, t = now.z, now.g, 1.0
        size = step.norm(now.z - now.g)
        for _ in range(self.options.backtracks + 1):
            if not bool(search.any()):
                break
            trial = rows(search, z + t * step.d, z)
            value = self._evaluate(trial)
            enough = step.norm(trial - value) <= (1 - ARMIJO * t * (1 - step.left)) * size
            taken = search & finite_rows(value) & enough
            z, g, search, t = rows(taken, trial, z), rows(taken, value, g), search & ~taken, 0.5 * t
        return now._replace(z=z, g=g), search

    def _evaluate(self, z: Tensor) -> Tensor:
        self.evaluations += 1
        return self.function(z)
