"""The errors of the solver layer: each says what was got, what was expected and what to do."""


class OdenetsError(ValueError):
    """Base of every error that odenets raises for bad input."""


class SchemeError(OdenetsError):
    """A scheme's coefficients are inconsistent, of the wrong shape or not exact."""


class UnknownSchemeError(OdenetsError, LookupError):
    """A name that no scheme of the zoo has; the message lists the close ones."""


class FieldError(OdenetsError):
    """A residual function, an input or an option does not fit the network it was given to."""


class ReversalError(OdenetsError):
    """Undoing the steps of a network missed its stored states by more than the tolerance on the gradient allows."""
