"""The errors of schemes, and the base of all others: each says what was got, what was expected and what to do."""


class OdenetsError(ValueError):
    """Base of every error that odenets raises for bad input."""


class SchemeError(OdenetsError):
    """A scheme's coefficients are inconsistent, of the wrong shape or not exact."""


class SchemeWarning(UserWarning):
    """What is taken as it is given, and is probably not what is meant."""


class UnknownSchemeError(OdenetsError, LookupError):
    """A name that no scheme of the zoo has; the message lists the close ones."""
