"""The scheme as a value: its constructors and families, and what is derived from it. No torch."""

from . import families, rk_families
from .constructors import multistep, runge_kutta
from .errors import OdenetsError, SchemeError, SchemeWarning, UnknownSchemeError
from .scheme import Scheme
from .splitting import mccallum_foster

__all__ = [
    "OdenetsError",
    "Scheme",
    "SchemeError",
    "SchemeWarning",
    "UnknownSchemeError",
    "families",
    "mccallum_foster",
    "multistep",
    "rk_families",
    "runge_kutta",
]
