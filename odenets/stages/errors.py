"""The errors of the solvers of implicit stages."""

from typing import Any

from ..scheme import OdenetsError


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


def once_only() -> SolverError:
    """The error of a function that can be differentiated once only, where a Jacobian-vector product is asked for."""
    return SolverError(
        "G(z) consists of operations that have neither a forward-mode derivative nor a second one by reverse mode (an "
        "autograd.Function whose backward is a kernel, or is marked once_differentiable), of which there is no product "
        "of the Jacobian with a vector. Take Anderson(), which needs none"
    )
