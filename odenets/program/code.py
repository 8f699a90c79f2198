"""A step as straight-line Python, generated of its instructions once for a scheme.

For "heun" and h = 1 it is::

    def step(function, state, learned, solver=None):
        y0 = state[0]
        f1 = function(e1, y0)
        y2 = add(y0, f1)
        f3 = function(e3, y2)
        y4 = add(y0, f3, alpha=0.5)
        y4 = add_to(y4, (f1,), (0.5,))
        return (y4,)

with the names of :mod:`.sums`. y are states and stages, f values of functions, e the evaluations that tell them apart.
What is not known before the step size, learned coefficients that are expressions, and e, are bound for each step size.
A loop over the instructions was rejected: it takes 3 to 4 microseconds more a step.
"""

from __future__ import annotations

import linecache
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .rows import Learned, Op, Open


class Code:
    """The lines of a function as they are written, and what is to be bound to it.

    Args:
        inputs: name of the tuple that fills the first slots.
        fresh: slots from this one on hold values of functions, or what has been made of them.
    """

    def __init__(self, inputs: str, fresh: int) -> None:
        self.inputs, self.fresh = inputs, fresh
        self.names: dict[int, str] = {}
        self.taken: dict[int, str] = {}
        self.lines: list[str] = []
        self.bound: dict[str, Any] = {}
        self.operations: list[int | None] = []

    def evaluate(self, slot: int, source: int, what: Any) -> None:
        """One function evaluation."""
        self.names[slot] = f"f{slot}"
        self._bind(f"e{slot}", what)
        self.lines.append(f"f{slot} = function(e{slot}, {self._name(source)})")

    def solve(self, slots: Sequence[int], sources: Sequence[int], what: Any) -> None:
        """Evaluations that depend on each other."""
        self.names.update((slot, f"f{slot}") for slot in slots)
        self._bind(f"s{slots[0]}", what)
        constants = f"({', '.join(self._name(source) for source in sources)},)"
        self.lines.append(f"{self.listed(slots)} = solver(s{slots[0]}, {constants})")

    def combine(self, slot: int, ops: Sequence[Op]) -> None:
        """One row. The buffer is written in place once it is a fresh one that a function has gone into."""
        acc, owned, terms = self._name(ops[0][1]), False, list[tuple[str, str]]()
        for i, op in enumerate(ops):
            kind, x, new = op[0], self._name(op[1]), op[1] >= self.fresh
            if kind == "take":
                continue
            c = "" if kind == "plus" else self._value(op[-1], slot, i)
            if owned and kind == "add" and type(op[-1]) is not Learned:
                terms.append((x, c))
                continue
            self._add_to(acc, terms)
            if kind == "add":
                made, owned = self._sum(acc, x, c, type(op[-1]) is Learned), owned or new
            elif kind == "lerp":
                made, owned = f"lerp({x}, {self._name(op[2])}, {c})", new or op[2] >= self.fresh
            elif kind == "scale":
                made, owned = f"scale({x}, {c})", new
            else:  # not in place: under vmap a value of f that does not see u is not batched
                made = f"add({x}, {acc})"
            acc = f"y{slot}"
            self.lines.append(f"{acc} = {made}")
        self._add_to(acc, terms)
        self.names[slot] = acc

    def _add_to(self, acc: str, terms: list[tuple[str, str]]) -> None:
        """The terms that are to be added to a buffer, which are none then."""
        if terms:
            xs, cs = (", ".join(column) + "," * (len(terms) == 1) for column in zip(*terms, strict=True))
            self.lines.append(f"{acc} = add_to({acc}, ({xs}), ({cs}))")
            terms.clear()

    def _name(self, slot: int) -> str:
        """What a slot's value is called; one that nothing has been written to is taken from the inputs."""
        if slot not in self.names:
            self.names[slot], self.taken[slot] = f"y{slot}", f"y{slot} = {self.inputs}[{slot}]"
        return self.names[slot]

    def _bind(self, name: str, what: Any, operation: int | None = None) -> None:
        self.bound[name] = what
        self.operations.append(operation)

    def _value(self, c: float | Learned | Open, slot: int, i: int) -> str:
        """The coefficient of operation i: the number, the learned one looked up, or the name of what is bound."""
        if type(c) is float:
            return repr(c)
        if type(c) is Learned and c.expression.is_Symbol and not c.power:
            return f"learned[{c.arguments[0]!r}]"
        self._bind(name := f"c{slot}_{i}", c, i)
        return f"{name}(learned)" if type(c) is Learned else name

    @staticmethod
    def _sum(acc: str, x: str, c: str, learned: bool) -> str:
        if learned:
            return f"add_product({acc}, {x}, {c})"
        return f"add({acc}, {x})" if c == "1.0" else f"add({acc}, {x}, alpha={c})"

    def text(self, arguments: str, made: str) -> str:
        """The function, inside one that binds what is to be bound."""
        lines = [*(self.taken[slot] for slot in sorted(self.taken)), *self.lines, f"return {made}"]
        body = "".join(f"        {line}\n" for line in lines)
        return f"def bind({', '.join(self.bound)}):\n    def step({arguments}):\n{body}    return step\n"

    def listed(self, slots: Iterable[int]) -> str:
        """The values of slots, separated by commas; a tuple of one as well."""
        names = [self._name(slot) for slot in slots]
        return ", ".join(names) if len(names) > 1 else f"({names[0]},)"


@dataclass(frozen=True)
class Generated:
    """The text of a step, and what is bound to it.

    ``places`` say what that is: which instruction, or the coefficient of which of its operations.
    """

    text: str
    places: tuple[tuple[int, int | None], ...]

    @property
    def listing(self) -> str:
        """The step alone."""
        return "\n".join(line.removeprefix("    ") for line in self.text.splitlines()[1:-1])

    def parts(self, instructions: Sequence[Any]) -> list[Any]:
        """What is to be bound, taken from the instructions, for some step size or open."""
        return [instructions[i] if j is None else instructions[i].ops[j][-1] for i, j in self.places]

    def bound(self, parts: Sequence[Any]) -> Callable[..., Any]:
        """The step."""
        return _executed(self.text)(*parts)


def step_code(instructions: Sequence[Any], outputs: Sequence[int]) -> Generated:
    """A step of instructions that each can ``write`` themselves."""
    code, places = Code("state", len(outputs)), []
    for i, item in enumerate(instructions):
        known = len(code.operations)
        item.write(code)
        places += [(i, operation) for operation in code.operations[known:]]
    made = code.listed(outputs)
    text = code.text("function, state, learned, solver=None", made)
    return Generated(text, tuple(places))


@lru_cache(maxsize=1024)
def row_code(ops: tuple[Op, ...], fresh: int) -> Callable[[Sequence[Any], Mapping[str, Any]], Any]:
    """One row by itself, as a function of the values in its slots and of the learned coefficients."""
    code = Code("values", fresh)
    slot = 1 + max(part for op in ops for part in op if type(part) is int)
    code.combine(slot, ops)
    return _executed(code.text("values, learned", code.names[slot]))(*code.bound.values())


@lru_cache(maxsize=1024)
def _executed(text: str) -> Callable[..., Any]:
    """The function that a text defines, once for each text; lines of it stand in tracebacks."""
    from . import sums  # noqa: PLC0415 - it needs torch, a compiled scheme does not

    found: dict[str, Any] = {}
    name = f"<odenets step {zlib.crc32(text.encode()):08x}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    exec(compile(text, name, "exec"), vars(sums), found)
    return found["bind"]
