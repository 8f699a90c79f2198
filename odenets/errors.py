"""The errors of the solver layer: each says what was got, what was expected and what to do."""


class OdenetsError(ValueError):
    """Base of every error that odenets raises for bad input."""


class SchemeError(OdenetsError):
    """A scheme's coefficients are inconsistent, of the wrong shape or not exact."""


class UnknownSchemeError(OdenetsError, LookupError):
    """A name that no scheme of the zoo has; the message lists the close ones."""


class FieldError(OdenetsError):
    """A residual function, an input or an option does not fit the network it was given to."""
