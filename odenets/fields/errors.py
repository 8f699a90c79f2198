"""The error of what a network is made of and is given: residual functions, inputs, options."""

from typing import Any

from torch import nn

from ..scheme import OdenetsError


class FieldError(OdenetsError):
    """A residual function, an input or an option does not fit the network it was given to."""


def assigned(value: Any) -> str:
    """What was assigned to what is fixed, in words; of a module its type, and what may be wrapped."""
    if not isinstance(value, nn.Module):
        return repr(value)
    return (
        f"a {type(value).__name__} (what wraps modules, as FSDP does, may wrap blocks, by their type, or the network)"
    )
