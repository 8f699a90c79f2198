"""A scheme compiled for one step size: which rows to combine, which functions to evaluate, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sympy

from .errors import SchemeError
from .rows import Learned, Op, Row, operations, reuse
from .scheme import Scheme


@dataclass(frozen=True)
class Evaluate:
    """One function evaluation: F at the stage value in ``source``, at time t_n + node * h, into ``slot``.

    ``module`` says which of the layer's modules F is, ``visit`` how often the step has evaluated it before.
    ``node`` is None where it depends on a learnable coefficient, which layers do not mind.
    """

    slot: int
    source: int
    module: int
    visit: int
    node: float | None


@dataclass(frozen=True)
class Combine:
    """One linear combination, into ``slot``."""

    slot: int
    ops: tuple[Op, ...]


@dataclass(frozen=True)
class Program:
    """What a step does, as data. Slots 0 .. r-1 hold the carried values at the start of the step.

    ``outputs[i]`` is the slot of carried value i at the end; ``slopes[i]`` says whether it is kept
    without its factor h.
    """

    scheme: Scheme
    h: float
    instructions: tuple[Evaluate | Combine, ...]
    outputs: tuple[int, ...]
    slopes: tuple[bool, ...]

    @property
    def visits(self) -> tuple[int, ...]:
        """Evaluations a step of each of the layer's modules."""
        modules = [item.module for item in self.instructions if isinstance(item, Evaluate)]
        return tuple(modules.count(module) for module in range(max(self.scheme.modules) + 1))

    @property
    def evaluations(self) -> int:
        """Function evaluations a step."""
        return sum(self.visits)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the learnable coefficients the step uses."""
        ops = [op for item in self.instructions if isinstance(item, Combine) for op in item.ops]
        names = {name for op in ops for part in op if isinstance(part, Learned) for name in part.arguments}
        return tuple(sorted(names))


class _Compiler:
    """Hands out slots and remembers which rows and functions are already there."""

    def __init__(self, scheme: Scheme, h: sympy.Expr) -> None:
        self.scheme, self.h = scheme, h
        # Carried slopes (h f at a past step) and velocities are kept without their factor h, so
        # that no operation is spent on it when they are stored.
        self.slopes = tuple(all(x == 0 for x in multiples[:-1]) for multiples in scheme.seeds)
        self.size = scheme.carried
        self.instructions: list[Evaluate | Combine] = []
        self.rows: dict[int, Row] = {}
        self.functions: dict[int, int] = {}  # stage -> slot of F
        self.sources: dict[tuple[int, int], int] = {}  # slot of a stage value, module -> slot of F there

    def new_slot(self) -> int:
        self.size += 1
        return self.size - 1

    def combine(self, row: Row) -> int:
        """Slot that holds the row's value; a carried value or an earlier row is not copied."""
        ops = operations(reuse(row, self.rows))
        if len(ops) == 1 and ops[0][0] == "take":
            return int(ops[0][1])
        slot = self.new_slot()
        self.instructions.append(Combine(slot, ops))
        self.rows[slot] = row
        return slot

    def row(self, weights: list[Any], carried: list[Any], scale: sympy.Expr) -> Row:
        """The row h sum w_j F_j + sum v_j y_j, divided by ``scale``; zero coefficients are left out."""
        row = {self.functions[j]: self.h * w / scale for j, w in enumerate(weights) if w != 0}
        row |= {j: v * (self.h if self.slopes[j] else 1) / scale for j, v in enumerate(carried) if v != 0}
        return row

    def evaluate(self, stage: int) -> None:
        scheme = self.scheme
        source = self.combine(self.row(scheme.A.row(stage).tolist()[0], scheme.U.row(stage).tolist()[0], sympy.S.One))
        key = source, scheme.modules[stage]
        if key not in self.sources:
            node = scheme.nodes[stage]
            visit = sum(module == key[1] for _, module in self.sources)
            self.sources[key] = self.new_slot()
            when = float(node) if node.is_number else None
            self.instructions.append(Evaluate(self.sources[key], source, key[1], visit, when))
        self.functions[stage] = self.sources[key]

    def output(self, i: int) -> int:
        scale = self.h if self.slopes[i] else sympy.S.One
        row = self.row(self.scheme.B.row(i).tolist()[0], self.scheme.V.row(i).tolist()[0], scale)
        return self.combine(row)


