"""What only an accelerator can show of odenets: ``odenets bench accelerator``.

Claims to be tested, a line each: on CUDA all schemes of the zoo have the outputs and gradients that they have on the
CPU, in float64; the ways to a gradient agree with autograd's, with BatchNorm and dropout in the blocks; a training pass
does not wait for the device; a study's step, captured as CUDA graphs and replayed, trains as the plain one does; and
several runs at once train more images a second than one.

What has been found is written after each line. It is made to take less than four minutes; ``--only`` asks for less.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from odenets import OdenetsError

from ..common import machine
from ..common.command_line import FAILED_RUNS, USER_ERROR, Parser, as_given
from ..common.files import write_json
from .findings import Found
from .passes import gradients, waits, zoo
from .training_runs import graphs, speed

#: In the order of what is least known of them.
CHECKS: dict[str, Callable[[torch.device], Found]] = {
    "graphs": graphs,
    "speed": speed,
    "waits": waits,
    "gradients": gradients,
    "zoo": zoo,
}


def line(name: str, found: Found) -> str:
    """A check in a line: what failed, the worst of many, or all."""
    told = {key: found[key] for key in ("failed", "worst", "limit", "seconds") if key in found} or found
    if name in ("speed", "waits") and "failed" not in found:
        told = found
    return f"{name}: " + ", ".join(
        f"{key} {v:.3g}" if isinstance(v, float) else f"{key} {v}" for key, v in told.items()
    )


def measure(name: str, device: torch.device) -> Found:
    """What a check has found, or why it has not; a bug on a device that nobody has seen must not end the others."""
    started = time.perf_counter()
    try:
        found = CHECKS[name](device)
    except Exception as error:  # of whatever kind
        found = {"failed": f"{type(error).__name__}: {error}"}
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="odenets bench accelerator", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu runs what makes sense there")
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, default=list(CHECKS), metavar="CHECK", help=", ".join(CHECKS)
    )
    parser.add_argument("--out", type=Path, default=Path("out/accelerator"), help="folder of accelerator.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a check failed, 2 for a user error, as that there is no CUDA."""
    options = parse(argv)
    try:
        device = machine.choose_device(options.device)
        machine.make_repeatable()
        facts = {
            **machine.hardware(device),
            **machine.versions(),
            "command": as_given("odenets bench accelerator", argv),
        }
        options.out.mkdir(parents=True, exist_ok=True)
        found: Found = {}
        for name in options.only:
            found[name] = measure(name, device)
            print(line(name, found[name]), flush=True)
            write_json(options.out / "accelerator.json", {**facts, "checks": found})
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return FAILED_RUNS if any("failed" in one for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
