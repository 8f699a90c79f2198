"""ODENet, its learnable coefficients, and the networks in a model."""

from .learnable_coefficients import parameter_groups
from .networks_in_model import count_evaluations, networks, set_gradient
from .odenet import ODENet
from .other_scheme import odenets_in, with_scheme

__all__ = ["ODENet", "count_evaluations", "networks", "odenets_in", "parameter_groups", "set_gradient", "with_scheme"]
