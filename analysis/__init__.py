"""analysis: what a scheme, or a trained network, does. Free functions; drawing is in analysis.plot."""

from __future__ import annotations

import importlib
from types import ModuleType

from .accuracy import error_constant, order
from .bseries.conditions import OrderCondition, order_conditions
from .bseries.differentials import derivative
from .bseries.equation import ModifiedEquation
from .bseries.hamiltonian import ModifiedHamiltonian
from .coefficients import LearnedCoefficient, learned_coefficients
from .derivative_form import DerivativeForm, derivative_form
from .intervals import imaginary_interval, real_interval
from .modified import b_series, modified_equation, modified_hamiltonian, modifying_integrator
from .multistep import effective_step, multistep_polynomials
from .region import Region, is_stable, stability_region
from .resolve import z, zeta
from .sector import a_alpha, l_stable
from .stability import stability_function, stability_matrix, stability_polynomial
from .zero import zero_stable, zero_stable_range

__all__ = [
    "DerivativeForm",
    "LearnedCoefficient",
    "ModifiedEquation",
    "ModifiedHamiltonian",
    "OrderCondition",
    "Region",
    "a_alpha",
    "b_series",
    "derivative",
    "derivative_form",
    "effective_step",
    "error_constant",
    "imaginary_interval",
    "is_stable",
    "l_stable",
    "learned_coefficients",
    "modified_equation",
    "modified_hamiltonian",
    "modifying_integrator",
    "multistep_polynomials",
    "order",
    "order_conditions",
    "real_interval",
    "stability_function",
    "stability_matrix",
    "stability_polynomial",
    "stability_region",
    "z",
    "zero_stable",
    "zero_stable_range",
    "zeta",
]


def __getattr__(name: str) -> ModuleType:
    # analysis.plot without importing it up front: matplotlib is loaded only where something is drawn.
    if name == "plot":
        try:
            return importlib.import_module(".plot", __name__)
        except ModuleNotFoundError as error:
            if error.name != "matplotlib":
                raise
            raise ImportError("analysis.plot needs matplotlib: pip install 'odenets[plot]'") from error
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
