"""Matrix-free solvers of z = G(z), differentiable by the implicit function theorem."""

from .anderson import Anderson
from .fixed_point import fixed_point
from .gmres import GMRES
from .newton import NewtonKrylov
from .options import Solver
from .report import Report

__all__ = ["GMRES", "Anderson", "NewtonKrylov", "Report", "Solver", "fixed_point"]
