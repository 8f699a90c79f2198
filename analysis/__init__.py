"""odenets.analysis: what a scheme, or a trained network, does. Free functions; drawing is in odenets.analysis.plot."""

from __future__ import annotations

import importlib
from typing import Any

if __name__ == "analysis":
    raise ImportError("analysis: got the folder of a checkout as a package, expected: from odenets import analysis")

from .equations.backward_error import b_series, modified_equation, modified_hamiltonian, modifying_integrator
from .equations.derivative_form import DerivativeForm, derivative_form
from .equations.elementary_differentials import derivative
from .equations.energy import EnergyErrors, energy_errors
from .equations.error_curve import Convergence, convergence
from .equations.modified_equation import ModifiedEquation
from .equations.modified_hamiltonian import ModifiedHamiltonian
from .equations.orbit import Orbits, numerical_orbit, orbits
from .equations.order_conditions import OrderCondition, order_conditions
from .linear.accuracy import error_constant, order
from .linear.boundary_locus import BoundaryLocus, boundary_locus
from .linear.dispersion import PhaseError, dispersion_dissipation
from .linear.generating_polynomials import effective_step, multistep_polynomials
from .linear.intervals import imaginary_interval, real_interval
from .linear.layer_sequence import SequenceGrowth, sequence_growth
from .linear.optimal_step import OptimalStep, optimal_step
from .linear.order_star import OrderStar, order_star
from .linear.principal_root import principal_series
from .linear.region import Region, is_stable, stability_region
from .linear.resolve import z, zeta
from .linear.sector import a_alpha, l_stable
from .linear.ssp import ssp_coefficient
from .linear.stability import stability_function, stability_matrix, stability_polynomial
from .linear.zero_stability import zero_stable, zero_stable_range
from .networks.layer_coefficients import LearnedCoefficient, learned_coefficients

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
LAZY = {
    "plot": "plot",
    "gallery": "gallery",
    "problems": "equations.problems",
    "diagnose": "networks.diagnosis",
    "Diagnosis": "networks.diagnosis",
}


def __getattr__(name: str) -> Any:
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f".{LAZY[name]}", __name__)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ImportError(f"odenets.analysis.{name} needs matplotlib: pip install 'odenets[plot]'") from error
    return module if LAZY[name].endswith(name) else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
