"""How long exact modified equations take: ``odenets bench series``.

Claim: all coefficients of the modified equation of a Runge-Kutta scheme take less than 0.1 s to
order 8 and 0.5 s to order 10, those of LM with k symbolic less than 1.5 s to order 6. Beside it
stands kauri, the one Python package that has modified equations (of Runge-Kutta schemes, in
floating point), where it is installed: ``pip install kauri``.

Every sample is a process of its own, so that no cache is warm, and counts its CPU time from after
the imports; every coefficient is asked for. The least of the samples is reported, and all of them.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from ..common.command_line import Parser
from ..common.files import write_atomic, write_json
from ..common.machine import processor, versions
from ..common.markdown import markdown
from ..common.processes import answer

LIMITS = {("rk4", 8): 0.1, ("rk4", 10): 0.5, ("dopri5", 8): 0.1, ("dopri5", 10): 0.5, ("lm", 6): 1.5}
COMPARED = (4, 5, 6)  # orders of rk4 beside the peer, whose time grows sevenfold from one to the next
PEER = "kauri"


def ours(scheme: str, order: int) -> tuple[float, int]:
    """(seconds, number of coefficients) of odenets.analysis.modified_equation."""
    from odenets import schemes  # noqa: PLC0415
    from odenets.analysis import modified_equation  # noqa: PLC0415 - each worker imports what it times, before it does

    found = schemes[scheme]
    start = _clock()
    values = list(modified_equation(found, order).values())
    return time.process_time() - start, len(values)


def peer(scheme: str, order: int) -> tuple[float, int]:
    """The same of kauri."""
    kauri = importlib.import_module(PEER)
    found = getattr(kauri, scheme)
    start = _clock()
    coefficients = found.modified_equation_map()
    values = [coefficients(tree) for n in range(1, order + 1) for tree in kauri.trees_of_order(n)]
    return time.process_time() - start, len(values)


def _clock() -> float:
    """The time, once what the imports have left is collected: else that takes a tenth of a second of some sample's."""
    gc.collect()
    return time.process_time()


WORKERS: dict[str, Callable[[str, int], tuple[float, int]]] = {"odenets": ours, PEER: peer}


def sample(who: str, scheme: str, order: int) -> tuple[float, int]:
    """One measurement in a fresh process."""
    seconds, count = answer("odenets.benchmarks.speed.series", ["--worker", who, scheme, str(order)], {})
    return float(seconds), int(count)


def cases() -> list[tuple[str, str, int]]:
    """(package, scheme, order) of every row."""
    found = [("odenets", scheme, order) for scheme, order in LIMITS]
    if importlib.util.find_spec(PEER) is not None:
        found += [(who, "rk4", order) for order in COMPARED for who in WORKERS]
    return found


def table(records: Sequence[dict[str, object]]) -> str:
    """The page of results."""
    rows = [["package", "scheme", "order", "coefficients", "seconds, least", "all samples", "claim"]]
    for r in records:
        seconds = [float(x) for x in r["seconds"]]  # type: ignore[attr-defined]
        limit = LIMITS.get((str(r["scheme"]), int(str(r["order"])))) if r["package"] == "odenets" else None
        claim = "" if limit is None else f"< {limit} s: {'holds' if max(seconds) < limit else 'FAILS'}"
        least, every = f"{min(seconds):.4f}", ", ".join(f"{x:.4f}" for x in seconds)
        rows.append([str(r["package"]), str(r["scheme"]), str(r["order"]), str(r["count"]), least, every, claim])
    return markdown("Exact modified equations, CPU seconds of a fresh process", rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table and writes it beside the numbers."""
    parser = Parser(prog="odenets bench series", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--processes", type=int, default=5, help="processes for each row (default: 5)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/series"), help="folder of the results")
    parser.add_argument("--worker", nargs=3, metavar=("PACKAGE", "SCHEME", "ORDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.worker:
        who, scheme, order = options.worker
        print(json.dumps(WORKERS[who](scheme, int(order))))
        return 0
    if options.processes < 1:
        parser.error(f"--processes: got {options.processes}, expected at least 1")
    records = []
    for who, scheme, order in tqdm(cases(), unit="row", disable=None):
        found = [sample(who, scheme, order) for _ in range(options.processes)]
        records.append(
            {"package": who, "scheme": scheme, "order": order, "count": found[0][1], "seconds": [s for s, _ in found]}
        )
    packages = versions() | ({PEER: metadata.version(PEER)} if len(cases()) > len(LIMITS) else {})
    told = ", ".join([processor(), *(f"{name} {version}" for name, version in packages.items())])
    page = f"# Series\n\n{table(records)}\n\n{told}\n"
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "series.json", {"processor": processor(), "versions": packages, "records": records})
    write_atomic(options.out / "series.md", page.encode())
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
