"""The scheme as a value: its constructors and families, and what is derived from it. No torch."""

from . import families, rk_families
from .constructors import lower_triangular, multistep, runge_kutta
from .errors import OdenetsError, SchemeError, SchemeWarning, UnknownSchemeError
from .rosenbrock import rosenbrock
from .scheme import Scheme
from .splitting import additive, mccallum_foster

__all__ = [
    "OdenetsError",
    "Scheme",
    "SchemeError",
    "SchemeWarning",
    "UnknownSchemeError",
    "additive",
    "families",
    "lower_triangular",
    "mccallum_foster",
    "multistep",
    "rk_families",
    "rosenbrock",
    "runge_kutta",
]
