"""The report of a folder of results: report.md, its figures, and report.html, which is one file with all of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from ...common.files import write_atomic
from .. import costs, diagnose, study_file
from ..result import Result
from . import html, missing, section, tables
from .cells import by_recipe
from .figures import Picture
from .looks import looks
from .missing import Named

TEXT, PAGE = "report.md", "report.html"
TITLE = "Depth against accuracy"


def write(results: Sequence[Result], out: Path) -> str:
    """Writes the report into ``out``, each file atomically; returns the tables for the terminal, and where it is.

    Raises:
        ResultError: results that cannot stand in one table, or a damaged file beside them.
    """
    measured, studies = costs.read(out), missing.studies(out)
    found = {name: section.content(group, measured) for name, group in by_recipe(results).items()}
    drawn = looks(run.config.label for run in results)
    named = [study.name for study in studies if study.name in study_file.shipped()]
    measure = f"odenets study plan {named[0] if len(named) == 1 else 'FILE'} --out {out}"
    parts = []
    for name, one in found.items():
        pictures = {heading: [_put(p, name, out) for p in own] for heading, own in section.pictures(one, drawn).items()}
        parts.append(section.text(one, pictures, studies, measure))
    title = studies[0].title if len(studies) == 1 else TITLE
    text = "\n\n".join([f"# {html.plain(title)}", *parts, *_unfinished(studies), *_diagnoses(results, out), ""])
    write_atomic(out / TEXT, text.encode())
    write_atomic(out / PAGE, html.page(title, text, out).encode())
    shown = [
        f"{name}: test error in %, mean ± sample std over n seeds\n\n{tables.errors(one.table)}"
        for name, one in found.items()
    ]
    return "\n\n".join([*shown, f"report: {out / PAGE}"])


def file_name(kind: str, recipe: str) -> str:
    """Of a figure, beside the report."""
    return f"{kind}-{recipe}.png"


def _put(picture: Picture, recipe: str, out: Path) -> str:
    """Writes a figure; returns the Markdown that shows it with its caption."""
    name = file_name(picture.kind, recipe)
    buffer = io.BytesIO()
    picture.figure.savefig(buffer, format="png", dpi=html.DPI)
    write_atomic(out / name, buffer.getbuffer())
    return f"![{picture.kind.replace('_', ' ')}]({name})\n\n*{picture.caption}*"


def _unfinished(studies: Sequence[Named]) -> list[str]:
    """What the studies of the folder name and is not finished."""
    parts = [
        "\n".join(
            [
                f"Of the {study.runs} runs of study {study.name}:",
                "",
                *(f"- {one.run}: {html.plain(one.standing)}" for one in study.missing),
            ]
        )
        for study in studies
        if study.missing
    ]
    return ["## Not finished", *parts] if parts else []


def _diagnoses(results: Sequence[Result], out: Path) -> list[str]:
    """Links to the diagnoses that are there."""
    runs = [run.config.name for run in diagnose.diagnosed(results, out)]
    links = [[f"[{suffix.lstrip('.')}]({run}/{diagnose.STEM}{suffix})" for suffix in diagnose.SUFFIXES] for run in runs]
    lines = [f"- {run}: {', '.join(own)}" for run, own in zip(runs, links, strict=True)]
    what = "Spectra of the layers over the stability regions of their schemes, by `odenets study diagnose`:"
    return ["## Diagnosis", what, "\n".join(lines)] if runs else []
