"""Memory and time of the ways to a gradient, against depth: ``odenets bench memory``.

Claim to be tested: with gradient="reversible" the memory of a training step does not grow with depth,
beyond the states that it reports as stored, and it takes at most 1.40 times the time of direct
backpropagation in the same run. Every measurement has a process of its own. Time is processor time
of one thread, in pairs of direct and the other way. MemCNN and momentumnet stand beside the same
networks here, where they are installed.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from odenets import OdenetsError
from odenets.gradients import as_gradient

from ..common import machine
from ..common.command_line import FAILED_RUNS, INTERRUPTED, USER_ERROR, Parser, as_given
from ..common.errors import BenchmarkError, ConfigError
from ..common.files import write_atomic, write_json
from ..common.processes import HELD, RETURNED
from . import report
from .measure import in_new_process
from .networks import DIRECT, OURS, PEERS, REVERSIBLE, WAYS, Network, gradient_of, peer_version, why_not

COMMAND = "odenets bench memory"
#: What a process costs to start, in layers of 16 channels: for the estimate of the time left.
START = 150
FIGURE, DPI = "memory.png", 150
QUICK = {"depths": [4, 8], "channels": 4, "size": 8, "batch": 2, "time_depth": 4, "time_channels": [4], "rounds": 3}


@dataclass(frozen=True)
class Task:
    """One process: a network to be measured, and the list of the results that it belongs to."""

    part: str
    network: Network
    rounds: int = 0

    @property
    def cost(self) -> int:
        """About in proportion to its time."""
        one = self.network
        return START + (self.rounds * one.depth * one.channels // 8 if self.rounds else 4 * one.depth)

    def attempt(self) -> dict[str, Any] | str:
        """What is found; where the process fails, a line that says so."""
        one = self.network
        what = {"network": asdict(one)} | ({"rounds": self.rounds} if self.rounds else {})
        try:
            return in_new_process(what, HELD if self.rounds else RETURNED)
        except BenchmarkError as error:
            return f"failed: {one.library} {one.scheme} {one.way} {one.depth} layers: {error}"


def make_parser() -> Parser:
    """The command line."""
    parser = Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    depths = [8, 16, 32, 64, 128, 256, 512]
    parser.add_argument("--depths", type=int, nargs="+", default=depths, metavar="D", help="layers")
    parser.add_argument("--scheme", default="leapfrog", help="its name or FILE.py:NAME, also after mccallum_foster:")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="W", help="direct, checkpoint:8, ...")
    parser.add_argument("--h", type=float, default=0.1, help="step size")
    parser.add_argument("--channels", type=int, default=8, help="of the state, for memory")
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--time-depth", type=int, default=32, metavar="D", help="layers, for time")
    parser.add_argument("--time-channels", type=int, nargs="+", default=[16, 32, 64], metavar="C", help="for time")
    parser.add_argument("--rounds", type=int, default=7, help="pairs of samples, for time")
    parser.add_argument("--out", type=Path, default=Path("out/memory"), help="folder of table, data and figure")
    parser.add_argument("--quick", action="store_true", help=f"small: {QUICK}")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked; ConfigError or another OdenetsError for one that cannot be."""
    parser = make_parser()
    if parser.parse_args(argv).quick:
        parser.set_defaults(**QUICK)
    options = parser.parse_args(argv)
    for name in ("depths", "channels", "size", "batch", "time_depth", "time_channels", "rounds"):
        values = getattr(options, name)
        for value in values if isinstance(values, list) else [values]:
            if value < 1 or (value % 2 and name.endswith("channels")):
                expected = "an even number of 2 or more" if name.endswith("channels") else "1 or more"
                raise ConfigError(f"--{name.replace('_', '-')}: got {value}, expected {expected}")
    options.depths = sorted(set(options.depths))
    for way in options.ways:
        as_gradient(gradient_of(way))
    network(options, DIRECT, depth=1).build()  # whether there is such a scheme, and one that runs
    return options


def network(options: argparse.Namespace, way: str, **others: Any) -> Network:
    """The network that the options name."""
    one = Network(
        OURS, options.scheme, way, options.time_depth, options.h, options.channels, options.size, options.batch
    )
    return replace(one, **others)


