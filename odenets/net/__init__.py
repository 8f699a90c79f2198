"""ODENet, its learnable coefficients, and the networks in a model."""

from .learnable_coefficients import parameter_groups
from .lm_checkpoints import from_one_minus_k
from .networks_in_model import count_evaluations, networks, set_gradient
from .odenet import ODENet
from .other_scheme import odenets_in, with_scheme

__all__ = [
    "ODENet",
    "count_evaluations",
    "from_one_minus_k",
    "networks",
    "odenets_in",
    "parameter_groups",
    "set_gradient",
    "with_scheme",
]
