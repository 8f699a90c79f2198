"""The error of what a network is made of and is given: residual functions, inputs, options."""

from ..scheme import OdenetsError


class FieldError(OdenetsError):
    """A residual function, an input or an option does not fit the network it was given to."""
