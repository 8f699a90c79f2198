"""The schemes and their derived properties as tables of text, and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from odenets import Scheme

from ..text.tables import table
from .scheme_columns import LINEAR_NOTE, SCHEMES, STABILITY, Column
from .scheme_rows import row

PAGE = """\
# The schemes

Every scheme of `odenets.schemes`, with what follows from its coefficients, all of it computed. `rk4` is the classical
scheme of Kutta. The `rk4` of torchdiffeq is another one, the 3/8 rule: here `rk38`.

{lists}

`odenets.schemes.where(order=4, explicit=True)` finds schemes by their own properties;
`[name for name in odenets.schemes if odenets.analysis.l_stable(name)]`, after `import odenets.analysis`, by what the
analysis knows.

{legend}

Numbers are exact where that is short, else to 10 digits. What a free symbol, a learnable coefficient, decides
is said in terms of the symbol; `--set k=1/2` puts a number in its place. This page is written by
`odenets schemes --markdown > docs/schemes.md`, after the rows, which are kept in a file, are computed anew by
`odenets schemes --rows > analysis/cli/scheme_rows.json`.

{table}
"""
#: what is asked for most: a heading, and the column and the text in it of those that are listed
LISTS = {
    "L-stable": ("L-stable", "yes"),
    "A-stable": ("A(alpha)", "90"),
    "Reversible, each step undone explicitly": ("reversible", "yes"),
}


def stability_table(schemes: Iterable[Scheme], *, form: str = "text") -> str:
    """Intervals, zero-stability and stability polynomial, one scheme a line."""
    return _table(STABILITY, schemes, form, lambda scheme: [column.text(scheme) for column in STABILITY])


def schemes_table(schemes: Iterable[Scheme], *, form: str = "text") -> str:
    """All derived properties, one scheme a line; :data:`.scheme_columns.SCHEMES` says what they mean."""
    return _table(SCHEMES, schemes, form, row)


def schemes_page(schemes: Iterable[Scheme]) -> str:
    """docs/schemes.md: an introduction, who has which property, the meaning of each column, the table."""
    heads, rows = [column.head for column in SCHEMES], {scheme: row(scheme) for scheme in schemes}
    lists = []
    for what, (head, text) in LISTS.items():
        # Whether an additive scheme is stable depends on how lambda is shared among its functions.
        own = {scheme.name: cells[heads.index(head)] for scheme, cells in rows.items() if "additive" not in cells[1]}
        named = [f"`{name}`" for name, cell in own.items() if cell == text]
        lists.append(f"- **{what}**: {', '.join(named) or 'none'}")
    legend = "\n".join(f"- **{column.head}**: {column.meaning}" for column in SCHEMES)
    shown = _table(SCHEMES, rows, "markdown", rows.__getitem__)
    return PAGE.format(lists="\n".join(lists), legend=legend, table=shown).rstrip("\n")


def _table(columns: Sequence[Column], schemes: Iterable[Scheme], form: str, row: Callable[[Scheme], list[str]]) -> str:
    members = list(schemes)
    found = table([column.head for column in columns], list(map(row, members)), form)
    noted = form in ("text", "markdown") and any(scheme.linear_only for scheme in members)
    return f"{found}\n\n{LINEAR_NOTE}" if noted else found
