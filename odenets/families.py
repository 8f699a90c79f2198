"""Families of schemes, generated from what defines them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from .constructors import multistep, runge_kutta
from .exact import Entries, exact, exact_matrix
from .quadrature import derivatives, integrals
from .scheme import Scheme


def adams_bashforth(steps: int) -> Scheme:
    """u_{n+1} = u_n + h int_0^1 p, p through f at n, n-1, ..., n-steps+1. Order = steps."""
    past = [-j for j in range(steps)]
    return multistep(f"ab{steps}", a=[1], b=integrals(past, 0, 1), reference="bashforth1883")


def adams_moulton(order: int) -> Scheme:
    """u_{n+1} = u_n + h int_0^1 p, p through f at n+1, n, ..., n-order+2."""
    new, *past = integrals([1 - j for j in range(order)], 0, 1)
    return multistep(f"am{order}", a=[1], b=past, b_next=new, reference="moulton1926")


def nystrom(steps: int, name: str = "", reference: str = "nystrom1925") -> Scheme:
    """u_{n+1} = u_{n-1} + h int_{-1}^1 p, p through f at n, n-1, ..., n-steps+1."""
    past = [-j for j in range(steps)]
    return multistep(name or f"nystrom{steps}", a=[0, 1], b=integrals(past, -1, 1), reference=reference)


def milne_simpson() -> Scheme:
    """u_{n+1} = u_{n-1} + h int_{-1}^1 p, p through f at n+1, n, n-1: Simpson's rule. Order 4."""
    new, *past = integrals([1, 0, -1], -1, 1)
    return multistep("milne_simpson", a=[0, 1], b=past, b_next=new, reference="milne1926")


def bdf(steps: int) -> Scheme:
    """p'(n+1) = f(u_{n+1}), p through u at n+1, n, ..., n-steps+1: backward differentiation."""
    new, *past = derivatives([1 - j for j in range(steps + 1)], 1)
    return multistep(f"bdf{steps}", a=[-c / new for c in past], b=[0], b_next=1 / new, reference="curtiss1952")


def pece(steps: int) -> Scheme:
    """Adams-Bashforth predicts, Adams-Moulton with as many past slopes corrects, f is evaluated at both.

    The final evaluation f(u_{n+1}) is the first one of the next step, so the stages are at u_n and
    at the predicted value. Order steps + 1.
    """
    predictor = integrals([-j for j in range(steps)], 0, 1)
    new, *corrector = integrals([1 - j for j in range(steps + 1)], 0, 1)
    r = steps
    shift = [[int(j == i - 1 and i > 1) for j in range(r)] for i in range(r)]
    V = [[1, *corrector[1:]], *shift[1:]]
    B = [[corrector[0], new], *([int(i == 1), 0] for i in range(1, r))]
    U = [[1] + [0] * (r - 1), [1, *predictor[1:]]]
    return Scheme(f"pece{steps}", [[0, 0], [predictor[0], 0]], U, B, V, reference="moulton1926")


def shu_osher(name: str, alpha: Entries, beta: Entries, **options: Any) -> Scheme:
    """A Runge-Kutta scheme from its Shu-Osher form,

        Y_i = sum_j alpha_ij Y_j + h beta_ij F(Y_j),   i = 1, ..., s,   Y_0 = u_n,   u_{n+1} = Y_s,

    with j < i. ``alpha`` and ``beta`` have the rows i = 1 ... s, of lengths 1 ... s.
    Source: Shu & Osher (1988); Gottlieb, Ketcheson & Shu (2011).
    """
    s = len(alpha)
    padded = [[*row, *[0] * (s - len(row))] for row in alpha], [[*row, *[0] * (s - len(row))] for row in beta]
    a, b = (exact_matrix(rows, f"{name}.{letter}") for rows, letter in zip(padded, "ab", strict=True))
    rows = [sympy.zeros(1, s)]
    for i in range(s):
        rows.append(sum((a[i, j] * rows[j] for j in range(i + 1)), start=b.row(i)))
    return runge_kutta(name, [list(row) for row in rows[:s]], list(rows[s]), **options)


def unit_rows(count: int, value: Any, first: int = 0) -> list[list[Any]]:
    """Shu-Osher rows whose last entry alone is not 0: Euler steps one after the other."""
    return [[*[0] * i, value] for i in range(first, first + count)]


def collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """The Runge-Kutta scheme whose stages collocate at the nodes: A_ij = int_0^{c_i} l_j, b_j = int_0^1 l_j.

    Source: Hairer, Norsett & Wanner (1993), II.7.
    """
    A = [integrals(nodes, 0, node) for node in nodes]
    return runge_kutta(name, A, integrals(nodes, 0, 1), nodes, **options)


