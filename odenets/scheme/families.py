"""Families of multistep schemes, generated from what defines them."""

from __future__ import annotations

from typing import Any

import sympy

from .constructors import multistep
from .exact import exact
from .given_numbers import integer
from .quadrature import derivatives, integrals
from .scheme import Scheme


def adams_bashforth(steps: int) -> Scheme:
    """u_{n+1} = u_n + h int_0^1 p, p through f at n, n-1, ..., n-steps+1. Order = steps."""
    steps = integer(steps, "adams_bashforth: steps")
    past = [-j for j in range(steps)]
    return multistep(f"ab{steps}", a=[1], b=integrals(past, 0, 1), reference="bashforth1883")


def adams_moulton(order: int) -> Scheme:
    """u_{n+1} = u_n + h int_0^1 p, p through f at n+1, n, ..., n-order+2."""
    order = integer(order, "adams_moulton: order")
    new, *past = integrals([1 - j for j in range(order)], 0, 1)
    return multistep(f"am{order}", a=[1], b=past, b_next=new, reference="moulton1926")


def nystrom(steps: int, name: str = "", reference: str = "nystrom1925") -> Scheme:
    """u_{n+1} = u_{n-1} + h int_{-1}^1 p, p through f at n, n-1, ..., n-steps+1."""
    steps = integer(steps, "nystrom: steps")
    past = [-j for j in range(steps)]
    return multistep(name or f"nystrom{steps}", a=[0, 1], b=integrals(past, -1, 1), reference=reference)


def milne_simpson() -> Scheme:
    """u_{n+1} = u_{n-1} + h int_{-1}^1 p, p through f at n+1, n, n-1: Simpson's rule. Order 4."""
    new, *past = integrals([1, 0, -1], -1, 1)
    return multistep("milne_simpson", a=[0, 1], b=past, b_next=new, reference="milne1926")


def bdf(steps: int) -> Scheme:
    """p'(n+1) = f(u_{n+1}), p through u at n+1, n, ..., n-steps+1: backward differentiation."""
    steps = integer(steps, "bdf: steps")
    new, *past = derivatives([1 - j for j in range(steps + 1)], 1)
    return multistep(f"bdf{steps}", a=[-c / new for c in past], b=[0], b_next=1 / new, reference="curtiss1952")


def pece(steps: int) -> Scheme:
    """Adams-Bashforth predicts, Adams-Moulton with as many past slopes corrects, f is evaluated at both.

    The final evaluation f(u_{n+1}) is the first one of the next step, so the stages are at u_n and
    at the predicted value. Order steps + 1.
    """
    steps = integer(steps, "pece: steps")
    predictor = integrals([-j for j in range(steps)], 0, 1)
    new, *corrector = integrals([1 - j for j in range(steps + 1)], 0, 1)
    r = steps
    shift = [[int(j == i - 1 and i > 1) for j in range(r)] for i in range(r)]
    V = [[1, *corrector[1:]], *shift[1:]]
    B = [[corrector[0], new], *([int(i == 1), 0] for i in range(1, r))]
    U = [[1] + [0] * (r - 1), [1, *predictor[1:]]]
    return Scheme(f"pece{steps}", [[0, 0], [predictor[0], 0]], U, B, V, reference="moulton1926")


def lm(steps: int) -> Scheme:
    """LM with a trained coefficient per past solution:

        u_{n+1} = (1 - k_1 - ... - k_m) u_n + k_1 u_{n-1} + ... + k_m u_{n-m} + h f(u_n),   m = steps - 1.

    Two steps are the paper's LM, with k_1 called k; as many steps as layers its all-history variant.
    Source: Lu et al. (2018).
    """
    steps = integer(steps, "lm: steps")
    names = ["k"] if steps == 2 else [f"k{j}" for j in range(1, steps)]
    ks = [sympy.Symbol(name, real=True) for name in names]
    name = "lm" if steps == 2 else f"lm{steps}"
    return multistep(name, a=[1 - sum(ks), *ks], b=[1], reference="lu2018")


def all_history_lm(layers: int) -> tuple[Scheme, list[Scheme]]:
    """The all-history LM: layer n weighs all the n states before it, each by a trained coefficient.

    Returns (scheme, starting steps): lm of as many steps as layers, and for each layer before the
    last the same with the coefficients of states that are not there yet set to 0.

        scheme, start = all_history_lm(len(blocks));   net = ODENet(blocks, scheme, start=start)

    Source: Lu et al. (2018), the variant in the authors' code.
    """
    scheme = lm(integer(layers, "all_history_lm: layers"))
    names = [str(symbol) for symbol in sorted(scheme.symbols, key=lambda s: int(str(s)[1:] or 1))]
    return scheme, [scheme.substitute({name: 0 for name in names[n:]}) for n in range(layers - 1)]


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
