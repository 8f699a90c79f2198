"""A step as data: which rows to combine, which functions to evaluate, in order; with h, or with h left open."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ..scheme import Scheme
from .code import Code, Generated, step_code
from .rows import Learned, Op, Open, bound


@dataclass(frozen=True)
class Evaluate:
    """One function evaluation: F at the stage value in ``source``, at time t_n + node * h, into ``slot``.

    ``module`` says which of the layer's modules F is, ``visit`` how often the step has evaluated it
    before, ``index`` which evaluation of the step this is. ``node`` is None where it depends on a
    learnable coefficient, which layers do not mind.
    """

    slot: int
    source: int
    module: int
    visit: int
    node: float | None
    index: int

    def write(self, code: Code) -> None:
        """As a line of the step's code."""
        code.evaluate(self.slot, self.source, self)

    def at(self, top: int, bottom: int) -> Evaluate:
        """The same for every step size."""
        return self


@dataclass(frozen=True)
class Solve:
    """Evaluations F_i = F(Y_i) whose stage values depend on each other: Y_i = c_i + sum_j weights[i][j] F_j.

    ``evaluations[i].source`` is the slot of the constant c_i, ``evaluations[i].slot`` that of F_i;
    ``inverse`` is the inverse of the matrix of weights.
    """

    evaluations: tuple[Evaluate, ...]
    weights: tuple[tuple[float, ...], ...]
    inverse: tuple[tuple[float, ...], ...]

    def write(self, code: Code) -> None:
        """As a line of the step's code."""
        code.solve([item.slot for item in self.evaluations], [item.source for item in self.evaluations], self)

    def at(self, top: int, bottom: int) -> Solve:
        """For the step size h = top / bottom."""
        return replace(self, weights=_at(self.weights, top, bottom), inverse=_at(self.inverse, top, bottom))


class Combine(NamedTuple):
    """One linear combination, into ``slot``."""

    slot: int
    ops: tuple[Op, ...]

    def write(self, code: Code) -> None:
        """As lines of the step's code."""
        code.combine(self.slot, self.ops)

    def at(self, top: int, bottom: int) -> Combine:
        """For the step size h = top / bottom."""
        return Combine(self.slot, bound(self.ops, top, bottom))


Instruction = Evaluate | Solve | Combine


@dataclass(frozen=True)
class Program:
    """What a step does, as data. Slots 0 .. r-1 hold the carried values at the start of the step.

    ``outputs[i]`` is the slot of carried value i at the end; ``slopes[i]`` says whether it is kept
    without its factor h. ``run(function, state, learned, solver)``, once it is :meth:`ready`, is the step.
    """

    scheme: Scheme
    h: float
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]
    slopes: tuple[bool, ...]
    code: Generated = field(compare=False, repr=False)
    run: Any = field(default=None, init=False, compare=False, repr=False)

    def ready(self) -> Program:
        """The same with its function made. A scheme can be compiled without torch, and torch.compile traces no exec."""
        if self.run is None:
            object.__setattr__(self, "run", self.code.bound(self.code.parts(self.instructions)))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # A generated function cannot be pickled: it is made again.
        parts = self.scheme, self.h, self.instructions, self.outputs, self.slopes, self.code
        return (Program if self.run is None else _ready), parts

    @property
    def explicit(self) -> bool:
        """Whether nothing has to be solved for."""
        return not any(isinstance(item, Solve) for item in self.instructions)

    @property
    def evaluated(self) -> tuple[Evaluate, ...]:
        """Evaluations of the step, those to be solved for included."""
        found: list[Evaluate] = []
        for item in self.instructions:
            found += [item] if isinstance(item, Evaluate) else item.evaluations if isinstance(item, Solve) else []
        return tuple(found)

    @property
    def visits(self) -> tuple[int, ...]:
        """Evaluations a step of each of the layer's modules."""
        modules = [item.module for item in self.evaluated]
        return tuple(modules.count(module) for module in range(max(self.scheme.modules) + 1))

    @property
    def evaluations(self) -> int:
        """Function evaluations a step; for an implicit scheme the number of its stages, whatever the solver takes."""
        return sum(self.visits)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the learnable coefficients the step uses."""
        ops = [op for item in self.instructions if isinstance(item, Combine) for op in item.ops]
        names = {name for op in ops for part in op if isinstance(part, Learned) for name in part.arguments}
        return tuple(sorted(names))

    @property
    def listing(self) -> str:
        """The step as Python, with the numbers that are bound to it."""
        return step_code(self.instructions, self.outputs).listing


def _ready(*parts: Any) -> Program:
    return Program(*parts).ready()


@dataclass(frozen=True)
class OpenProgram:
    """A program whose step size is left open: compiled once, it takes another in microseconds."""

    scheme: Scheme
    instructions: tuple[Instruction, ...]
    outputs: tuple[int, ...]
    slopes: tuple[bool, ...]
    code: Generated = field(init=False, compare=False, repr=False)
    #: what is to be bound to the code, h open; and the last step size with the step's function for it
    _parts: list[Any] = field(init=False, compare=False, repr=False)
    _last: tuple[float, Any] = field(default=(0.0, None), init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", step_code(self.instructions, self.outputs))
        object.__setattr__(self, "_parts", self.code.parts(self.instructions))

    def bind(self, h: float) -> Program:
        """The program for step size h, finite and not 0. Its numbers are the floats nearest to c h^power, c exact."""
        items = tuple(item.at(*h.as_integer_ratio()) for item in self.instructions)
        return Program(self.scheme, h, items, self.outputs, self.slopes, self.code)

    def run(self, h: float) -> Any:
        """What is ``run`` of the bound program, alone: a solve whose every step has another size asks for no more."""
        known, run = self._last
        if known != h:
            top, bottom = h.as_integer_ratio()
            run = self.code.bound([part.at(top, bottom) for part in self._parts])
            object.__setattr__(self, "_last", (h, run))
        return run

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenProgram, (self.scheme, self.instructions, self.outputs, self.slopes)


def _at(matrix: tuple[tuple[Any, ...], ...], top: int, bottom: int) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(x.at(top, bottom) if isinstance(x, Open) else x for x in row) for row in matrix)
