"""Implicit stages: their equations, solvers of z = G(z), the gradient by the implicit function theorem."""

from .anderson import Anderson
from .errors import ConvergenceError, ConvergenceWarning, SolverError
from .gmres import GMRES
from .newton import NewtonKrylov
from .solver import Solver
from .solver_report import Report

__all__ = [
    "GMRES",
    "Anderson",
    "ConvergenceError",
    "ConvergenceWarning",
    "NewtonKrylov",
    "Report",
    "Solver",
    "SolverError",
]
