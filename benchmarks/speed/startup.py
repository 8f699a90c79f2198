"""What it takes to start: ``odenets bench startup``.

Claim to be tested: ``import odenets`` and ``from odenets import ODENet`` take at most 1.15 times the processor time of
``import torch``; of the commands, ``--help`` takes 0.3 s of it, ``stability rk4`` and ``schemes`` 1.5 s. Each is a
process of its own, in pairs with one that imports torch, the order changing; beside it that process against itself
(A/A). Seconds are those of this machine.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..common.paired_command import PairedBenchmark
from ..common.pairs import Row, compare

BASELINE = ["-c", "import torch"]
#: code -> the largest ratio to the baseline that is claimed; command -> the seconds that are
IMPORTS = {"import odenets": 1.15, "from odenets import ODENet": 1.15}
COMMANDS = {"--help": 0.3, "stability rk4": 1.5, "schemes": 1.5}
RATIO, SECONDS = "imports", "commands"


@dataclass(frozen=True)
class Task:
    """What is measured: pairs of processes."""

    rounds: int


def processor_time(arguments: Sequence[str]) -> Callable[[], float]:
    """A function that runs Python with these arguments, and returns the seconds that the process has taken."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def measure(task: Task) -> list[Row]:
    """All rows."""
    asked = [(RATIO, "import torch (A/A)", BASELINE)]
    asked += [(RATIO, code, ["-c", code]) for code in IMPORTS]
    asked += [(SECONDS, command, ["-m", "odenets", *command.split()]) for command in COMMANDS]
    first = processor_time(BASELINE)
    return [compare(part, name, (first, processor_time(given)), task.rounds) for part, name, given in asked]


def claims(rows: Sequence[Row]) -> dict[str, bool]:
    """What is claimed of each, and whether it holds."""
    found = {}
    for row in rows:
        if bound := IMPORTS.get(row.pair):
            found[f"{row.pair}: at most {bound} times import torch, got {row.ratio:.2f}"] = row.ratio <= bound
        elif bound := COMMANDS.get(row.pair):
            found[f"odenets {row.pair}: at most {bound} s, got {row.seconds[1]:.2f}"] = row.seconds[1] <= bound
    return found


BENCHMARK = PairedBenchmark(
    name="startup",
    module="odenets.benchmarks.speed.startup",
    description=__doc__,
    task=Task,
    defaults=Task(rounds=9),
    help={},
    measure=measure,
    title=lambda task: "Imports and commands, beside import torch",
    claims=claims,
)
main = BENCHMARK.main

if __name__ == "__main__":
    sys.exit(main())
