"""A function of time as a network whose steps are as long as a tolerance allows for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ..fields import FieldError, TimeField
from ..fields.summed import Summed, count
from ..gradients import Reversible
from ..scheme import Scheme
from ..zoo import as_scheme
from .control import StepControl
from .refusals import as_way, check_way, refuse_adaptive
from .several import check_functions
from .solution import Stats
from .solve import MAX_STEPS, solve


class _Given(nn.Module):
    """f(t, u, *args) as a function of t and u."""

    def __init__(self, f: Any, args: tuple[Any, ...]) -> None:
        super().__init__()
        self.f, self.args = f, args

    def forward(self, t: Tensor, u: Any) -> Any:
        return self.f(t, u, *self.args)


def given(f: Any, args: tuple[Any, ...]) -> Any:
    """The function f, or each of several, with arguments."""
    return [_Given(part, args) for part in f.parts] if isinstance(f, Summed) else _Given(f, args)


class AdaptiveODENet(nn.Module):
    """u' = f(t, u) from t0 to t1 as a module, in steps as long as a tolerance allows for: :func:`odenets.solve`.

    What fixed steps are made of, :class:`odenets.ODENet` has: h, layers, learnable coefficients, a plan. Parameters
    have the same names in both, so that either loads what the other has saved.

    Args:
        field: ``TimeField(f, t0, t1)``, without a number of steps. t0 and t1 may be learned.
        scheme: a :class:`Scheme` or a name of ``odenets.schemes`` that has steps to a tolerance.
        rtol, atol: as of :func:`odenets.solve`; so are control, max_steps and per_sample.
        gradient: as of :func:`odenets.solve`; may be set at any time.

    Input and output: a state at t0, and that at t1. What is given besides goes to f, as f(t, u, *args), in gradients
    too. ``stats`` says what the last pass took, see :class:`Stats`.

    Raises:
        FieldError: a field with a number of steps; in training, dropout and BatchNorm inside f; arguments of f with
            per_sample, whose samples leave the batch one by one.
        SchemeError: a scheme without steps to a tolerance.
        IntegrationError: in a pass, a solve that gave up.
    """

    #: what the last pass took; None before the first
    stats: Stats | None

    def __init__(
        self,
        field: TimeField,
        scheme: Scheme | str = "dopri5",
        *,
        rtol: Any = 1e-6,
        atol: Any = 1e-8,
        control: StepControl | None = None,
        max_steps: int = MAX_STEPS,
        per_sample: bool = False,
        gradient: str | Reversible = "direct",
    ) -> None:
        super().__init__()
        if not isinstance(field, TimeField) or not field.adaptive:
            got = f"{field.steps} steps" if isinstance(field, TimeField) else repr(field)
            raise FieldError(
                f"AdaptiveODENet: got {got}, expected TimeField(f, t0, t1) without steps, which the tolerance decides "
                "on; ODENet takes fixed ones"
            )
        self.field, self.scheme, self.stats = field, as_scheme(scheme), None
        refuse_adaptive(self.scheme)
        check_functions(self.scheme, count(field.f))
        self.rtol, self.atol, self.control, self.max_steps = rtol, atol, control, max_steps
        self.per_sample, self.gradient = per_sample, gradient

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "gradient":
            check_way(as_way(value), self.scheme)
        super().__setattr__(name, value)

    def forward(self, x: Any, *args: Any) -> Any:
        """The state at t1."""
        field = self.field
        self._refuse_random()
        if args and self.per_sample:
            raise FieldError(
                f"AdaptiveODENet: got {len(args)} arguments of f with per_sample=True, expected none; put what a "
                "sample has of its own into its state, with the derivative 0"
            )
        solution = solve(
            given(field.f, args) if args else field.f,
            x,
            (field.t0, field.t1),
            self.scheme,
            rtol=self.rtol,
            atol=self.atol,
            control=self.control,
            max_steps=self.max_steps,
            gradient=self.gradient,
            per_sample=self.per_sample,
        )
        self.stats = solution.stats
        y = solution.y
        if isinstance(y, dict):
            return {key: part[-1] for key, part in y.items()}
        return tuple(part[-1] for part in y) if isinstance(y, tuple) else y[-1]

    def _refuse_random(self) -> None:
        """The error of a step is not known where f is another function in each evaluation."""
        if not self.training:
            return
        for module in self.field.modules():
            drops = isinstance(module, _DropoutNd) and module.p > 0
            if module.training and (drops or isinstance(module, _BatchNorm)):
                raise FieldError(
                    f"AdaptiveODENet: got a {type(module).__name__} inside f in training, expected a function of t and "
                    "u: at each evaluation it would draw another mask, or change its statistics; take it out, or "
                    "ODENet(TimeField(f, t0, t1, steps)), which draws and counts once a step"
                )

    def extra_repr(self) -> str:
        """Scheme and tolerances."""
        more = "" if self.gradient == "direct" else f", gradient={self.gradient}"
        own = ", per_sample=True" if self.per_sample else ""
        return f"scheme={self.scheme.name}, rtol={self.rtol}, atol={self.atol}{more}{own}"
