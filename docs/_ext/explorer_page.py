"""The explorer in the site: the page that ``odenets explore`` writes, beside the start page, and a link to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes

from odenets.analysis.cli import main

FILE = "play.html"
#: The page that tells of it, on which the link stands below the title.
ABOUT = "docs/explorer"
#: What the page does not have where ``odenets explore`` opens it by itself: the way back.
END, BACK = "</header>", '<p><a href="explorer.html">What this page shows, and how it computes</a></p>\n'


def _write(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / Path(app.config.root_doc).parent
        if main(["explore", "--no-open", "--out", str(folder / FILE)]):
            raise RuntimeError("odenets explore: got an error, expected the page")
        text = (folder / FILE).read_text(encoding="utf-8")
        (folder / FILE).write_text(text.replace(END, BACK + END, 1), encoding="utf-8")


def _link(app: Any, doctree: nodes.document, name: str) -> None:
    if name == ABOUT and app.builder.format == "html":
        title = next(doctree.findall(nodes.title))
        link = nodes.reference("", "Open the explorer", refuri=FILE, classes=["open"])
        title.parent.insert(1, nodes.paragraph("", "", link))


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("build-finished", _write)
    app.connect("doctree-resolved", _link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
