"""Linear combinations turned into the fewest tensor operations.

A row is a mapping slot -> coefficient, an exact number times a power of the step size, which is left open. It is
compiled once into operations on an accumulator:

    ("take",  slot)             acc = x
    ("scale", slot, c)          acc = c x
    ("lerp",  slot, slot2, c)   acc = (1 - c) x + c x2
    ("add",   slot, c)          acc = acc + c x
    ("plus",  slot)             acc = x + acc

c is a Python float, a :class:`Learned`, or an :class:`Open`, which waits for the step size. einsum, stack-and-sum and
sums of products were measured at 1.3 to 16 times the time of these (fused multiply-adds on one fresh buffer), so they
are not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

import sympy

#: Floats this close may stand for equal exact numbers.
ROUNDING = 1e-9
Op = tuple[Any, ...]
#: decimals of an algebraic number that is to be multiplied by a step size: the product is rounded once, at the end
DIGITS = 50


class Coefficient(NamedTuple):
    """An exact number times h^power; the power is -1, 0 or 1."""

    number: sympy.Expr
    power: int = 0


Row = Mapping[int, Coefficient]
ONE = Coefficient(sympy.Integer(1))


@lru_cache(maxsize=4096)
def nearest(expression: sympy.Expr) -> float:
    """The float nearest to an exact number."""
    return float(expression)


@dataclass(frozen=True)
class Learned:
    """A coefficient that contains free symbols: an expression, its function of the symbols' values, a power of h."""

    expression: sympy.Expr
    arguments: tuple[str, ...]
    function: Callable[..., Any] = field(compare=False, repr=False)
    power: int = 0
    scale: float = 1.0

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The coefficient at the given values; a bare symbol costs no operation, nor does a factor of 1."""
        bare = self.expression.is_Symbol
        value = values[self.arguments[0]] if bare else self.function(*(values[name] for name in self.arguments))
        return value if self.scale == 1 else value * self.scale

    def at(self, top: int, bottom: int) -> Learned:
        """The coefficient for the step size h = top / bottom."""
        return replace(self, scale=(top / bottom) ** self.power)

    def __reduce__(self) -> tuple[Any, ...]:
        # The generated function cannot be pickled; it is made again from the expression.
        return learned, (self.expression, self.power, self.scale)


def learned(expression: sympy.Expr, power: int = 0, scale: float = 1.0) -> Learned:
    """Compile a rational function of free symbols; Python's arithmetic serves tensors and numbers alike."""
    symbols = sorted(expression.free_symbols, key=str)
    function = sympy.lambdify(symbols, expression, modules="math")
    return Learned(expression, tuple(map(str, symbols)), function, power, scale)


@dataclass(frozen=True)
class Open:
    """A number c h^power that waits for h, with c = numerator / denominator."""

    numerator: int
    denominator: int
    power: int

    def at(self, top: int, bottom: int) -> float:
        """The float nearest to it for the step size h = top / bottom: rounded once.

        Python divides whole numbers so, whatever their size, in a tenth of a microsecond.
        """
        if self.power == 1:
            return self.numerator * top / (self.denominator * bottom)
        return self.numerator * bottom / (self.denominator * top)


def coefficient(given: Coefficient) -> float | Learned | Open:
    """A coefficient for tensors: the float nearest to it, a learned one, or one that waits for the step size."""
    number, power = given
    if not number.is_number:
        return learned(number, power)
    if not power:
        return nearest(number)
    near = sympy.Rational(number if number.is_Rational else number.n(DIGITS))
    return Open(int(near.p), int(near.q), power)


def bound(ops: tuple[Op, ...], top: int, bottom: int) -> tuple[Op, ...]:
    """The operations for the step size h = top / bottom."""
    found = []
    for op in ops:
        c = op[-1]
        if type(c) is Open or type(c) is Learned:
            found.append((*op[:-1], c.at(top, bottom)))
        else:
            found.append(op)
    return tuple(found)


def operations(row: Row) -> tuple[Op, ...]:
    """The operations for one row; what costs one tensor operation each is every op but "take"."""
    start, rest = _start(row)
    # Functions (high slots) come before carried values: the first sum with one allocates the buffer
    # that later ones add to in place, and under vmap that buffer must be batched if f is.
    ordered = sorted(rest, reverse=True)
    return (start, *(("add", slot, coefficient(row[slot])) for slot in ordered))


