"""The errors of the solver layer: each says what was got, what was expected and what to do."""

from typing import Any


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


class SolverError(OdenetsError):
    """An option of a solver, or what a solver was given to solve, does not fit."""


class ConvergenceError(OdenetsError):
    """An iteration did not reach its tolerance; ``report`` says for which samples and how far it came."""

    def __init__(self, message: str, report: Any) -> None:
        super().__init__(message)
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone, so that no worker process could send it.
        return type(self), (str(self), self.report)


class ConvergenceWarning(UserWarning):
    """What a ConvergenceError says, where the solver was told to go on: ``on_failure="flag"``."""
