"""What swap_scheme has found and done, as a value and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .chain import Chain
from .judge import PART
from .sums import Sum


@dataclass(frozen=True)
class ChainReport:
    """One chain of sums: paths of the modules that have them, and how many in a row each has.

    ``evaluations`` of branches in one pass; ``starting``: steps taken by the starting scheme; ``activation``: names of
    what follows its sums; ``notes``: what to know about the scheme on this chain.
    """

    blocks: tuple[str, ...]
    sums: tuple[int, ...]
    evaluations: int
    starting: int
    activation: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SumReport:
    """One sum of the model: its module, file and line, the number of its chain, or -1 and why it is left alone."""

    module: str
    file: str
    line: int
    chain: int
    reason: str


@dataclass(frozen=True)
class SwapReport:
    """What has been swapped in a model: the scheme, its chains, each sum, and (path, reason) of those left alone."""

    scheme: str
    post_activation: str
    chains: tuple[ChainReport, ...]
    sums: tuple[SumReport, ...]
    notes: tuple[str, ...]

    @property
    def left(self) -> tuple[tuple[str, str], ...]:
        """Paths of the modules in which sums were left alone, each with the reason; parts of a branch are none."""
        return tuple(dict.fromkeys((s.module, s.reason) for s in self.sums if s.reason and PART not in s.reason))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        blocks = {path for chain in self.chains for path in chain.blocks}
        yield (
            f"{self.scheme}: {_many(sum(sum(c.sums) for c in self.chains), 'step')} in "
            f"{_many(len(blocks), 'module')}, {_many(len(self.chains), 'chain')}, "
            f"{_many(sum(c.evaluations for c in self.chains), 'evaluation')}"
        )
        for i, chain in enumerate(self.chains):
            after = f"; {', '.join(chain.activation)} after each ({self.post_activation})" if chain.activation else ""
            start = f", {chain.starting} of them to start" if chain.starting else ""
            steps, evaluations = _many(sum(chain.sums), "step"), _many(chain.evaluations, "evaluation")
            yield f"  chain {i}: {steps}{start}, {evaluations}{after}"
            sums = zip(chain.blocks, chain.sums, strict=True)
            yield "    " + ", ".join(f"{name or 'the model'}" + (f" ({k} sums)" if k > 1 else "") for name, k in sums)
            yield "    made in " + ", ".join(dict.fromkeys(_line(s) for s in self.sums if s.chain == i))
            yield from (f"    note: {note}" for note in chain.notes)
        if self.left:
            yield "left alone:"
        whole = [s for s in self.sums if s.reason and PART not in s.reason]
        yield from dict.fromkeys(f"  {s.module or 'the model'} ({_line(s)}): {s.reason}" for s in whole)
        if parts := dict.fromkeys(_line(s) for s in self.sums if PART in s.reason):
            yield f"parts of what is added: {', '.join(parts)}"
        yield from (f"note: {note}" for note in self.notes)


def _line(one: SumReport) -> str:
    # The file of a notebook's cell has a number for a name, another one each time.
    path = Path(one.file)
    return f"{'a cell' if path.parent.name.startswith('ipykernel_') else path.name}:{one.line}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def report(chains: Sequence[Chain], sums: Sequence[Sum], post_activation: str, notes: tuple[str, ...]) -> SwapReport:
    """What there is to be said about a swapped model."""
    numbers = {one: i for i, chain in enumerate(chains) for one in chain.sums}
    found = tuple(SumReport(s.module, s.source[0], s.source[2], numbers.get(s, -1), s.reason) for s in sums)
    return SwapReport(chains[0].scheme.name, post_activation, tuple(map(_of_chain, chains)), found, notes)


def _of_chain(chain: Chain) -> ChainReport:
    blocks = [(path, len(list(run))) for path, run in groupby(one.owner.module for one in chain.sums)]
    starting = min(len(chain.starting_programs), chain.steps)
    names = dict.fromkeys(name for one in chain.sums for name in one.activations)
    notes = ("every step is a starting step; the scheme itself takes none",) if starting == chain.steps else ()
    paths, counts = zip(*blocks, strict=True)
    return ChainReport(paths, counts, chain.evaluations, starting, tuple(names), notes)
