"""Modified Hamiltonians: the textbook's, the Baker-Campbell-Hausdorff series, and what is conserved."""

import numpy as np
import pytest
import sympy

from odenets import Scheme, SchemeError, multistep, runge_kutta, schemes
from odenets.analysis import modified_equation, modified_hamiltonian
from odenets.analysis.equations.modified_hamiltonian import is_symplectic_one_step
from odenets.scheme.trees import symmetry, vertices

R = sympy.Rational
q, p, h = sympy.symbols("q p h")
T, U = p**2 / 2 + p**4 / 5, sympy.cos(q) + q**3 / 3


def bracket(a, b):
    return a.diff(q) * b.diff(p) - a.diff(p) * b.diff(q)


def same(a, b):
    """At 20 rational points, to 30 digits: sympy's simplify takes minutes."""
    points = [{q: R(3 * i % 17, 7), p: R(5 * i % 13 - 6, 5), h: R(i, 11)} for i in range(1, 21)]
    return all(abs((a - b).subs(point).evalf(40)) < 1e-30 for point in points)


def test_textbook_formulas():
    # symplectic Euler, q first and p with the new q: H - h/2 H_p H_q + h^2/12 (H_pp H_q^2 + H_qq H_p^2) with the sign
    # of h of the variant (Hairer, Lubich & Wanner 2006, IX.3, example 3.4); Verlet: IX.4, with U first.
    Tp, Tpp, Uq, Uqq = T.diff(p), T.diff(p, 2), U.diff(q), U.diff(q, 2)
    euler = T + U + h / 2 * Tp * Uq + h**2 / 12 * (Tpp * Uq**2 + Uqq * Tp**2)
    assert same(modified_hamiltonian("symplectic_euler", 3).expression(T + U, q, p), euler)
    verlet = T + U + h**2 * (Uqq * Tp**2 / 12 - Tpp * Uq**2 / 24)
    assert same(modified_hamiltonian("verlet", 4).expression(T + U, q, p), verlet)
    assert str(modified_hamiltonian("verlet", 3)) == "H~ = T + U - h^2/24 T''(g,g) + h^2/12 U''(f,f) + O(h^3)"
    H = T + U + q * p
    midpoint = H - h**2 / 24 * (  # -h^2/24 H''(J^-1 grad H, J^-1 grad H)
        H.diff(q, 2) * H.diff(p) ** 2 - 2 * H.diff(q, p) * H.diff(p) * H.diff(q) + H.diff(p, 2) * H.diff(q) ** 2
    )
    assert same(modified_hamiltonian("implicit_midpoint", 4).expression(H, q, p), midpoint)


def test_symplectic_euler_is_the_baker_campbell_hausdorff_series():
    # The drift exp(hT) comes first, then the kick: h H~ = log(exp(hT) exp(hU)) (HLW III.4.2), with the bracket of two
    # Lie derivatives D_A g = {g, A}: [D_A, D_B] = D_{B, A}.
    def lie(A, B):
        return bracket(B, A)

    def bch(A, B):
        third = (lie(A, lie(A, B)) + lie(B, lie(B, A))) / 12
        return A + B + h * lie(A, B) / 2 + h**2 * third - h**3 * lie(B, lie(A, lie(A, B))) / 24

    assert same(modified_hamiltonian("symplectic_euler", 4).expression(T + U, q, p), bch(T, U))
    assert not same(bch(T, U), bch(U, T))
    # The kick first, its function named first: p' = g(q), then q' = f(p).
    identity, maps = [[1, 0], [0, 1]], ((0, 1), (1, 0))
    kick = Scheme("kick_drift", [[0, 0], [1, 0]], identity, [[0, 1], [1, 0]], identity, modules=(0, 1), functions=maps)
    assert str(modified_hamiltonian(kick, 2)) == "H~ = U + T - h/2 U'g + O(h^2)"
    assert same(modified_hamiltonian(kick, 4).expression(T + U, q, p), bch(U, T))


def test_superfluous_stages_and_scaled_steps_change_no_verdict():
    # Both stages are the midpoint; b_i a_ij + b_j a_ji = b_i b_j fails for the tableau as it stands.
    twice = runge_kutta("twice", A=[["1/2", 0], ["1/2", 0]], b=["1/4", "3/4"])
    assert dict(modified_hamiltonian(twice, 5)) == dict(modified_hamiltonian("implicit_midpoint", 5))
    idle = runge_kutta("idle", A=[["1/2", 0], [1, 0]], b=[1, 0])
    assert is_symplectic_one_step(idle)
    # Milne-Simpson on 2 f: of order 0 for u' = f, yet of order 4 in its own time, where nothing shows before h^4.
    c = sympy.Symbol("c", real=True)
    scaled = multistep("scaled", a=[0, 1], b=[4 * c / 3, c / 3], b_next=c / 3).substitute(c=2)
    with pytest.raises(SchemeError, match="not symplectic"):
        modified_hamiltonian(scaled, 3)


