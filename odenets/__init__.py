"""odenets: residual networks as numerical schemes for differential equations."""

from . import models
from .coefficients import parameter_groups
from .constructors import multistep, runge_kutta
from .errors import FieldError, OdenetsError, SchemeError, UnknownSchemeError
from .fields import TimeField
from .net import ODENet, count_evaluations
from .scheme import Scheme
from .zoo import as_scheme, schemes

__all__ = [
    "FieldError",
    "ODENet",
    "OdenetsError",
    "Scheme",
    "SchemeError",
    "TimeField",
    "UnknownSchemeError",
    "as_scheme",
    "count_evaluations",
    "models",
    "multistep",
    "parameter_groups",
    "runge_kutta",
    "schemes",
]
