"""The error of steps that are undone."""

from ..scheme import OdenetsError


class ReversalError(OdenetsError):
    """Undoing the steps of a network missed its stored states by more than the tolerance on the gradient allows."""