@pytest.mark.parametrize(("name", "order"), [("verlet", 5), ("implicit_midpoint", 5), ("symplectic_euler", 4)])
def test_its_field_is_the_modified_equation(name, order):
    # q' = dH~/dp, p' = -dH~/dq against the equation evaluated tree by tree on polynomials.
    H = p**2 / 2 + p**3 / 3 + q**2 / 2 - q**4 / 4
    energy = modified_hamiltonian(name, order).expression(H, q, p)
    equation = modified_equation(name, order)
    state = (q, p)
    if name == "implicit_midpoint":
        fields, variables = [(H.diff(p), -H.diff(q))], [state]
    else:
        fields, variables = [(H.diff(p),), (-H.diff(q),)], [(p,), (q,)]

    def F(tree):
        colour, children = tree
        directions = [F(child) for child in children]
        return tuple(contract(f, variables[colour], directions) for f in fields[colour])

    def contract(f, x, directions):
        if not directions:
            return f
        first, *rest = directions
        return sum(v * contract(f.diff(y), x, rest) for v, y in zip(first, x, strict=True))

    total = [0, 0]
    for tree, b in equation.items():
        value = [b / symmetry(tree) * h ** (vertices(tree) - 1) * x for x in F(tree)]
        start = 0 if len(value) == 2 else equation.maps[tree[0]][1]
        for i, x in enumerate(value):
            total[start + i] += x
    assert same(total[0], energy.diff(p))
    assert same(total[1], -energy.diff(q))


@pytest.mark.parametrize(("name", "orders"), [("symplectic_euler", (1, 2, 3)), ("verlet", (1, 3, 5))])
def test_the_truncated_energy_is_conserved_to_the_order_of_its_remainder(name, orders):
    # Pendulum: the largest change of H~ along 2 units of time, over steps of three sizes.
    H = p**2 / 2 - sympy.cos(q)
    for order in orders:
        energy = sympy.lambdify((q, p, h), modified_hamiltonian(name, order).expression(H, q, p))
        sizes = 2.0 / np.array([20, 40, 80])
        drift = [_drift(name, energy, step) for step in sizes]
        slope = np.log2(drift[-2] / drift[-1])
        assert slope == pytest.approx(order + (name == "verlet"), abs=0.25)


def _drift(name, energy, step):
    x, v, values = 1.2, 0.3, []
    for _ in range(round(2.0 / step)):
        values.append(energy(x, v, step))
        if name == "verlet":
            v -= step / 2 * np.sin(x)
            x += step * v
            v -= step / 2 * np.sin(x)
        else:
            x += step * v
            v -= step * np.sin(x)
    return max(values) - min(values)


SYMPLECTIC = {"symplectic_euler", "verlet", "yoshida4", "implicit_midpoint", "gauss1", "gauss2", "gauss3"}


@pytest.mark.parametrize("name", [n for n in schemes if not schemes[n].symbols])
def test_exactly_the_symplectic_schemes_have_one(name):
    # Typed from the literature; for Runge-Kutta the condition is Sanz-Serna's and Suris's.
    scheme = schemes[name]
    if name in SYMPLECTIC:
        assert is_symplectic_one_step(scheme)
        assert modified_hamiltonian(scheme, 3).coefficients
    else:
        with pytest.raises(SchemeError, match=r"symplectic|expected one function|damps u itself"):
            modified_hamiltonian(scheme, 3)


def test_bad_input():
    energy = modified_hamiltonian("verlet", 3)
    with pytest.raises(SchemeError, match=r"expected T\(p\) \+ U\(q\)"):
        energy.expression(T + U + q * p, q, p)
    with pytest.raises(SchemeError, match="got 1 positions and 2 momenta"):
        energy.expression(T, q, [p, h])
    two = energy.expression(
        sum(x**2 / 2 for x in sympy.symbols("p1 p2")), sympy.symbols("q1 q2"), sympy.symbols("p1 p2")
    )
    assert two == sum(x**2 / 2 for x in sympy.symbols("p1 p2"))
