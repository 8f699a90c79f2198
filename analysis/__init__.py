"""analysis: what a scheme, or a trained network, does. Free functions; drawing is in analysis.plot."""

from __future__ import annotations

import importlib
from typing import Any

from .accuracy import error_constant, order
from .boundary import BoundaryLocus, boundary_locus
from .bseries.conditions import OrderCondition, order_conditions
from .bseries.differentials import derivative
from .bseries.equation import ModifiedEquation
from .bseries.hamiltonian import ModifiedHamiltonian
from .coefficients import LearnedCoefficient, learned_coefficients
from .derivative_form import DerivativeForm, derivative_form
from .energy import EnergyErrors, energy_errors
from .errorcurve import Convergence, convergence
from .intervals import imaginary_interval, real_interval
from .modified import b_series, modified_equation, modified_hamiltonian, modifying_integrator
from .multistep import effective_step, multistep_polynomials
from .orbit import Orbits, numerical_orbit, orbits
from .orderstar import OrderStar, order_star
from .phase import PhaseError, dispersion_dissipation
from .principal_root import principal_series
from .region import Region, is_stable, stability_region
from .resolve import z, zeta
from .sector import a_alpha, l_stable
from .sequence import SequenceGrowth, sequence_growth
from .ssp import ssp_coefficient
from .stability import stability_function, stability_matrix, stability_polynomial
from .stepsize import OptimalStep, optimal_step
from .zero import zero_stable, zero_stable_range

__all__ = [
    "BoundaryLocus",
    "Convergence",
    "DerivativeForm",
    "EnergyErrors",
    "LearnedCoefficient",
    "ModifiedEquation",
    "ModifiedHamiltonian",
    "OptimalStep",
    "Orbits",
    "OrderCondition",
    "OrderStar",
    "PhaseError",
    "Region",
    "SequenceGrowth",
    "a_alpha",
    "b_series",
    "boundary_locus",
    "convergence",
    "derivative",
    "derivative_form",
    "dispersion_dissipation",
    "effective_step",
    "energy_errors",
    "error_constant",
    "imaginary_interval",
    "is_stable",
    "l_stable",
    "learned_coefficients",
    "modified_equation",
    "modified_hamiltonian",
    "modifying_integrator",
    "multistep_polynomials",
    "numerical_orbit",
    "optimal_step",
    "orbits",
    "order",
    "order_conditions",
    "order_star",
    "principal_series",
    "real_interval",
    "sequence_growth",
    "ssp_coefficient",
    "stability_function",
    "stability_matrix",
    "stability_polynomial",
    "stability_region",
    "z",
    "zero_stable",
    "zero_stable_range",
    "zeta",
]


#: Names that are loaded where they are used: what they need (matplotlib, scipy) is large, or not always installed.
LAZY = {"plot": "plot", "gallery": "gallery", "problems": "problems", "diagnose": "diagnosis", "Diagnosis": "diagnosis"}


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{LAZY[name]}", __name__)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise ImportError(f"analysis.{name} needs matplotlib: pip install 'odenets[plot]'") from error
    return module if name == LAZY[name] else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
