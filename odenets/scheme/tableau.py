"""A scheme as text: the Butcher tableau of a one-step scheme, else the blocks of the method."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from .general_linear_method import GeneralLinearMethod


def render(scheme: GeneralLinearMethod, nodes: Sequence[sympy.Expr]) -> str:
    """The tableau c | A over b for a one-step scheme, A | Gamma of a Rosenbrock scheme; else [A U; B V] and nodes."""
    left = [[str(c)] for c in nodes] + [[""]] * scheme.carried
    upper = [[str(x) for x in row] for row in scheme.A.tolist()]
    lower = [[str(x) for x in row] for row in scheme.B.tolist()]
    blocks = [left, upper + lower]
    if scheme.Gamma is not None:
        blocks.append([[str(x) for x in row] for row in [*scheme.Gamma.tolist(), [""] * scheme.stages]])
    if scheme.carried > 1 or scheme.V[0, 0] != 1:
        blocks.append([[str(x) for x in row] for row in scheme.U.tolist() + scheme.V.tolist()])
    widths = [[max(len(row[j]) for row in block) for j in range(len(block[0]))] for block in blocks]
    lines = []
    for i in range(scheme.stages + scheme.carried):
        if i == scheme.stages:
            lines.append("-+-".join("-" * (sum(w) + 2 * (len(w) - 1)) for w in widths))
        cells = (
            "  ".join(x.rjust(w) for x, w in zip(block[i], width, strict=True))
            for block, width in zip(blocks, widths, strict=True)
        )
        lines.append(" | ".join(cells).rstrip())
    return "\n".join(lines)


def latex(scheme: GeneralLinearMethod, nodes: Sequence[sympy.Expr]) -> str:
    """The same as an array of LaTeX's mathematics mode."""
    one_step = scheme.carried == 1 and scheme.V[0, 0] == 1
    if scheme.Gamma is not None:
        right = [*scheme.Gamma.tolist(), [sympy.Symbol("")] * scheme.stages]
    else:
        right = [[] if one_step else list(row) for row in scheme.U.tolist() + scheme.V.tolist()]
    left = [*nodes, *[sympy.Symbol("")] * scheme.carried]
    rows = [[c, *row, *rest] for c, row, rest in zip(left, scheme.A.tolist() + scheme.B.tolist(), right, strict=True)]
    lines = [" & ".join(map(sympy.latex, row)) for row in rows]
    upper, lower = (r" \\ ".join(part) for part in (lines[: scheme.stages], lines[scheme.stages :]))
    columns = "c|" + "c" * scheme.stages + ("|" + "c" * len(right[0]) if right[0] else "")
    return rf"\begin{{array}}{{{columns}}} {upper} \\ \hline {lower} \end{{array}}"