def gauss_nodes(s: int) -> list[sympy.Expr]:
    """Zeros of the Legendre polynomial shifted to [0, 1]."""
    return _zeros(sympy.legendre(s, 2 * sympy.Symbol("x") - 1))


def radau_nodes(s: int, end: int) -> list[sympy.Expr]:
    """Radau nodes on [0, 1] that include the given end, 0 (left, I) or 1 (right, II)."""
    y = 2 * sympy.Symbol("x") - 1
    sign = 1 if end == 0 else -1
    return _zeros(sympy.legendre(s, y) + sign * sympy.legendre(s - 1, y))


def lobatto_nodes(s: int) -> list[sympy.Expr]:
    """Lobatto nodes on [0, 1]: both ends, and the zeros of P'_{s-1}."""
    y = 2 * sympy.Symbol("x") - 1
    return _zeros(sympy.legendre(s, y) - sympy.legendre(s - 2, y))


def _zeros(polynomial: sympy.Expr) -> list[sympy.Expr]:
    x = sympy.Symbol("x")
    return sorted((sympy.radsimp(root) for root in sympy.roots(sympy.expand(polynomial), x)), key=float)


def adjoint_collocation(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Radau IA's kind: quadrature weights b, and A from sum_i b_i c_i^(q-1) A_ij = b_j (1 - c_j^q)/q, q = 1 ... s.

    Source: Hairer & Wanner (1996), IV.5, condition D(s).
    """
    s, c = len(nodes), [sympy.sympify(node) for node in nodes]
    b = integrals(nodes, 0, 1)
    left = sympy.Matrix(s, s, lambda q, i: b[i] * c[i] ** q)
    right = sympy.Matrix(s, s, lambda q, j: b[j] * (1 - c[j] ** (q + 1)) / (q + 1))
    return runge_kutta(name, (left.inv() * right).applyfunc(sympy.radsimp), b, **options)


def lobatto_iiic(name: str, nodes: Sequence[Any], **options: Any) -> Scheme:
    """Lobatto IIIC: A_i1 = b_1 and sum_j A_ij c_j^(q-1) = c_i^q / q, q = 1 ... s-1 (Chipman 1971)."""
    s, c = len(nodes), [sympy.sympify(node) for node in nodes]
    b = integrals(nodes, 0, 1)
    powers = sympy.Matrix(s - 1, s - 1, lambda q, j: c[j + 1] ** q)
    rows = []
    for node in c:
        moments = sympy.Matrix(s - 1, 1, lambda q, _, node=node: node ** (q + 1) / (q + 1) - b[0] * c[0] ** q)
        rows.append([b[0], *(powers.inv() * moments)])
    return runge_kutta(name, rows, b, nodes, **options)


def lm(steps: int) -> Scheme:
    """LM with a trained coefficient per past solution:

        u_{n+1} = (1 - k_1 - ... - k_m) u_n + k_1 u_{n-1} + ... + k_m u_{n-m} + h f(u_n),   m = steps - 1.

    Two steps are the paper's LM, with k_1 called k; as many steps as layers its all-history variant.
    Source: Lu et al. (2018).
    """
    names = ["k"] if steps == 2 else [f"k{j}" for j in range(1, steps)]
    ks = [sympy.Symbol(name, real=True) for name in names]
    name = "lm" if steps == 2 else f"lm{steps}"
    return multistep(name, a=[1 - sum(ks), *ks], b=[1], reference="lu2018")


def zerosnet(c: Any) -> Scheme:
    """The three-step schemes of order 2 with one evaluation: a = [3c, 1 - 4c, c], b = [2 - 2c].

    c = 1/9 is ZeroSNet. Source: Chen, Jin & Shang (2022).
    """
    value = exact(c, "c")
    return multistep("zerosnet", [3 * value, 1 - 4 * value, value], [2 - 2 * value], reference="zerosnet2022")


def alf(eta: Any) -> Scheme:
    """The asynchronous leapfrog of MALI: a solution x and a velocity v, v_0 = f(x_0),

        xh = x + h v / 2,   v+ = v + 2 eta (f(xh) - v),   x+ = xh + h v+ / 2.

    eta = 1 is undamped. Source: Zhuang et al. (2021).
    """
    e = exact(eta, "eta")
    V = [[1, 1 - e], [0, 1 - 2 * e]]
    return Scheme("alf", [[0]], [[1, "1/2"]], [[e], [2 * e]], V, reference="mali2021")
