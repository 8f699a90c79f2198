"""The public names, and where they are: read by type checkers and editors, and by __init__.py itself."""

from . import gallery as gallery, plot as plot
from .equations import problems as problems
from .equations.backward_error import (
    b_series as b_series,
    modified_equation as modified_equation,
    modified_hamiltonian as modified_hamiltonian,
    modifying_integrator as modifying_integrator,
)
from .equations.derivative_form import DerivativeForm as DerivativeForm, derivative_form as derivative_form
from .equations.elementary_differentials import derivative as derivative
from .equations.energy import EnergyErrors as EnergyErrors, energy_errors as energy_errors
from .equations.error_curve import Convergence as Convergence, convergence as convergence
from .equations.modified_equation import ModifiedEquation as ModifiedEquation
from .equations.modified_hamiltonian import ModifiedHamiltonian as ModifiedHamiltonian
from .equations.orbit import Orbits as Orbits, numerical_orbit as numerical_orbit, orbits as orbits
from .equations.order_conditions import OrderCondition as OrderCondition, order_conditions as order_conditions
from .linear.accuracy import error_constant as error_constant, order as order
from .linear.boundary_locus import BoundaryLocus as BoundaryLocus, boundary_locus as boundary_locus
from .linear.dispersion import PhaseError as PhaseError, dispersion_dissipation as dispersion_dissipation
from .linear.generating_polynomials import (
    effective_step as effective_step,
    multistep_polynomials as multistep_polynomials,
)
from .linear.intervals import imaginary_interval as imaginary_interval, real_interval as real_interval
from .linear.layer_sequence import SequenceGrowth as SequenceGrowth, sequence_growth as sequence_growth
from .linear.optimal_step import OptimalStep as OptimalStep, optimal_step as optimal_step
from .linear.order_star import OrderStar as OrderStar, order_star as order_star
from .linear.principal_root import principal_series as principal_series
from .linear.region import Region as Region, is_stable as is_stable, stability_region as stability_region
from .linear.resolve import z as z, zeta as zeta
from .linear.sector import a_alpha as a_alpha, l_stable as l_stable
from .linear.ssp import ssp_coefficient as ssp_coefficient
from .linear.stability import (
    stability_function as stability_function,
    stability_matrix as stability_matrix,
    stability_polynomial as stability_polynomial,
)
from .linear.zero_stability import zero_stable as zero_stable, zero_stable_range as zero_stable_range
from .networks.diagnosis import Diagnosis as Diagnosis, diagnose as diagnose
from .networks.layer_coefficients import (
    LearnedCoefficient as LearnedCoefficient,
    learned_coefficients as learned_coefficients,
)
