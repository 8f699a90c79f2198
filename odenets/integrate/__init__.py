"""u' = f(t, u) solved: in steps that a tolerance allows for or a grid fixes, the solution at any time."""

from .adaptive_net import AdaptiveODENet
from .control import StepControl
from .errors import IntegrationError, IntegrationWarning
from .event import Event, Occurrences
from .odeint import odeint, odeint_dense
from .odeint_adjoint import odeint_adjoint
from .odeint_event import odeint_event
from .solution import Solution, Stats
from .solve import solve

__all__ = [
    "AdaptiveODENet",
    "Event",
    "IntegrationError",
    "IntegrationWarning",
    "Occurrences",
    "Solution",
    "Stats",
    "StepControl",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "solve",
]
