"""The public names, and where they are: read by type checkers and editors, and by __init__.py itself."""

from . import models as models
from .fields import (
    AdditiveNoise as AdditiveNoise,
    FieldError as FieldError,
    ShakeShake as ShakeShake,
    StochasticDepth as StochasticDepth,
    TimeField as TimeField,
    survival_schedule as survival_schedule,
)
from .gradients import (
    Adjoint as Adjoint,
    AdjointError as AdjointError,
    Checkpoint as Checkpoint,
    Direct as Direct,
    ReversalError as ReversalError,
    Reversible as Reversible,
)
from .integrate import (
    AdaptiveODENet as AdaptiveODENet,
    Event as Event,
    IntegrationError as IntegrationError,
    IntegrationWarning as IntegrationWarning,
    Solution as Solution,
    StepControl as StepControl,
    odeint as odeint,
    odeint_adjoint as odeint_adjoint,
    odeint_dense as odeint_dense,
    odeint_event as odeint_event,
    solve as solve,
)
from .net import (
    ODENet as ODENet,
    count_evaluations as count_evaluations,
    from_one_minus_k as from_one_minus_k,
    parameter_groups as parameter_groups,
    set_gradient as set_gradient,
)
from .scheme import (
    OdenetsError as OdenetsError,
    Scheme as Scheme,
    SchemeError as SchemeError,
    SchemeWarning as SchemeWarning,
    UnknownSchemeError as UnknownSchemeError,
    additive as additive,
    families as families,
    mccallum_foster as mccallum_foster,
    multistep as multistep,
    rk_families as rk_families,
    rosenbrock as rosenbrock,
    runge_kutta as runge_kutta,
)
from .stages import (
    GMRES as GMRES,
    Anderson as Anderson,
    ConvergenceError as ConvergenceError,
    ConvergenceWarning as ConvergenceWarning,
    NewtonKrylov as NewtonKrylov,
    SolverError as SolverError,
)
from .swap import SwapReport as SwapReport, swap_report as swap_report, swap_scheme as swap_scheme, unswap as unswap
from .zoo import as_scheme as as_scheme, schemes as schemes

__version__: str
