"""The command that writes the explorer, and opens it: explore."""

from __future__ import annotations

import argparse
import json
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

from odenets import OdenetsError, schemes

from ..explorer.page import LAYER, page
from ..networks.saved_files import read
from .scheme_columns import SCHEMES
from .scheme_rows import equation, row
from .shared_options import add_network, check_place

#: In the folder of a run of a study: what odenets study diagnose writes, and what tells that it is a finished run.
DIAGNOSIS, RESULT = "diagnosis.json", "result.json"
#: The page, where no other is asked for.
PAGE = Path("out/explorer.html")
MANY = 3  # runs that a message names


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help=f"shown over the regions: what odenets diagnose --json wrote, a run of a study with its {DIAGNOSIS}, or "
        "MODULE:FACTORY with --input, which is diagnosed first",
    )
    add_network(parser, required=False)
    parser.add_argument("--out", type=Path, default=PAGE, help=f"the page (default: {PAGE})")
    parser.add_argument("--no-open", action="store_true", help="write it, and open no browser")


def _network(options: argparse.Namespace) -> dict[str, Any] | None:
    """The diagnosis to be shown: none, the one in a file, or that of a network, made now."""
    if options.network is None or ":" not in options.network or Path(options.network).exists():
        if options.input is not None:
            raise OdenetsError(f"--input: got {options.input} without a network to diagnose, expected MODULE:FACTORY")
        return None if options.network is None else _read(Path(options.network))
    if options.input is None:
        raise OdenetsError(f"got the network {options.network!r} alone, expected --input FILE as well: a batch for it")
    from .diagnosis import diagnosed  # noqa: PLC0415 - loads torch

    return _with_spectrum(diagnosed(options, options.network).as_dict(), options.network)


def _read(path: Path) -> dict[str, Any]:
    """A diagnosis as JSON, or OdenetsError."""
    file = path / DIAGNOSIS if path.is_dir() else path
    if path.is_dir() and not file.exists():
        raise OdenetsError(f"{path}: got a folder without {DIAGNOSIS}, expected {_instead(path)}")
    expected = f"the JSON of odenets diagnose --json, or a run with the {DIAGNOSIS} of odenets study diagnose"
    found = read(file, lambda: json.loads(file.read_text(encoding="utf-8")), expected)
    blocks = found.get("blocks") if isinstance(found, dict) else None
    if not (isinstance(blocks, list) and all(isinstance(block, dict) and set(block) >= LAYER for block in blocks)):
        raise OdenetsError(f"{file}: got JSON that is no diagnosis, expected {expected}")
    return _with_spectrum(found, str(file))


def _instead(folder: Path) -> str:
    """What to give, or to do first: for a run of a study, a study's folder of runs, and any other folder."""
    if (folder / RESULT).exists():
        place = folder.resolve()
        return f"one; for this run it is written by: odenets study diagnose --out {place.parent} --run {place.name}"
    runs, diagnosed = (sorted(path.parent for path in folder.glob(f"*/{name}")) for name in (RESULT, DIAGNOSIS))
    if diagnosed:
        more = ", ..." if len(diagnosed) > MANY else ""
        return f"a run with it, such as {', '.join(map(str, diagnosed[:MANY]))}{more}"
    if runs:
        return f"a run that has it; for those in this folder it is written by: odenets study diagnose --out {folder}"
    return "a run of a study, or the JSON of odenets diagnose --json"


def _with_spectrum(diagnosis: dict[str, Any], of: str) -> dict[str, Any]:
    if not any(block["spectrum"] for block in diagnosis["blocks"]):
        raise OdenetsError(
            f"{of}: got a network no layer of which has a spectrum, expected one with layers that keep the shape"
        )
    return diagnosis


def _explore(options: argparse.Namespace) -> str:
    """Write the page; only its default folder is made, so that a mistyped --out is told of."""
    if options.out.parent == PAGE.parent:
        with suppress(OSError):  # which the next line tells of
            PAGE.parent.mkdir(exist_ok=True)
    check_place("--out", options.out)  # before the diagnosis, which may take minutes
    members = list(schemes.values())
    columns = [(column.head, column.meaning) for column in SCHEMES]
    diagnosis = _network(options)
    cells = {scheme.name: row(scheme) for scheme in members}
    text = page(members, columns, cells, {scheme.name: equation(scheme) for scheme in members}, diagnosis)
    options.out.write_text(text, encoding="utf-8")
    said = f"Wrote {options.out}"
    if options.no_open or webbrowser.open(options.out.resolve().as_uri()):
        return said
    return f"{said}; found no browser to open it in"


COMMANDS = {"explore": (_add, _explore)}