def _needed_stages(scheme: Scheme) -> list[int]:
    """Stages the step depends on, in evaluation order: a stage that only an error estimate uses is skipped."""
    order = scheme.evaluation_order
    needed = {j for j in order if any(scheme.B[i, j] != 0 for i in range(scheme.carried))}
    for stage in reversed(order):
        if stage in needed:
            needed |= {j for j in order if scheme.A[stage, j] != 0}
    return [stage for stage in order if stage in needed]


@lru_cache(maxsize=256)
def compile_scheme(scheme: Scheme, h: float) -> Program:
    """The program of an explicit scheme for step size h (folded into the coefficients).

    Raises:
        SchemeError: the scheme is implicit, or h is zero or not finite.
    """
    if not scheme.explicit:
        raise SchemeError(
            f"{scheme.name} is {scheme.structure}: its stages have to be solved for, which ODENet cannot do; "
            "run an explicit scheme (the analysis of this one works all the same)"
        )
    if h == 0 or not math.isfinite(h):
        raise SchemeError(f"{scheme.name}: got step size h = {h}, expected a finite number other than 0")
    if any(not multiple.is_number for multiples in scheme.seeds for multiple in multiples):
        raise SchemeError(
            f"{scheme.name}: got carried values that start from {scheme.seeds} times (u_0, h f(u_0)), expected "
            "numbers; carry the past solutions themselves instead of multiples by a learnable coefficient"
        )
    compiler = _Compiler(scheme, sympy.Rational(h))
    for stage in _needed_stages(scheme):
        compiler.evaluate(stage)
    # Short rows first: a longer one may then be rewritten through them.
    terms = [sum(x != 0 for x in [*scheme.B.row(i), *scheme.V.row(i)]) for i in range(scheme.carried)]
    slots = {i: compiler.output(i) for i in sorted(range(scheme.carried), key=lambda i: terms[i])}
    outputs = tuple(slots[i] for i in range(scheme.carried))
    return Program(scheme, h, tuple(compiler.instructions), outputs, compiler.slopes)


def can_start(scheme: Scheme) -> bool:
    """Whether a scheme can do starting steps: explicit, one-step, one function, nothing to learn, any f."""
    return (
        scheme.carried == 1
        and scheme.explicit
        and not scheme.symbols
        and not any(scheme.modules)
        and not scheme.linear_only
    )


@lru_cache(maxsize=256)
def starting_scheme(scheme: Scheme, starter: Scheme) -> Scheme:
    """The starting step: the solution by the one-step ``starter``, the history by the scheme itself.

    First row of B and V from the starter, the others as they are, so what the scheme carries is
    filled as in any of its steps. LM's starting step is u+ = u + h f(u), carrying u: the plain
    residual step of the paper.
    """
    if not can_start(starter):
        raise SchemeError(
            f"start: got {starter.name!r}, expected an explicit one-step scheme without learnable coefficients, "
            "such as 'euler' or 'rk4'"
        )
    if len(scheme.functions) > 1:
        raise SchemeError(
            f"{scheme.name} needs {scheme.starting_values} starting steps of {len(scheme.functions)} functions, which "
            "no starter here does; a scheme of several functions must carry its components alone"
        )
    s, r = starter.stages, scheme.carried
    modules = scheme.modules + starter.modules
    A = sympy.diag(scheme.A, starter.A)
    U = scheme.U.col_join(sympy.Matrix(s, r, lambda i, j: int(j == 0)))
    B = sympy.zeros(r, scheme.stages + s)
    B[1:, : scheme.stages] = scheme.B[1:, :]
    B[0, scheme.stages :] = starter.B
    V = sympy.Matrix(scheme.V)
    V[0, :] = sympy.Matrix(1, r, lambda i, j: int(j == 0))
    names = {str(symbol) for matrix in (A, U, B, V) for symbol in matrix.free_symbols}
    init = tuple(item for item in scheme.init if item[0] in names)
    return Scheme(f"{scheme.name} started by {starter.name}", A, U, B, V, init=init, modules=modules)
