"""The errors of the ways to a gradient."""

from ..scheme import OdenetsError


class ReversalError(OdenetsError):
    """Steps undone, or run again, missed the states of the forward pass by more than the gradient may suffer."""


class AdjointError(OdenetsError):
    """torchdiffeq could not solve the adjoint equation backwards in time, or is asked for what it has not."""
