"""The error of residual functions."""

from ..scheme import OdenetsError


class FieldError(OdenetsError):
    """A residual function, an input or an option does not fit the network it was given to."""
