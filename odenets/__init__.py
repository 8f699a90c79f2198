"""odenets: residual networks as numerical schemes for differential equations."""

from . import models
from .fields import AdditiveNoise, FieldError, ShakeShake, StochasticDepth, TimeField, survival_schedule
from .gradients import Adjoint, AdjointError, Checkpoint, Direct, ReversalError, Reversible
from .integrate import (
    Event,
    IntegrationError,
    IntegrationWarning,
    Solution,
    StepControl,
    odeint,
    odeint_adjoint,
    odeint_dense,
    odeint_event,
    solve,
)
from .net import ODENet, count_evaluations, from_one_minus_k, parameter_groups, set_gradient
from .scheme import (
    OdenetsError,
    Scheme,
    SchemeError,
    SchemeWarning,
    UnknownSchemeError,
    families,
    mccallum_foster,
    multistep,
    rk_families,
    runge_kutta,
)
from .stages import GMRES, Anderson, ConvergenceError, ConvergenceWarning, NewtonKrylov, SolverError
from .swap import SwapReport, swap_report, swap_scheme, unswap
from .zoo import as_scheme, schemes

__version__ = "0.1.0"

__all__ = [
    "GMRES",
    "AdditiveNoise",
    "Adjoint",
    "AdjointError",
    "Anderson",
    "Checkpoint",
    "ConvergenceError",
    "ConvergenceWarning",
    "Direct",
    "Event",
    "FieldError",
    "IntegrationError",
    "IntegrationWarning",
    "NewtonKrylov",
    "ODENet",
    "OdenetsError",
    "ReversalError",
    "Reversible",
    "Scheme",
    "SchemeError",
    "SchemeWarning",
    "ShakeShake",
    "Solution",
    "SolverError",
    "StepControl",
    "StochasticDepth",
    "SwapReport",
    "TimeField",
    "UnknownSchemeError",
    "as_scheme",
    "count_evaluations",
    "families",
    "from_one_minus_k",
    "mccallum_foster",
    "models",
    "multistep",
    "odeint",
    "odeint_adjoint",
    "odeint_dense",
    "odeint_event",
    "parameter_groups",
    "rk_families",
    "runge_kutta",
    "schemes",
    "set_gradient",
    "solve",
    "survival_schedule",
    "swap_report",
    "swap_scheme",
    "unswap",
]
