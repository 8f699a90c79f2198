"""Links of the pages to folders of the repository: on the site, which has no page of a folder, they are its name.

Links to its files are downloads, by MyST itself; the tests see that both lead somewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.transforms import SphinxTransform


class FoldersByName(SphinxTransform):
    """Takes the link away from around the name of a folder, before MyST looks for a page of that name."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """As Sphinx asks of a transform."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for link in list(self.document.findall(lambda node: node.tagname == "pending_xref")):
            target = link["reftarget"].partition("#")[0]
            if link["reftype"] == "myst" and link["refdomain"] is None and target and (here / target).is_dir():
                link.replace_self(nodes.inline("", "", *(child.deepcopy() for child in link.children)))


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.add_transform(FoldersByName)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
