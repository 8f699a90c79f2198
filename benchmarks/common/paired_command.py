"""The frame of a command that measures ratios of times in a process of its own: its options, and what it leaves."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from . import machine
from .command_line import Parser, as_given
from .files import write_atomic, write_json
from .pairs import Row


def paired_parser(name: str, description: str | None, rounds: int) -> Parser:
    """A parser of the options that all of these have."""
    parser = Parser(prog=f"odenets bench {name}", description=description, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=rounds, help="pairs of samples of time")
    parser.add_argument("--out", type=Path, default=Path(f"out/{name}"), help="folder of table and data")
    parser.add_argument("--here", metavar="TASK", help="measure what this JSON says in this process, and print rows")
    return parser


def print_rows(here: str, measure: Callable[..., list[Row]], task: Callable[..., Any]) -> None:
    """What the process prints that measures: the rows of a task."""
    print(json.dumps([asdict(row) for row in measure(task(**json.loads(here)))]))


def facts(name: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """The machine, the versions and the command, which stand below every table."""
    known = machine.hardware(torch.device("cpu")) | {"threads": 1} | machine.versions()
    return {**known, "command": as_given(f"odenets bench {name}", argv)}


def leave(name: str, out: Path, text: str, found: dict[str, Any]) -> None:
    """Write NAME.md and NAME.json into a folder, and print the page."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / f"{name}.json", found)
    write_atomic(out / f"{name}.md", text.encode())
    print(text, f"Wrote {out}", sep="\n")
