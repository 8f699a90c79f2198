"""u' = f(t, u) solved: in steps that a tolerance allows for or a grid fixes, the solution at any time."""

from .control import StepControl
from .errors import IntegrationError, IntegrationWarning
from .solution import Solution, Stats
from .solve import solve

__all__ = ["IntegrationError", "IntegrationWarning", "Solution", "Stats", "StepControl", "solve"]
