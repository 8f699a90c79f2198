"""A benchmark of ratios of times as a command: its options, the process that measures, and what it leaves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from odenets import OdenetsError

from . import machine
from .command_line import FAILED_RUNS, USER_ERROR, Parser, as_given
from .files import write_atomic, write_json
from .markdown import markdown
from .pairs import Row, in_new_process, page

#: A table by its heading.
Tables = Mapping[str, list[list[str]]]


@dataclass(frozen=True)
class PairedBenchmark:
    """``odenets bench NAME``: pairs of samples of time, measured in a process of its own.

    Args:
        name: of the command.
        module: the file that ``python -m`` runs in the process that measures.
        description: what is claimed, and how it is measured.
        task: a dataclass; its fields are the options of the command.
        defaults: of each field.
        help: of each field but ``rounds``.
        measure: the rows of a task.
        title: of the page.
        claims: of the rows, and whether they hold.
        more: further tables, of the process of the command itself.
        claims_of_more: of those tables, and whether they hold.
    """

    name: str
    module: str
    description: str | None
    task: type[Any]
    defaults: Any
    help: Mapping[str, str]
    measure: Callable[[Any], list[Row]]
    title: Callable[[Any], str]
    claims: Callable[[Sequence[Row]], Mapping[str, bool]]
    more: Callable[[Any], Tables] = field(default=lambda task: {})
    claims_of_more: Callable[[Tables], Mapping[str, bool]] = field(default=lambda more: {})

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Runs the command line; returns 0, 1 where a claim does not hold, 2 for a user error."""
        try:
            options = self._parse(argv)
            if options.here:
                print(json.dumps([asdict(row) for row in self.measure(self.task(**json.loads(options.here)))]))
                return 0
            task = self.task(**{part.name: getattr(options, part.name) for part in fields(self.task)})
            held = self._leave(task, options.out, argv)
        except (OdenetsError, ImportError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return USER_ERROR
        return 0 if held else FAILED_RUNS

    def _parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        parser = Parser(prog=f"odenets bench {self.name}", description=self.description, allow_abbrev=False)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        told = {**self.help, "rounds": "pairs of samples of time"}
        for part in fields(self.task):
            default = getattr(self.defaults, part.name)
            parser.add_argument(f"--{part.name}", type=type(default), default=default, help=told[part.name])
        parser.add_argument("--out", type=Path, default=Path(f"out/{self.name}"), help="folder of table and data")
        parser.add_argument("--here", metavar="TASK", help="measure what this JSON says in this process, print rows")
        return parser.parse_args(argv)

    def _leave(self, task: Any, out: Path, argv: Sequence[str] | None) -> bool:
        """Measure, write NAME.md and NAME.json into a folder, print the page; whether all claims hold."""
        rows, more = in_new_process(self.module, asdict(task)), self.more(task)
        known = machine.hardware(torch.device("cpu")) | {"threads": 1} | machine.versions()
        known |= {"command": as_given(f"odenets bench {self.name}", argv)}
        held = {**self.claims(rows), **self.claims_of_more(more)}
        said = [f"- {claim}: {'holds' if holds else 'does not hold'}" for claim, holds in held.items()]
        text = page(self.title(task), "\n".join(said), rows, {"pairs": task.rounds, **known})
        text = "\n".join([text, *(f"{markdown(heading, table)}\n" for heading, table in more.items())])
        out.mkdir(parents=True, exist_ok=True)
        found = {"task": asdict(task), "rows": [asdict(row) for row in rows], **more, **known}
        write_json(out / f"{self.name}.json", found)
        write_atomic(out / f"{self.name}.md", text.encode())
        print(text, f"Wrote {out}", sep="\n")
        return all(held.values())


def at_most(bound: float, baseline: str) -> Callable[[Sequence[Row]], dict[str, bool]]:
    """The claim of one bound for all rows, but those of the baseline against itself."""

    def claims(rows: Sequence[Row]) -> dict[str, bool]:
        found = max(row.ratio for row in rows if "A/A" not in row.pair)
        return {f"at most {bound} times the time of {baseline}, got {found:.3f}": found <= bound}

    return claims
