"""The command that writes the explorer, and opens it: explore."""

from __future__ import annotations

import argparse
import json
import webbrowser
from pathlib import Path
from typing import Any

from odenets import OdenetsError, schemes

from ..explorer.page import LAYER, page
from ..networks.saved_files import read
from .scheme_columns import SCHEMES
from .scheme_rows import row
from .shared_options import add_network

#: In the folder of a run of a study.
DIAGNOSIS = "diagnosis.json"


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "network",
        nargs="?",
        metavar="NETWORK",
        help=f"shown over the regions: what odenets diagnose --json wrote, a run of a study with its {DIAGNOSIS}, or "
        "MODULE:FACTORY with --input, which is diagnosed first",
    )
    add_network(parser, required=False)
    parser.add_argument(
        "--out", type=Path, default=Path("out/explorer.html"), help="the page (default: out/explorer.html)"
    )
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

    return diagnosed(options, options.network).as_dict()


def _read(path: Path) -> dict[str, Any]:
    """A diagnosis as JSON, or OdenetsError."""
    file = path / DIAGNOSIS if path.is_dir() else path
    expected = f"the JSON of odenets diagnose --json, or a run with the {DIAGNOSIS} of odenets study diagnose"
    found = read(file, lambda: json.loads(file.read_text(encoding="utf-8")), expected)
    blocks = found.get("blocks") if isinstance(found, dict) else None
    if not (isinstance(blocks, list) and all(isinstance(block, dict) and set(block) >= LAYER for block in blocks)):
        raise OdenetsError(f"{file}: got JSON that is no diagnosis, expected {expected}")
    if not any(block["spectrum"] for block in blocks):
        raise OdenetsError(f"{file}: got a diagnosis without a spectrum, expected one of a network with layers to show")
    return found


def _explore(options: argparse.Namespace) -> str:
    """Write the page; only its default folder is made, so that a mistyped --out is told of."""
    members = list(schemes.values())
    columns = [(column.head, column.meaning) for column in SCHEMES]
    diagnosis = _network(options)
    text = page(members, columns, {scheme.name: row(scheme) for scheme in members}, diagnosis)
    try:
        if options.out.parent == Path("out"):
            options.out.parent.mkdir(exist_ok=True)
        options.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OdenetsError(f"--out: got {str(options.out)!r}, expected a place to write to: {error}") from error
    said = f"Wrote {options.out}"
    if options.no_open or webbrowser.open(options.out.resolve().as_uri()):
        return said
    return f"{said}; found no browser to open it in"


COMMANDS = {"explore": (_add, _explore)}
