"""The site asks nothing of another host: the build fails where a page would, by a script, a style, a picture or a font.

Links that a reader may follow are no requests. What a browser really asks for is seen in tests/docs/test_docs_site.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

#: An address in what a browser loads by itself.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video|audio|embed|input|object)\b[^>]*?\b(?:src|srcset|data)\s*=\s*[\"']?(?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|icon|modulepreload|preconnect))[^>]*\bhref\s*=\s*[\"']?(?:https?:)?//"
    r"|@import\s+[^;]*//|url\(\s*[\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def requests(folder: Path) -> list[str]:
    """What would be asked of another host, each with its file."""
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.suffix in {".html", ".css", ".svg"}):
        found += [f"{file}: {match[0]}" for match in LOADED.finditer(file.read_text(encoding="utf-8"))]
    return found


def _check(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html" and (found := requests(Path(app.outdir))):
        raise RuntimeError("got pages that ask other hosts, expected none:\n" + "\n".join(found))


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("build-finished", _check, priority=900)  # after what others write
    return {"parallel_read_safe": True, "parallel_write_safe": True}
