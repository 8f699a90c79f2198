"""The command that writes the explorer, and opens it: explore."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from odenets import OdenetsError, schemes

from ..explorer.page import page
from .scheme_columns import SCHEMES
from .scheme_rows import row


def _add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", type=Path, default=Path("out/explorer.html"), help="the page (default: out/explorer.html)"
    )
    parser.add_argument("--no-open", action="store_true", help="write it, and open no browser")


def _explore(options: argparse.Namespace) -> str:
    """Write the page; only its default folder is made, so that a mistyped --out is told of."""
    members = list(schemes.values())
    columns = [(column.head, column.meaning) for column in SCHEMES]
    text = page(members, columns, {scheme.name: row(scheme) for scheme in members})
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
