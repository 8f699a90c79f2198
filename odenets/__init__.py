"""odenets: residual networks as numerical schemes for differential equations."""

from . import families, models, rk_families
from .coefficients import parameter_groups
from .constructors import multistep, runge_kutta
from .errors import (
    ConvergenceError,
    ConvergenceWarning,
    FieldError,
    OdenetsError,
    ReversalError,
    SchemeError,
    SolverError,
    UnknownSchemeError,
)
from .gradients import Adjoint, Checkpoint, Direct, Reversible
from .net import ODENet
from .networks import count_evaluations, set_gradient
from .random_fields import AdditiveNoise, ShakeShake, StochasticDepth, survival_schedule
from .scheme import Scheme
from .solvers import GMRES, Anderson, NewtonKrylov
from .splitting import mccallum_foster
from .swap import SwapReport, swap_report, swap_scheme, unswap
from .time_field import TimeField
from .zoo import as_scheme, schemes

__all__ = [
    "GMRES",
    "AdditiveNoise",
    "Adjoint",
    "Anderson",
    "Checkpoint",
    "ConvergenceError",
    "ConvergenceWarning",
    "Direct",
    "FieldError",
    "NewtonKrylov",
    "ODENet",
    "OdenetsError",
    "ReversalError",
    "Reversible",
    "Scheme",
    "SchemeError",
    "ShakeShake",
    "SolverError",
    "StochasticDepth",
    "SwapReport",
    "TimeField",
    "UnknownSchemeError",
    "as_scheme",
    "count_evaluations",
    "families",
    "mccallum_foster",
    "models",
    "multistep",
    "parameter_groups",
    "rk_families",
    "runge_kutta",
    "schemes",
    "set_gradient",
    "survival_schedule",
    "swap_report",
    "swap_scheme",
    "unswap",
]
