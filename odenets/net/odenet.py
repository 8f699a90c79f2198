"""ODENet: a residual function and a scheme put together as a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..fields import Field, FieldError, TimeField, as_field
from ..fields.errors import assigned
from ..fields.numbers import learned, number
from ..gradients import Direct, Gradient, Runner, Stored, as_gradient
from ..gradients.segment_function import forward_over_forward
from ..passes import Pass
from ..passes.plan import Plan, plan
from ..passes.starting import starting_steps, transition
from ..passes.steps import run_steps
from ..program import Evaluate, Program, compile_scheme
from ..program.step import State, step
from ..scheme import Scheme
from ..stages import NewtonKrylov, Report, Solver
from ..zoo import as_scheme
from .input_check import InputCheck, reference_tensor
from .learnable_coefficients import Coefficients, check_broadcasts, check_shape
from .seeding import seed, split

#: what a network is compiled from, under the names of its arguments as well, and into, but for what may be set
COMPILED = frozenset(
    {"blocks", "scheme", "field", "shortcut", "start", "coefficient_shape", "coefficients", "steps"}
    | {"program", "starting_programs", "transition_program", "plan"}
)


class ODENet(nn.Module):
    """Residual blocks, or a function of time, advanced by any scheme.

    Args:
        blocks: one nn.Module per layer, each mapping the state's shape to itself (the residual
            function f_n, without the skip connection); a list of modules per layer for a scheme
            that evaluates several functions a step; or a :class:`TimeField`.
        scheme: a :class:`Scheme` or a name of ``odenets.schemes``.
        h: step size; 1, a residual network's, by default. A TimeField brings its own. An nn.Parameter, or a tensor
            that requires a gradient, gets it, and what it is at each call counts.
        start: the one-step scheme of the starting steps of a multistep scheme. Default: euler for
            layers (the plain residual step of Lu et al. 2018), for a TimeField the first one-step
            scheme of the zoo of at least the scheme's order. Or a list of schemes, one for each
            starting step, that carry what the scheme does (see :func:`odenets.families.all_history_lm`).
        shortcut: a module P for a first block that changes the shape: u_1 = P(u_0) + h f_0(u_0),
            and the history is seeded with P(u_0), as at the stage transitions of Lu et al. 2018.
        gradient: how gradients are had: "direct" (autograd's record of everything), "checkpoint" (steps
            run again from about sqrt(N) stored states), "reversible" (steps undone by the inverse
            scheme), or an object with options: :class:`odenets.Checkpoint`,
            :class:`odenets.Reversible`. All are the gradient of this discrete network. "adjoint",
            :class:`odenets.Adjoint`, is not: for a TimeField, that of the differential equation.
        solver: for an implicit scheme, what finds its stages: :class:`odenets.NewtonKrylov`, the default, or
            :class:`odenets.Anderson`; both with the gradient by the implicit function theorem.
        coefficient_shape: shape of each learnable coefficient; () is one scalar per layer,
            (C, 1, 1) one per channel and layer. (1,) is a scalar with a dimension, for what takes no parameter without
            (FullyShardedDataParallel); either loads what the other has saved.

    Input and output: a floating-point tensor of any shape the blocks take; for a partitioned scheme
    (RevNet, Verlet) its halves along dimension 1 are the components. Learnable coefficients
    are Parameters ``coefficients.<symbol>_<layer>``, in the blocks' dtype, drawn as the scheme
    says (k_n of LM: U[-0.1, 0]); starting layers have none. Keep them out of weight decay with
    :func:`odenets.parameter_groups`.

    ``gradient``, ``h`` and ``solver`` may be set at any time. What else a network is compiled from is refused there:
    :func:`odenets.swap_scheme` gives its blocks another scheme, weights kept.

    Raises:
        SchemeError: an unknown scheme, h that is zero, a gradient that the scheme has no way to.
        FieldError: h that is no finite number; blocks, input or options that do not fit, or change the shape.
        ConvergenceError: stages of an implicit scheme that were not found.
        ReversalError: in the backward pass, steps that could not be undone exactly enough.
    """

    field: Field
    scheme: Scheme
    solver: Solver
    program: Program
    starting_programs: list[Program]
    transition_program: Program
    #: what each step runs; printed, it shows the code
    plan: Plan
    _seeds: list[tuple[float, ...]]
    _copies: int
    coefficient_shape: tuple[int, ...]

    def __init__(
        self,
        blocks: Field | Iterable[nn.Module | Sequence[nn.Module]],
        scheme: Scheme | str,
        *,
        h: float | Tensor | None = None,
        start: Scheme | str | Sequence[Scheme] | None = None,
        shortcut: nn.Module | None = None,
        gradient: str | Gradient = "direct",
        solver: Solver | None = None,
        coefficient_shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.field = as_field(blocks)
        self.scheme = as_scheme(scheme)
        size = self._step_size(h)
        self.shortcut = shortcut
        if shortcut is not None and isinstance(self.field, TimeField):
            raise FieldError("shortcut: got a module with a TimeField, expected one only where blocks are layers")
        self.solver = self._stage_solver(solver)
        self.program = compile_scheme(self.scheme, size)
        self._compile(size, starting_steps(self.scheme, self.field, start))
        self.field.prepare([self.visits_at(n) for n in range(self.steps)])
        self.coefficient_shape = check_shape(coefficient_shape)
        self.coefficients = self._make_coefficients()
        self._plain = Direct().attach(self)
        self._input = InputCheck()
        #: (step, what the solver reports) for each solve of the last pass; implicit schemes only
        self.reports: list[tuple[int, Report]] = []
        self.gradient = gradient

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "h":  # torch would take a Parameter before the property sees it
            object.__setattr__(self, name, value)
            return
        # It is compiled; and DataParallel puts the parts of a replica in their places.
        if "_gradient" in vars(self) and "_is_replica" not in vars(self):
            value = self._settled(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        if name in COMPILED:
            raise FieldError(f"ODENet.{name}: expected it to stay, for every step needs it; make another ODENet")
        super().__delattr__(name)

    # -------------------------------------------------------------- structure

    @property
    def steps(self) -> int:
        """Number of steps, that is of layers."""
        return self.field.steps

    @property
    def first_step(self) -> int:
        """The first step that a way to gradients takes: 1 where a shortcut makes layer 0 a transition, else 0."""
        return 0 if self.shortcut is None else 1

    @property
    def evaluations(self) -> int:
        """Evaluations of the residual function in one forward pass."""
        return sum(sum(self.visits_at(n)) for n in range(self.steps))

    @property
    def h(self) -> float:
        """The step size; may be set at any time, unless a TimeField has its own or it is learned."""
        own = self.field.step_size
        return self.program.h if own is None else own

    @h.setter
    def h(self, h: float) -> None:
        if self.field.step_size is not None or learned(h):
            raise FieldError(
                f"h: got {h!r} for a network of {type(self.field).__name__} with h = {self.h:g}, expected a number for "
                "one of layers whose h is a number; make another ODENet"
            )
        self._compile(number(h, "h"), [program.scheme for program in self.starting_programs])
        self.gradient = self._gradient

    def program_of(self, n: int) -> Program:
        """The program that step n runs: the scheme's own, or that of a starting or transition step."""
        if n == 0 and self.shortcut is not None:
            return self.transition_program
        return self.starting_programs[n] if n < len(self.starting_programs) else self.program

    def visits_at(self, n: int) -> tuple[int, ...]:
        """Evaluations of each module of layer n, that of the initial slope included."""
        first, *others = self.program_of(n).visits
        seeded = n == self.first_step and self.scheme.needs_slope
        return first + seeded, *others

    def coefficients_at(self, n: int) -> dict[str, Tensor]:
        """Symbol -> Parameter of layer n; empty for a layer without learnable coefficients."""
        return self.coefficients.at(n)

    def coefficients_of_steps(self) -> list[dict[str, Tensor]]:
        """:meth:`coefficients_at` of each layer."""
        return self.coefficients.of_steps(len(self.plan))

    def reset_coefficients(self) -> None:
        """Draw the learnable coefficients anew from the scheme's initial ranges."""
        self.coefficients.reset()

    @property
    def gradient(self) -> Gradient:
        """How gradients are had; may be set at any time, to a name or an object with options."""
        return self._gradient

    @gradient.setter
    def gradient(self, gradient: str | Gradient) -> None:
        options = as_gradient(gradient)
        runner = self.runner_of(options)
        self._runner = self._plain if isinstance(options, Direct) else runner
        self._gradient = options

    def runner_of(self, options: Gradient) -> Runner:
        """What has gradients that way; SchemeError or FieldError where the network has none."""
        return options.attach(self)

    @property
    def stored(self) -> Stored | None:
        """What a pass stores, and what its gradient costs; None where autograd stores activations, or nothing is known.

        Of "reversible" the last eager pass with gradients; the defect is that of its backward pass, once
        it is through.
        """
        return self._runner.stored

    # ---------------------------------------------------------------- forward

    def solutions(self, x: Tensor) -> Iterator[Tensor]:
        """The solution after each step, of which forward returns the last; recorded by autograd, as by "direct"."""
        run, state, first = self._begin(x)
        for n in range(first, self.steps):
            state = run_steps(run, n, state, n + 1)
            yield self._solution(state)
        self.reports = run.reports

    def forward(self, x: Tensor) -> Tensor:
        """The solution after the last step; x is the state before the first."""
        # Dynamo alone leaves functions out; under an export that is not strict this would call itself without end.
        if torch.compiler.is_dynamo_compiling() and any(step.solves for step in self.plan):
            from ..program.eager import implicit_steps_run_eagerly  # noqa: PLC0415 - loads torch's compiler

            return implicit_steps_run_eagerly(self.forward, x)
        if "_is_replica" in vars(self) and not isinstance(self._gradient, Direct):
            raise FieldError(
                f"gradient={self._gradient}: got a replica of DataParallel, whose parameters are no Parameters, "
                "expected DistributedDataParallel, or gradient='direct'"
            )
        run, state, first = self._begin(x)
        runner = self._runner
        # A trace has no backward pass of its own, and cannot hold what the other ways have for theirs.
        if runner is not self._plain and (
            not torch.is_grad_enabled() or torch.jit.is_tracing() or forward_over_forward()
        ):
            runner = self._plain
        state = runner.integrate(run, first, state)
        if run.reports or self.reports:
            self.reports = run.reports
        return self._solution(state)

    def _begin(self, x: Tensor) -> tuple[Pass, State, int]:
        """The pass, the carried values before the first regular step, and that step's number."""
        self._input(self, x)
        field = self.field
        field.ready()
        u = x if self.shortcut is None else self.shortcut(x)
        # All noise before the first step, in every mode: the same seed then gives the same network.
        run = Pass(self, field.draw_steps(u, self.program.h), u)
        state, first = self._enter(x, u, run)
        if self.coefficient_shape:
            check_broadcasts(self.coefficient_shape, state[0])
        return run, state, first

    def _solution(self, state: State) -> Tensor:
        components = self.scheme.components
        return state[0] if components == 1 else torch.cat(state[:components], 1)

    def _enter(self, x: Tensor, u: Tensor, run: Pass) -> tuple[State, int]:
        """Carried values before the first regular step, and that step's number."""
        if self.shortcut is None:
            return self._seed(0, u, run.seed), 0
        before = self._seed(0, u, run.seed) if self.scheme.starting_values else (u,)
        # The one evaluation of this step is at x, not at the stage value P(x).
        state = step(self.transition_program, partial(self._transition, x, run), before, {})
        return (state if self.scheme.starting_values else self._seed(1, state[0], run.seed)), 1

    def _seed(self, n: int, u: Tensor, slope_at: Callable[[int, Evaluate, Tensor], Tensor]) -> State:
        """What the scheme carries into step n when the solution u, and f(u) from ``slope_at``, is all there is."""
        if self._copies:
            return (u,) * self._copies
        parts = split(self.scheme, u)
        slope = None
        if n < self.steps and self.scheme.needs_slope:
            # A visit of its own, so that this evaluation does not count in the first stage's statistics.
            visit, index = self.program.visits[0], len(self.program.evaluated)
            what = Evaluate(slot=0, source=0, module=0, visit=visit, node=0.0, index=index)
            # In the state's dtype, or a bfloat16 slope would be all that undoing the first step could find.
            slope = slope_at(n, what, u).to(u.dtype)
        return tuple(
            seed(parts, multiples, slope, 1.0 if kept_without_h else self.program.h)
            for multiples, kept_without_h in zip(self._seeds, self.program.slopes, strict=True)
        )

    def _transition(self, x: Tensor, run: Pass, what: Evaluate, u: Tensor) -> Tensor:
        value = self.field.evaluate(0, what, x, run.noises[0])
        if value.shape != u.shape:
            raise FieldError(
                f"layer 0: got shapes {tuple(value.shape)} from the block and {tuple(u.shape)} from its shortcut, "
                "expected the same"
            )
        return self.field.scaled(value)

    # ----------------------------------------------------------- construction

    def _step_size(self, h: float | Tensor | None) -> float:
        """What h is in the program."""
        own = self.field.step_size
        if own is not None and h is not None:
            raise FieldError(f"h: got {h} with a TimeField, expected none; its step size is (t1 - t0) / steps")
        if isinstance(h, Tensor) and learned(h):
            self.field.learn_step(h)
        if self.field.reference is not None:
            return self.field.reference
        return own or (1.0 if h is None else number(h, "h"))

    def _compile(self, h: float, starting: Sequence[Scheme]) -> None:
        """Make the programs of all steps."""
        programs = [compile_scheme(scheme, h) for scheme in (self.scheme, *starting)]
        made = {"program": programs[0], "starting_programs": programs[1:]}
        if self.shortcut is not None:
            made["transition_program"] = transition(self.scheme, h)
        vars(self).update(made)
        self._seeds = [tuple(map(float, multiples)) for multiples in self.scheme.seeds]
        # Most schemes carry past solutions alone, which are all u_0 at the start.
        self._copies = len(self._seeds) if set(self._seeds) == {(1.0, 0.0)} else 0
        every = range(self.steps)
        vars(self)["plan"] = plan([self.program_of(n) for n in every], [self.visits_at(n) for n in every])

    def _settled(self, name: str, value: Any) -> Any:
        """What may be assigned to a network that is compiled."""
        if name == "solver":
            return self._stage_solver(value)
        # A module in the place of another is no other network; the coefficients of swapped blocks are in these.
        replaced = name == "shortcut" and isinstance(value, nn.Module) and self.shortcut is not None
        if name == "coefficients" and isinstance(value, Coefficients):
            replaced = all(_shapes(value.at(n)) == _shapes(self.coefficients_at(n)) for n in range(self.steps))
        if name in COMPILED and not replaced and value is not getattr(self, name, None):
            raise FieldError(
                f"ODENet.{name}: got {assigned(value)} for a network that is compiled, expected none; "
                "odenets.swap_scheme(net, scheme) gives a network, or all in a model, another scheme, weights kept; "
                "for all else make another ODENet of its blocks"
            )
        return value

    def _stage_solver(self, solver: Solver | None) -> Solver:
        if solver is not None and self.scheme.explicit:
            raise FieldError(f"solver: got {solver} with {self.scheme.name}, which is explicit, expected none")
        if not isinstance(solver, (Solver, type(None))):
            raise FieldError(f"solver: got {solver!r}, expected NewtonKrylov(...) or Anderson(...)")
        return solver or NewtonKrylov()

    def _make_coefficients(self) -> Coefficients:
        layers = {n: self.program_of(n).symbols for n in range(self.steps)}
        like = reference_tensor(self)
        return Coefficients(self.scheme.init, layers, self.coefficient_shape, torch.empty(0) if like is None else like)

    def extra_repr(self) -> str:
        """Scheme, steps, step size, the starting steps and the range of each learnable coefficient."""
        mode = "" if self.gradient == Direct() else f", gradient={self.gradient}"
        own = self.starting_programs[: self.steps]
        start = f", start={len(own)} x {own[0].scheme.name!r}" if own else ""
        return f"scheme={self.scheme.name}, steps={self.steps}, h={self.h:g}{mode}{start}{self.coefficients.ranges()}"


def _shapes(tensors: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
