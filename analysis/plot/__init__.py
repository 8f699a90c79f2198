"""Figures. Every function returns its Figure; :func:`save` writes it.

The one package of :mod:`odenets.analysis` that needs matplotlib: it is loaded where something is drawn, and not before.
"""

from typing import Any

try:
    import matplotlib  # noqa: F401 - asked for before the files here, which cannot say what to do without it
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError("odenets.analysis.plot needs matplotlib: pip install 'odenets[plot]'") from error

from .coefficients import learned_coefficients
from .energy import energy_errors, energy_orders, level_curves
from .error_curve import convergence
from .orbits import phase_portrait, trajectories
from .regions import stability_family, stability_region
from .solutions import solution
from .stability import boundary_locus, dispersion_dissipation, order_star
from .style import check_path, save
from .terms import modified_terms
from .training_history import coefficients_over_training

__all__ = [
    "boundary_locus",
    "check_path",
    "coefficients_over_training",
    "convergence",
    "diagnosis",
    "dispersion_dissipation",
    "energy_errors",
    "energy_orders",
    "learned_coefficients",
    "level_curves",
    "modified_terms",
    "order_star",
    "phase_portrait",
    "save",
    "solution",
    "stability_family",
    "stability_region",
    "trajectories",
]


def __getattr__(name: str) -> Any:
    # Of a diagnosis, whose eigenvalues need scipy, which no other figure does.
    if name == "diagnosis":
        from .spectra import diagnosis  # noqa: PLC0415

        return diagnosis
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
