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

#: In the folder of a run of a study.
DIAGNOSIS = "diagnosis.json"


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "diagnosis",
        type=Path,
        nargs="?",
        metavar="DIAGNOSIS",
        help=f"what odenets diagnose --json wrote, or a run of a study with its {DIAGNOSIS}: shown over the regions",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/explorer.html"), help="the page (default: out/explorer.html)"
    )
    parser.add_argument("--no-open", action="store_true", help="write it, and open no browser")


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
    diagnosis = None if options.diagnosis is None else _read(options.diagnosis)
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
