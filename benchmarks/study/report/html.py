"""The report as one file of HTML: its Markdown, the figures in it, and a style sheet. No script, nothing is loaded."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

import markdown

#: An inch of a figure, as it is written, and as CSS has it.
DPI, PIXELS = 150, 96
STYLE = Path(__file__).with_name("style.css")
IMAGE = re.compile(r'(<img alt="[^"]*" src=")([^"]+\.png)"')
FRAME = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def page(title: str, text: str, folder: Path) -> str:
    """The page of a text in Markdown, whose figures lie in a folder."""
    body = markdown.markdown(text, extensions=["tables"], output_format="html")
    # A wide table scrolls in a box of its own, which a keyboard can reach; the page does not.
    body = body.replace("<table>", '<div class="table" tabindex="0"><table>').replace("</table>", "</table></div>")
    body = IMAGE.sub(lambda found: f'{found[1]}{_embedded((folder / found[2]).read_bytes())}"', body)
    return FRAME.format(title=plain(title), style=STYLE.read_text(encoding="utf-8"), body=body)


def _embedded(png: bytes) -> str:
    """The figure as a URI, and its width on a screen: letters have one size in all figures, as on paper."""
    width = int.from_bytes(png[16:20], "big")  # of the header, IHDR (PNG specification, 11.2.2)
    return f'data:image/png;base64,{base64.b64encode(png).decode()}" width="{round(PIXELS * width / DPI)}'


def plain(text: str) -> str:
    """Text from elsewhere, such as a title or an error, as text: tags in it would be taken for HTML."""
    return html.escape(text, quote=False)
