"""Adaptive steps beside torchdiffeq's, diffrax's and scipy's: ``odenets bench integrate``.

Claim to be tested: dopri5 takes at most 0.35 of torchdiffeq's process CPU time on one core with a single sample and
0.5 with 256, forward, at equal error, on van der Pol's equation, a network of width 64 and the heat equation, and
dopri5 and bosh3 take as many evaluations as scipy's RK45 and RK23 at equal error, to a tenth, in the geometric mean.
Steps of its own for each sample take less time than shared ones on 256 equations with mu from 1 to 100, at 1e-8.

Times at equal error: in each round both solve at all tolerances, one after the other, and the time for an error is
that on the front of the work-precision diagram, the logarithm of time interpolated linearly over that of the error at
the end; the ratio is taken in each round. What of it is f alone, evaluated as often, is a row of its own: where both
compute a network for a batch, that is most of the time. diffrax's dopri5, whose whole solve is one compiled program, is
put beside ours where it is installed, at errors that it has: of it nothing is claimed. Evaluations beside scipy's at
equal error are their ratio times (ratio of the errors)^(1 / order).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from ..common.command_line import Parser
from ..common.files import write_atomic, write_json
from ..common.machine import processor, versions
from ..common.markdown import markdown
from ..common.pairs import HEAD, Row, in_new_process
from .beside_scipy import evaluations
from .equal_error import equal_errors, times
from .own_steps import LONG, SAMPLES, own_steps, own_times
from .problems import CASES

#: of the time at equal error, by the size of the batch
BOUNDS = {1: 0.35, 256: 0.5}
MORE, OWN = 1.1, 1.0
#: packages beside which something is measured, the last two where they are installed
PEERS = ("torchdiffeq", "scipy", "torchode", "diffrax")


def claims(rows: Iterable[Row], counts: Sequence[Sequence[str]]) -> str:
    """What is claimed, and whether it holds."""
    slowest = {
        (problem, batch): max(
            r.ratio
            for r in rows
            if r.part.startswith(f"{problem}, batch {batch}, error") and "forward" in r.part and r.pair == "torchdiffeq"
        )
        for problem, batch in CASES
    }
    own = next(r.ratio for r in rows if r.pair == "shared steps" and "1e-08" in r.part)
    logs = [math.log(float(row[-1])) for row in counts[1:]]
    mean = math.exp(sum(logs) / len(logs))
    told = [
        *(
            (f"{problem}, batch {batch}, forward: time over torchdiffeq's at equal error", ratio, BOUNDS[batch])
            for (problem, batch), ratio in slowest.items()
        ),
        ("evaluations over scipy's at equal error", mean, MORE),
        ("time of each sample's own steps over that of shared ones, 1e-08", own, OWN),
    ]
    return "\n".join(
        f"- {what}: at most {bound} claimed, {found:.3f}: {'holds' if found <= bound else 'FAILS'}"
        for what, found, bound in told
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables and writes them beside the numbers."""
    parser = Parser(prog="odenets bench integrate", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9, help="pairs of each row (default: 9)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/integrate"), help="folder of the results")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.here:
        what = json.loads(options.here)
        print(json.dumps([asdict(row) for row in (times(**what) if "problem" in what else own_times(**what))]))
        return 0
    if options.rounds < 2:
        parser.error(f"--rounds: got {options.rounds}, expected at least 2")
    rows: list[Row] = []
    for problem, batch in tqdm(CASES, unit="case", disable=None):
        what = {"problem": problem, "batch": batch, "rounds": options.rounds}
        rows += in_new_process("odenets.benchmarks.integrate", what)
    rows += in_new_process("odenets.benchmarks.integrate", {"rounds": max(2, options.rounds // 3)})
    counts, steps, equal = evaluations(), own_steps(), equal_errors()
    facts = {"processor": processor(), "pairs": options.rounds, **versions(*PEERS)}
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = ["# Adaptive steps", claims(rows, counts), "\n".join([HEAD, *map(str, rows)])]
    parts += [
        markdown("Evaluations beside torchdiffeq's, at equal error", equal),
        markdown("Evaluations beside scipy's", counts),
        markdown(f"Steps of {SAMPLES} equations to t = {LONG:g}", steps),
    ]
    page = "\n\n".join([*parts, told]) + "\n"
    options.out.mkdir(parents=True, exist_ok=True)
    record = {**facts, "times": [asdict(row) for row in rows], "evaluations": counts, "steps": steps, "equal": equal}
    write_json(options.out / "integrate.json", record)
    write_atomic(options.out / "integrate.md", page.encode())
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
