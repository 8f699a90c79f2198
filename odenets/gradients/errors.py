"""The error of steps that do not come out as they did before."""

from ..scheme import OdenetsError


class ReversalError(OdenetsError):
    """Steps undone, or run again, missed the states of the forward pass by more than the gradient may suffer."""
