"""odenets: residual networks as numerical schemes for differential equations."""

from .constructors import multistep, runge_kutta
from .errors import FieldError, OdenetsError, SchemeError, UnknownSchemeError
from .scheme import Scheme
from .zoo import as_scheme, schemes

__all__ = [
    "FieldError",
    "OdenetsError",
    "Scheme",
    "SchemeError",
    "UnknownSchemeError",
    "as_scheme",
    "multistep",
    "runge_kutta",
    "schemes",
]