def small_first(ops: tuple[Op, ...]) -> tuple[Op, ...]:
    """A row u + c_1 f_1 + c_2 f_2 + ... as u + (c_1 f_1 + c_2 f_2 + ...), for one operation more.

    u is rounded once and not once for each f: after many small steps in float32 that is what the error consists of.
    """
    if len(ops) < 3 or ops[0] != ("take", 0):
        return ops
    return ("scale", *ops[1][1:]), *ops[2:], ("plus", 0)


def cost(ops: Sequence[Op]) -> int:
    """Number of tensor operations."""
    return sum(op[0] != "take" for op in ops)


def _start(row: Row) -> tuple[Op, list[int]]:
    """First operation of a row and the slots that are left to add."""
    slots = sorted(row)
    if pair := _convex_pair(row, symbolic=True):
        return ("lerp", *pair, coefficient(row[pair[1]])), [s for s in slots if s not in pair]
    for slot in slots:
        if row[slot] == ONE:
            return ("take", slot), [s for s in slots if s != slot]
    if pair := _convex_pair(row, symbolic=False):
        return ("lerp", *pair, coefficient(row[pair[1]])), [s for s in slots if s not in pair]
    first = next((s for s in slots if row[s].number.is_number), slots[0])
    return ("scale", first, coefficient(row[first])), [s for s in slots if s != first]


def _convex_pair(row: Row, symbolic: bool) -> tuple[int, int] | None:
    """Two slots whose coefficients sum to 1: one lerp instead of a product and a sum.

    Where there is a choice, the second one is a bare symbol, whose value needs no arithmetic.
    """
    exact = {slot: number for slot, (number, power) in sorted(row.items()) if not power}
    slots = [slot for slot, number in exact.items() if bool(number.free_symbols) == symbolic]
    if not symbolic:
        # Exact arithmetic in a field of surds takes a thousand times longer: only where floats say yes.
        near = {slot: nearest(exact[slot]) for slot in slots}
        slots = [x for x in slots if any(x != y and abs(near[x] + near[y] - 1) < ROUNDING for y in slots)]
    pairs = [(x, y) for x, y in permutations(slots, 2) if sympy.expand(exact[x] + exact[y] - 1) == 0]
    return min(pairs, key=lambda pair: not exact[pair[1]].is_Symbol, default=None)


def _may_save(row: Row, other: Row, shared: int, best: int) -> bool:
    """Whether the row less the multiple of another that cancels one slot may take fewer operations than ``best``.

    By floats: each slot that is left takes an operation, and the multiple must shrink the other row. With symbols, yes.
    """
    if any(x.number.free_symbols for x in (*row.values(), *other.values())):
        return True
    a, b = ({slot: nearest(x.number) for slot, x in one.items()} for one in (row, other))
    ratio = a[shared] / b[shared]
    left = sum(abs(a.get(s, 0.0) - ratio * b.get(s, 0.0)) > ROUNDING for s in {*a, *b})
    return left < best and abs(ratio) < 1 + ROUNDING


def reuse(row: Row, computed: Mapping[int, Row]) -> Row:
    """The row, rewritten through an already computed one where that saves operations.

    Momentum's u+ = u + h v+ takes v+ in place of 9/10 v + 1/10 f; the last stage of a first-same-
    as-last scheme is its step. Only shrinking multiples, so that nothing cancels; by h^-1 none shrinks.
    """
    best, best_cost = row, cost(operations(row))
    for slot, other in computed.items():
        for shared in set(row) & set(other):
            power = row[shared].power - other[shared].power
            if power < 0 or not _may_save(row, other, shared, best_cost):
                continue
            ratio = sympy.cancel(row[shared].number / other[shared].number)
            if not ratio.is_number or abs(ratio) > 1:
                continue
            rest = {s: sympy.expand(_number(row, s) - ratio * _number(other, s)) for s in {*row, *other}}
            powers = {s: x.power + power for s, x in other.items()} | {s: x.power for s, x in row.items()}
            left = {s: Coefficient(c, powers[s]) for s, c in rest.items() if c != 0}
            candidate = {**left, slot: Coefficient(ratio, power)}
            if (found := cost(operations(candidate))) < best_cost:
                best, best_cost = candidate, found
    return best


def _number(row: Row, slot: int) -> sympy.Expr:
    return row[slot].number if slot in row else sympy.Integer(0)
