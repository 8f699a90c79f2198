"""The schemes by name. Adding one is a few lines in a file here; tests, tables and plots pick it up."""

from __future__ import annotations

from ..scheme import Scheme, SchemeError
from .mapping import Zoo

schemes = Zoo(
    "explicit",
    "residual_networks",
    "reversible_schemes",
    "embedded",
    "verner",
    "verner8",
    "verner9",
    "high_order",
    "stabilised_schemes",
    "multistep",
    "implicit",
    "singly_implicit",
    "additive_schemes",
    "rosenbrock_schemes",
)


def as_scheme(scheme: Scheme | str) -> Scheme:
    """The scheme itself, or the one of that name in the zoo."""
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, str):
        return schemes[scheme]
    raise SchemeError(f"got {scheme!r} of type {type(scheme).__name__}, expected a Scheme or a name of the zoo")
