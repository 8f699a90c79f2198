"""Elementary differentials F(t) as people write them, as LaTeX and as code; elementary weights.

F(t)(u) = f^(m)(u)(F(t_1)(u), ..., F(t_m)(u)) for the tree with subtrees t_1 ... t_m, and f(u) for a single
vertex (Hairer, Lubich & Wanner 2006, III.1). A tree whose vertices have colours has a function for each colour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_lowercase

from odenets.scheme.trees import Tree

PRIMES = 3  # f''' is still read at a glance, f^(4) is written with its number
LETTERS = ascii_lowercase[ascii_lowercase.index("i") :]  # the indices of sums over stages
ENOUGH = len(LETTERS)  # vertices with children; more are numbered


def function_names(number: int) -> tuple[str, ...]:
    """f; f, g for two functions; f1, f2, ... for more."""
    return ("f", "g")[:number] if number <= len("fg") else tuple(f"f{i + 1}" for i in range(number))


def differential_text(tree: Tree, names: Sequence[str] = ("f",), root: str = "") -> str:
    """F(t) in one line: ``f``, ``f'f``, ``f''(f,f)``, ``f'f''(f'f,f)``; ``root``: another name for the outermost f."""
    return _render(tree, names, "^({})", root)


def differential_latex(tree: Tree, names: Sequence[str] = ("f",), root: str = "") -> str:
    """F(t) for LaTeX's mathematics mode: as the text, but f_1 and f^{(4)}."""
    return _render(tree, [f"{name[0]}_{{{name[1:]}}}" if name[1:] else name for name in names], "^{{({})}}", root)


def _render(tree: Tree, names: Sequence[str], mark: str, root: str = "") -> str:
    colour, children = tree
    name = root or names[colour]
    if not children:
        return name
    name += "'" * len(children) if len(children) <= PRIMES else mark.format(len(children))
    inner = [_render(child, names, mark) for child in children]
    return name + inner[0] if len(inner) == 1 else f"{name}({','.join(inner)})"


def differential_code(tree: Tree, names: Sequence[str] = ("f",), state: str = "u") -> str:
    """F(t) as Python, with :func:`odenets.analysis.derivative`: ``derivative(f, u, f(u))`` for f'f."""
    colour, children = tree
    if not children:
        return f"{names[colour]}({state})"
    inner = ", ".join(differential_code(child, names, state) for child in children)
    return f"derivative({names[colour]}, {state}, {inner})"


def weight_text(tree: Tree) -> str:
    """Elementary weight of a Runge-Kutta scheme, summed over all indices: ``b_i``, ``b_i c_i``, ``b_i a_ij c_j^2``."""
    indices = (LETTERS[n] if n < ENOUGH else f"_{n}" for n in range(10**6))
    root = next(indices)
    return " ".join([f"b_{root}", *_weights(tree, root, indices)])


def _weights(tree: Tree, index: str, indices: Iterator[str]) -> list[str]:
    """The factors of one vertex: c for its leaves, then a and the rest for each other child."""
    leaves = sum(not children for _, children in tree[1])
    parts = [f"c_{index}" if leaves == 1 else f"c_{index}^{leaves}"] if leaves else []
    for child in tree[1]:
        if child[1]:
            own = next(indices)
            parts += [f"a_{index}{own}", *_weights(child, own, indices)]
    return parts
