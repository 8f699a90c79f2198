"""The error of an integration that does not reach its end, with what there is of the solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..scheme import OdenetsError

ADVICE = {
    "not finite": "expected finite values; see f there, or take a smaller step",
    "step too small": "expected a problem that is not singular there, and tolerances that the dtype can hold; take "
    "larger ones, a state in float64, or, if the problem is stiff, an implicit scheme such as 'kvaerno5'",
    "too many steps": "expected fewer; take larger tolerances or max_steps, or, if the problem is stiff, an implicit "
    "scheme such as 'kvaerno5'",
    "carried values apart": "expected a flow that hardly contracts; take a smaller coupling, as in "
    "mccallum_foster(scheme, '1/2'), or the scheme itself with gradient='checkpoint'",
    "zero tolerance": "expected atol > 0, at least for entries that come to 0",
    "stages not found": "expected steps so small that it converges, or more iterations; see f and its derivative there",
}


#: what a coupled scheme carries may differ by, in units of the tolerance: its solution errs by about half of that
APART = 10
#: reason -> it in words, of an adaptive solve
WHY = {
    "not finite": "f is not finite there, or where the smallest steps from there lead",
    "step too small": "the step is below the rounding of t, and its error is still above the tolerance",
    "too many steps": "max_steps = {max_steps} are taken",
    "zero tolerance": "atol + rtol |u|, which errors are measured in, is 0 there for some entries of the state",
    "stages not found": "Newton's method for the implicit stages does not converge, even with the smallest step",
    "carried values apart": f"what the scheme carries is {APART} tolerances apart, as it is where solutions contract",
}


@dataclass(frozen=True)
class Failure:
    """Why there is no next step.

    Args:
        reason: "not finite", "step too small", "too many steps", "stages not found", "zero tolerance" or
            "carried values apart".
        t: the time that was reached.
        h: the step that was tried there.
        norm: its error norm, which at most 1 would have been accepted; None without one.
        state: the solution at t, the last that was accepted.
        why: the reason in words.
        sample: which it is of, where each has its own steps.
    """

    reason: str
    t: float
    h: float
    norm: float | None
    state: Any
    why: str
    sample: int | None = None

    def __str__(self) -> str:
        norm = "" if self.norm is None else f", error norm {self.norm:.3g}"
        which = "" if self.sample is None else f"sample {self.sample} "
        return f"{which}at t = {self.t:.15g}, h = {self.h:.3g}{norm}: {self.why}; {ADVICE[self.reason]}"


class GaveUp(Exception):
    """Raised between the steps."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class IntegrationError(OdenetsError):
    """A solve gave up.

    Attributes:
        failure: a record of ``reason`` ("not finite", "step too small" or another), the time ``t`` that was
            reached, the step ``h`` that was tried there, its error ``norm``, and the last accepted ``state``.
        failures: of ``per_sample=True`` that of each ``sample`` that failed, of which ``failure`` is the first.
        solution: the :class:`Solution` at the times that were reached.
    """

    def __init__(self, message: str, failure: Failure, solution: Any, failures: tuple[Failure, ...] = ()) -> None:
        super().__init__(message)
        self.failure, self.solution, self.failures = failure, solution, failures or (failure,)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.failure, self.solution, self.failures)


class IntegrationWarning(UserWarning):
    """What an IntegrationError says, where the solve was told to go on, ``on_failure="flag"``; or that a gradient of
    explicit steps at the limit of stability is not that of the solution.
    """
