"""Formulas as docstrings write them, ``u_{n+1} = u_n + h sum_i b_i F(Y_i)``, as LaTeX.

Letters are letters, names of Greek letters stand for those, longer words are words; ``y+`` is the next y, ``f'`` has a
prime. Three spaces and more part a formula from the next one, or from what is said of it.
"""

from __future__ import annotations

import ast
import re
import textwrap

GREEK = "alpha beta gamma delta epsilon zeta eta theta lambda mu nu xi pi rho sigma tau phi psi"
CAPITAL = "Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi"
NAMED = {name: rf"\{name}" for name in (*GREEK.split(), *CAPITAL.split(), "sum", "max", "min", "log", "exp", "det")}
SIGNS = {">=": r"\ge", "<=": r"\le", "->": r"\to", "...": r"\ldots", "!=": r"\ne", "'": "'"}
TOKEN = re.compile(
    r"(?P<next>(?<=[A-Za-z0-9_])\+(?=[\s,).]|$))"  # the sign of y+, which no space parts from its letter
    r"|(?P<differential>\bd(?:[a-z]|theta|lambda)\b)"  # df/du
    r"|(?P<index>[_^](?:\{[^{}]*\}|\([^()]*\)|-?\w))"  # one sign, or what is in brackets
    r"|(?P<word>[A-Za-z]+(?:'s\b)?)|(?P<sign>>=|<=|->|!=|\.\.\.|')|(?P<space>\s+)|(?P<other>.)"
)
PARTED = re.compile(r"\s{3,}")


def latex(block: str) -> str | None:
    """The LaTeX of an indented block, its lines and parts in rows and columns; None where it is Python."""
    text = textwrap.dedent(block).strip()
    try:
        ast.parse(text)
    except SyntaxError:
        rows = [[_part(part) for part in PARTED.split(line.strip())] for line in text.splitlines()]
        if len(rows) == 1:
            return r" \quad ".join(rows[0])
        lines = r" \\ ".join(" & ".join(row) for row in rows)
        return rf"\begin{{array}}{{{'l' * max(map(len, rows))}}} {lines} \end{{array}}"
    return None


def _part(text: str) -> str:
    # An index of several letters goes into brackets, so that it is one token: alpha_ij, b_next.
    text = re.sub(r"_([A-Za-z]{2,})", r"_{\1}", text)
    found = "".join(_token(match) for match in TOKEN.finditer(text))
    # Beside words a space is one, between letters it is none.
    found = re.sub(r"(?<=[\w};]) (?=\\text)", r"\\ ", found)
    return re.sub(r"(\\text\{[^{}]*\}) (?=\w)", r"\1\\ ", found).strip()


def _token(match: re.Match[str]) -> str:
    kind, text = match.lastgroup, match[0]
    if kind == "next":
        return "^{+}"
    if kind == "differential":
        return rf"d {NAMED.get(text[1:], text[1:])}"
    if kind == "index":
        return f"{text[0]}{{{_index(text[1:])}}}"
    if kind == "sign":
        return SIGNS[text]
    if kind == "word":
        return _word(text)
    return " " if kind == "space" else text


def _index(text: str) -> str:
    """What is in brackets without them, unless it is a name alone: u^(m) is a derivative, h^(m-1) a power."""
    inside = text[1:-1] if text[0] in "{(" else text
    if text[0] == "(" and inside.isalnum():
        return text
    if text[0] == "{" and inside.isalpha() and len(inside) <= 2:  # alpha_ij
        return inside
    return _part(inside)


def _word(text: str) -> str:
    if text in NAMED:
        return NAMED[text]
    return text if len(text) == 1 else rf"\text{{{text}}}"
