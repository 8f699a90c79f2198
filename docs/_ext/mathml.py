"""Formulas as MathML, which browsers draw by themselves: no script, and no request to another host.

MathJax would be 2 MB of script. What MathML Core leaves out of MathML is put into style here: lines of a tableau, and
rows of ``gathered``. Some systems have no font with the measures that formulas need, so a part of STIX Two Math goes
with the site (SIL Open Font License; of the package ziamath, which brings it).
"""

from __future__ import annotations

import logging
import re
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from fontTools import subset
from latex2mathml.converter import convert

FONT = "STIXTwoMath-Regular.ttf"
#: What formulas are written in: Latin, Greek, punctuation, arrows, operators, italic and calligraphic letters.
CHARACTERS = (
    (0x20, 0x7F),
    (0xA0, 0xFF),
    (0x370, 0x3FF),
    (0x2010, 0x2060),
    (0x210E, 0x210E),  # the italic h has its place here, as Planck's constant
    (0x2190, 0x21FF),
    (0x2200, 0x22FF),
    (0x1D434, 0x1D4CF),
)
SPACE = "http://www.w3.org/1998/Math/MathML"
ElementTree.register_namespace("", SPACE)


def mathml(latex: str, display: str) -> str:
    """A formula of LaTeX as MathML, the ``display`` being "inline" or "block"."""
    latex = latex.strip().removeprefix(r"\displaystyle").strip()
    if latex.startswith(r"\begin{gathered}"):
        latex = latex.replace("{gathered}", "{matrix}")
    latex = re.sub(r"&\s*(?=&|\\\\|\\end)", "& {} ", latex)  # a row that ends with an empty cell is left out otherwise
    root = ElementTree.fromstring(convert(latex, display=display))
    for table in root.iter(f"{{{SPACE}}}mtable"):
        _draw_lines(table)
    return ElementTree.tostring(root, encoding="unicode")


def _draw_lines(table: ElementTree.Element) -> None:
    """The attributes rowlines and columnlines, of which MathML Core has none, as borders of the cells."""
    rows = table.findall(f"{{{SPACE}}}mtr")
    below, beside = (table.attrib.pop(name, "none").split() for name in ("rowlines", "columnlines"))
    for i, row in enumerate(rows):
        cells = row.findall(f"{{{SPACE}}}mtd")
        for j, cell in enumerate(cells):
            styles = [
                f"border-{side}: 1px solid"
                for side, lines, at, count in (("bottom", below, i, len(rows)), ("right", beside, j, len(cells)))
                if at < count - 1 and lines[min(at, len(lines) - 1)] != "none"  # the last one holds for the rest
            ]
            if styles:
                cell.set("style", "; ".join(styles))


def _inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _write_font(app: Any, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    options = subset.Options(flavor="woff", name_IDs=["*"], layout_features=["*"])
    with as_file(files("ziamath") / "fonts" / FONT) as path:
        font = subset.load_font(path, options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=[code for low, high in CHARACTERS for code in range(low, high + 1)])
    chosen.subset(font)
    subset.save_font(font, Path(app.outdir) / "_static" / "math.woff", options)


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("build-finished", _write_font)
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
