"""Linear combinations turned into the fewest tensor operations.

A row is a mapping slot -> exact coefficient. It is compiled once into operations on an accumulator:

    ("take",  slot)             acc = x
    ("scale", slot, c)          acc = c x
    ("lerp",  slot, slot2, c)   acc = (1 - c) x + c x2
    ("add",   slot, c)          acc = acc + c x

c is a Python float or a :class:`Learned`. einsum, stack-and-sum and sums of products were measured
at 1.3 to 16 times the time of these (fused multiply-adds on one fresh buffer), so they are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations
from typing import Any

import sympy

Row = Mapping[int, sympy.Expr]
#: Floats this close may stand for equal exact numbers.
ROUNDING = 1e-9
Op = tuple[Any, ...]


@lru_cache(maxsize=4096)
def nearest(expression: sympy.Expr) -> float:
    """The float nearest to an exact number."""
    return float(expression)


@dataclass(frozen=True)
class Learned:
    """A coefficient that contains free symbols: an expression and its function of the symbols' values."""

    expression: sympy.Expr
    arguments: tuple[str, ...]
    function: Callable[..., Any] = field(compare=False, repr=False)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The coefficient at the given values; a bare symbol costs no operation."""
        if self.expression.is_Symbol:
            return values[self.arguments[0]]
        return self.function(*(values[name] for name in self.arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        # The generated function cannot be pickled; it is made again from the expression.
        return learned, (self.expression,)


def learned(expression: sympy.Expr) -> Learned:
    """Compile a rational function of free symbols; Python's arithmetic serves tensors and numbers alike."""
    symbols = sorted(expression.free_symbols, key=str)
    return Learned(expression, tuple(map(str, symbols)), sympy.lambdify(symbols, expression, modules="math"))


def coefficient(expression: sympy.Expr) -> float | Learned:
    """An exact coefficient as the float nearest to it, or as a learned one."""
    return nearest(expression) if expression.is_number else learned(expression)


def operations(row: Row) -> tuple[Op, ...]:
    """The operations for one row; what costs one tensor operation each is every op but "take"."""
    start, rest = _start(row)
    # Functions (high slots) come before carried values: the first sum with one allocates the buffer
    # that later ones add to in place, and under vmap that buffer must be batched if f is.
    ordered = sorted(rest, reverse=True)
    return (start, *(("add", slot, coefficient(row[slot])) for slot in ordered))


def cost(ops: Sequence[Op]) -> int:
    """Number of tensor operations."""
    return sum(op[0] != "take" for op in ops)


def _start(row: Row) -> tuple[Op, list[int]]:
    """First operation of a row and the slots that are left to add."""
    slots = sorted(row)
    if pair := _convex_pair(row, symbolic=True):
        return ("lerp", *pair, coefficient(row[pair[1]])), [s for s in slots if s not in pair]
    for slot in slots:
        if row[slot] == 1:
            return ("take", slot), [s for s in slots if s != slot]
    if pair := _convex_pair(row, symbolic=False):
        return ("lerp", *pair, coefficient(row[pair[1]])), [s for s in slots if s not in pair]
    first = next((s for s in slots if row[s].is_number), slots[0])
    return ("scale", first, coefficient(row[first])), [s for s in slots if s != first]


def _convex_pair(row: Row, symbolic: bool) -> tuple[int, int] | None:
    """Two slots whose coefficients sum to 1: one lerp instead of a product and a sum.

    Where there is a choice, the second one is a bare symbol, whose value needs no arithmetic.
    """
    slots = [slot for slot in sorted(row) if bool(row[slot].free_symbols) == symbolic]
    if not symbolic:
        # Exact arithmetic in a field of surds takes a thousand times longer: only where floats say yes.
        near = {slot: nearest(row[slot]) for slot in slots}
        slots = [x for x in slots if any(x != y and abs(near[x] + near[y] - 1) < ROUNDING for y in slots)]
    pairs = [(x, y) for x, y in permutations(slots, 2) if sympy.expand(row[x] + row[y] - 1) == 0]
    return min(pairs, key=lambda pair: not row[pair[1]].is_Symbol, default=None)


def _may_save(row: Row, other: Row, shared: int, best: int) -> bool:
    """Whether the row less the multiple of another that cancels one slot may take fewer operations than ``best``.

    By floats: each slot that is left takes an operation, and the multiple must shrink the other row. With symbols, yes.
    """
    if any(x.free_symbols for x in (*row.values(), *other.values())):
        return True
    a, b = ({slot: nearest(x) for slot, x in one.items()} for one in (row, other))
    ratio = a[shared] / b[shared]
    left = sum(abs(a.get(s, 0.0) - ratio * b.get(s, 0.0)) > ROUNDING for s in {*a, *b})
    return left < best and abs(ratio) < 1 + ROUNDING


def reuse(row: Row, computed: Mapping[int, Row]) -> Row:
    """The row, rewritten through an already computed one where that saves operations.

    Momentum's u+ = u + h v+ takes v+ in place of 9/10 v + 1/10 f; the last stage of a first-same-
    as-last scheme is its step. Only shrinking multiples, so that nothing cancels.
    """
    best, best_cost = row, cost(operations(row))
    for slot, other in computed.items():
        for shared in set(row) & set(other):
            if not _may_save(row, other, shared, best_cost):
                continue
            ratio = sympy.cancel(row[shared] / other[shared])
            if not ratio.is_number or abs(ratio) > 1:
                continue
            rest = {s: sympy.expand(row.get(s, 0) - ratio * other.get(s, 0)) for s in {*row, *other}}
            candidate = {**{s: c for s, c in rest.items() if c != 0}, slot: ratio}
            if (found := cost(operations(candidate))) < best_cost:
                best, best_cost = candidate, found
    return best