def beside(one: Network, missing: list[str]) -> list[Network]:
    """What each peer computes, here and there; a line in ``missing`` for a peer that is not there."""
    found: list[Network] = []
    for library, (scheme, h) in PEERS.items():
        ours = replace(one, scheme=scheme, h=h, way=REVERSIBLE)
        reason = why_not(library)
        if reason is None:
            found += [ours, replace(ours, library=library)]
        elif (line := f"not installed: {library}: {reason}") not in missing:
            missing.append(line)
    return found


def tasks(options: argparse.Namespace, missing: list[str]) -> list[Task]:
    """All that is to be measured; what cannot be becomes a line in ``missing``."""
    ways = [way for way in options.ways if _fits(network(options, way, depth=2), missing)]
    one = network(options, DIRECT)
    found = [Task("memory", replace(one, way=way, depth=depth)) for way in ways for depth in options.depths]
    for other in beside(one, missing):
        found += [Task("peers", replace(other, depth=depth)) for depth in options.depths[::2]]
    for channels in options.time_channels:
        wide = replace(one, channels=channels)
        all_ways = [*(replace(wide, way=way) for way in ways), *beside(wide, missing)]
        found += [Task("time", other, options.rounds) for other in all_ways]
    return found


def _fits(one: Network, missing: list[str]) -> bool:
    try:
        one.build()
    except OdenetsError as error:
        missing.append(f"not run: {one.way}: {error}")
        return False
    return True


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All results, with a bar; a network that fails is a line of what is missing."""
    found: dict[str, Any] = {"memory": [], "peers": [], "time": [], "missing": []}
    todo = tasks(options, found["missing"])
    with tqdm(total=sum(task.cost for task in todo), bar_format="{l_bar}{bar}| {elapsed} < {remaining}") as bar:
        # Two at a time, for memory is not changed by a neighbour; time is, and each has the machine to itself.
        for jobs, parts in ((2, ("memory", "peers")), (1, ("time",))):
            own = [task for task in todo if task.part in parts]
            with ThreadPoolExecutor(jobs) as pool:
                for task, result in zip(own, pool.map(Task.attempt, own), strict=True):
                    place = found["missing"] if isinstance(result, str) else found[task.part]
                    place.append(result)
                    bar.update(task.cost)
    return found


def page_of(options: argparse.Namespace, found: dict[str, Any], command: str) -> str:
    """The page about what has been found."""
    facts = found["hardware"] | found["versions"]
    parts = [
        "# Memory and time of the ways to a gradient",
        f"`{command}`",
        f"{options.scheme}, h = {options.h:g}, blocks convolution, GELU, convolution, {options.batch} images of "
        f"{options.size} x {options.size}, float32; for memory {options.channels} channels.",
        "\n".join(f"- {line}" for line in report.verdict(found["memory"], found["time"], options.scheme)),
        report.memory_table(found["memory"]) if found["memory"] else "",
        f"![Saved bytes and peak over depth]({FIGURE})" if found["memory"] else "",
        report.time_table(found["time"]) if found["time"] else "",
        report.peer_table(found["peers"]) if found["peers"] else "",
        "\n".join(f"- {line}" for line in found["missing"]),
        ", ".join(f"{name} {value}" for name, value in facts.items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def write(options: argparse.Namespace, found: dict[str, Any], command: str) -> str:
    """Data, page and figure, each atomically; returns the page."""
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "memory.json", found)
    if found["memory"]:
        title = f"{options.scheme}, {options.channels} channels, {options.batch} images {options.size} x {options.size}"
        buffer = io.BytesIO()
        report.draw(found["memory"], title).savefig(buffer, format="png", dpi=DPI)
        write_atomic(options.out / FIGURE, buffer.getbuffer())
    page = page_of(options, found, command)
    write_atomic(options.out / "memory.md", page.encode())
    return page


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 if something failed, 2 for a user error, 130 if interrupted."""
    command = as_given(COMMAND, argv)
    try:
        options = parse(argv)
        found = measure(options)
        hardware = machine.hardware(torch.device("cpu")) | {"threads": 1}
        libraries = {name: version for name in PEERS if (version := peer_version(name))}
        found |= {"command": command, "hardware": hardware, "versions": machine.versions() | libraries}
        print(write(options, found, command), f"Wrote {options.out}", sep="\n")
    except KeyboardInterrupt:
        print("interrupted: nothing is written before all is measured", file=sys.stderr)
        return INTERRUPTED
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return FAILED_RUNS if any(line.startswith("failed") for line in found["missing"]) else 0


if __name__ == "__main__":
    sys.exit(main())
