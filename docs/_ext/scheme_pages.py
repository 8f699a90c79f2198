"""A page for each scheme of the zoo, made of the scheme: docs/schemes/NAME.md and .svg, and an index of all.

Nothing is said of a scheme but what the package derives from its entries, and where they come from. The lines of code
are run as they stand on the page.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import sympy
from docutils import nodes
from sphinx import addnodes

from odenets import Scheme, SchemeError, analysis, mccallum_foster, schemes
from odenets.analysis import plot
from odenets.analysis.cli.scheme_columns import LINEAR_NOTE, SCHEMES
from odenets.analysis.cli.scheme_rows import row
from odenets.scheme.bibliography import cite
from odenets.scheme.tableau import latex
from odenets.scheme.trees import trees_of_order

FOLDER = "docs/schemes"
RESOLUTION = 120  # points a side of a region: its rim is interpolated between them, and looks the same with more
LONGEST = 16  # characters of an entry; longer fractions are shown as decimals
SHOWN_DIGITS = 8
FULL_EQUATION = 4  # of a higher order, the terms after f fill the page
UNSAID = ("scheme", "reference")


def page(scheme: Scheme) -> str:
    """The page of a scheme, as MyST Markdown."""
    cells = dict(zip((column.head for column in SCHEMES), row(scheme), strict=True))
    parts = [
        f"# {scheme.name}",
        f"An {cells['kind']} scheme" if cells["kind"][0] in "aeiou" else f"A {cells['kind']} scheme",
        _tableau(scheme),
        _table(cells),
        _order(scheme),
        f"## Stability region\n\n![Stability region of {scheme.name}]({scheme.name}.svg)\n\n{_region_said(scheme)}",
        f"## The equation it solves\n\n{_equation(scheme)}",
        f"## A step undone\n\n{_undone(scheme)}",
        f"## In code\n\n```python\n{code(scheme)}```",
    ]
    source = cite(scheme.reference)
    parts[1] += f" of {_plural(scheme.stages, 'stage')}. Source: {source}." if source else "."
    return "\n\n".join(part for part in parts if part) + "\n"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _block(formula: str) -> str:
    return f"```{{math}}\n{formula.strip('$').strip()}\n```"


def _tableau(scheme: Scheme) -> str:
    """The tableau or the blocks A, U, B, V; long numbers rounded."""
    matrices = {block: getattr(scheme, block) for block in ("A", "U", "B", "V", "Gamma")}
    entries = [x for matrix in matrices.values() if matrix is not None for x in matrix]
    if max(len(str(x)) for x in entries) <= LONGEST or scheme.symbols:
        return _block(latex(scheme, scheme.nodes)) + _blocks_said(scheme)
    rounded = {name: matrix and matrix.applyfunc(_short) for name, matrix in matrices.items()}
    shape = types.SimpleNamespace(**rounded, stages=scheme.stages, carried=scheme.carried)
    formula = _block(latex(shape, [_short(c) for c in scheme.nodes]))
    given = f"right to {scheme.digits} digits" if scheme.digits else "exact"
    said = f"The entries of `odenets.schemes` are {given}; long ones are shown to {SHOWN_DIGITS} digits."
    return f"{formula}\n\n{said}{_blocks_said(scheme)}"


def _short(x: sympy.Expr) -> sympy.Expr:
    shown = x if len(str(x)) <= LONGEST else x.n(SHOWN_DIGITS)
    return sympy.Integer(shown) if shown == int(shown) else shown


def _blocks_said(scheme: Scheme) -> str:
    if scheme.Gamma is not None:
        return (
            "\n\nA and Γ stand beside each other: the slopes are K = F(Y) + h f'(u) Γ K; where f depends on t, h df/dt "
            "times the sum of the row of Γ besides."
        )
    if scheme.carried == 1 and scheme.V[0, 0] == 1:
        return ""
    return (
        "\n\nThe nodes c stand before the blocks A, U over B, V: the stages are Y = h A F(Y) + U y, and what a step "
        "hands to the next is y⁺ = h B F(Y) + V y, its first value the solution."
    )


def _table(cells: dict[str, str]) -> str:
    meanings = {column.head: column.meaning for column in SCHEMES}
    lines = [f"| {head} | {text} | {meanings[head]} |" for head, text in cells.items() if head not in UNSAID]
    return "\n".join(["| | | |", "|---|---|---|", *lines])


def _order(scheme: Scheme) -> str:
    """How many conditions its order is, and of how many it is the first that is missed."""
    if scheme.linear_only:
        return LINEAR_NOTE.partition(" ")[2]
    p = scheme.order
    held, next_ones = (sum(len(trees_of_order(n, scheme.functions)) for n in ns) for ns in (range(1, p + 1), (p + 1,)))
    if p == 0:
        return "No order holds for every value of its coefficients: [what it solves](#the-equation-it-solves)."
    hold = (
        "the condition of the tree of one vertex holds"
        if p == 1
        else f"the {held} conditions of the trees up to it hold"
    )
    return f"Order {p}: {hold}; of the {next_ones} for order {p + 1}, one at least does not."


def _values(scheme: Scheme) -> list[dict[str, Any]]:
    """Coefficients to draw it with: the ends of the range that they start in, and what is as far on the other side."""
    if not scheme.symbols:
        return [{}]
    ranges = {name: (sympy.Rational(str(low)), sympy.Rational(str(high))) for name, low, high in scheme.init}
    if len(ranges) > 1:
        return [{name: (low + high) / 2 for name, (low, high) in ranges.items()}]
    ((name, (low, high)),) = ranges.items()
    return [{name: value} for value in sorted({low, high, sympy.Rational(1, 2), -sympy.Rational(1, 2)})]


def figure(scheme: Scheme) -> Any:
    """Its stability region, or regions at some values of its one coefficient."""
    values = _values(scheme)
    if len(values) > 1:
        (name,) = values[0]
        return plot.stability_family(scheme, {name: [one[name] for one in values]}, resolution=RESOLUTION)
    found = plot.stability_region(scheme, resolution=RESOLUTION, title="", **values[0])
    for axes in found.axes:
        axes.get_legend().remove()
    return found


def _region_said(scheme: Scheme) -> str:
    values = _values(scheme)
    said = "Where |ζ| ≤ 1 for u' = λu, z = hλ. "
    if scheme.symbols and len(values) == 1:
        said = f"Where |ζ| ≤ 1 for u' = λu, z = hλ, at {', '.join(f'{n} = {x}' for n, x in values[0].items())}. "
    if scheme.components > 1:
        said = "Of the oscillator, f(y) = z y and g(x) = z x. " + said
    elif scheme.several:
        said = "Of f(u) = g(u) = z u / 2. " + said
    return f'{said}<a href="../play.html#s={scheme.name}">Open it in the explorer</a>.'


def _equation(scheme: Scheme) -> str:
    p = max(scheme.order, 1)
    full = p <= FULL_EQUATION
    try:
        equation = analysis.modified_equation(scheme, p + 1 if full else p)
        if equation._repr_latex_() is None:  # it would fill the page as well: trees of several functions are many
            full, equation = False, analysis.modified_equation(scheme, p)
    except SchemeError as error:
        return f"It has no modified equation: {error}."
    more = "" if full else f"\n\n`analysis.modified_equation({scheme.name!r}, {p + 1})` has the terms after f."
    return f"{_block(equation._repr_latex_())}{more}\n\n[What this says](../modified-equations.md)."


def _undone(scheme: Scheme) -> str:
    if scheme.reversible:
        a, u, b, v = (sympy.latex(block) for block in scheme.inverse)
        formula = rf"A = {a}, \quad U = {u}, \quad B = {b}, \quad V = {v}"
        cells = dict(zip((column.head for column in SCHEMES), row(scheme), strict=True))
        factor = cells["amplification"].replace("depends", "a factor that depends")
        return (
            "The same functions give back what there was before the step, by the scheme\n\n"
            f"{_block(formula)}\n\nA step undone multiplies rounding errors by {factor}: "
            "[how far that goes](../gradients.md)."
        )
    if scheme.Gamma is not None:
        return "A step cannot be undone explicitly."
    if _can_be_coupled(scheme):
        return (
            "A step cannot be undone explicitly. `odenets.mccallum_foster` makes a scheme of it that can, at twice the "
            'evaluations; or store every √N-th state, [`gradient="checkpoint"`](../gradients.md).'
        )
    return 'A step cannot be undone explicitly; [`gradient="checkpoint"`](../gradients.md) stores every √N-th state.'


def _can_be_coupled(scheme: Scheme) -> bool:
    """Whether the coupling of McCallum and Foster can be made of it, and be undone."""
    try:
        return mccallum_foster(scheme).reversible
    except SchemeError:
        return False


def code(scheme: Scheme) -> str:
    """Lines that run it."""
    if scheme.Gamma is not None:  # its steps take derivatives of f, which layers of a network do not give
        return (
            "import torch\nimport odenets\n\n"
            f"solution = odenets.solve(lambda t, u: -u, torch.ones(1), (0, 1), {scheme.name!r}, steps=10)\n"
            f"print(solution, odenets.schemes[{scheme.name!r}])\n"
        ).replace("'", '"')
    modules, width = max(scheme.modules) + 1, 4 // scheme.components
    layer = f"nn.Linear({width}, {width})"
    block = layer if modules == 1 else f"[{', '.join([layer] * modules)}]"
    return (
        "import torch\nfrom torch import nn\nimport odenets\n\n"
        f"blocks = [{block} for _ in range(10)]\n"
        f"net = odenets.ODENet(blocks, {scheme.name!r}, h=0.1)\n"
        "net(torch.ones(8, 4))\n"
        f"print(odenets.schemes[{scheme.name!r}])\n"
    ).replace("'", '"')


def index(members: Iterable[Scheme]) -> str:
    """All schemes by kind, each with its region."""
    kinds: dict[str, list[str]] = {}
    for scheme in members:
        kinds.setdefault(row(scheme)[1], []).append(scheme.name)
    parts = ["# Scheme by scheme", "A page for each, with its stability region. [All in one table](../schemes.md)."]
    for kind, names in kinds.items():
        cards = "\n".join(f"- [![]({name}.svg) {name}]({name}.md)" for name in names)
        parts += [f"## {kind[0].upper()}{kind[1:]}", f"{{.regions}}\n{cards}"]
    toctree = "\n".join(name for names in kinds.values() for name in names)
    return "\n\n".join([*parts, f"```{{toctree}}\n:hidden:\n\n{toctree}\n```"]) + "\n"


def _generate(app: Any) -> None:
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "odenets"}):
        for scheme in schemes.values():
            exec(code(scheme), {"print": lambda *_: None})
            (folder / f"{scheme.name}.md").write_text(page(scheme), encoding="utf-8")
            figure(scheme).savefig(folder / f"{scheme.name}.svg", metadata={"Date": None})
    (folder / "index.md").write_text(index(schemes.values()), encoding="utf-8")


def _link_the_table(app: Any, doctree: nodes.document) -> None:
    """The names in the table of docs/schemes.md lead to the pages."""
    if app.env.docname != FOLDER:
        return
    for line in doctree.findall(nodes.row):
        (text,) = list(line[0].findall(nodes.Text))[:1] or [""]
        name = str(text).split(" ", maxsplit=1)[0]
        if name in schemes:
            target = addnodes.pending_xref(
                "", refdomain="std", reftype="doc", reftarget=f"/{FOLDER}/{name}", refdoc=FOLDER, refexplicit=True
            )
            target += nodes.inline("", str(text))
            text.parent.replace(text, target)


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("builder-inited", _generate)
    app.connect("doctree-read", _link_the_table)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
