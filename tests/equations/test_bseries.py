"""Modified equations against the literature and against independent derivations."""

import math
import pickle
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
import sympy
import torch
from polynomial_field import Cubic

from odenets import FieldError, SchemeError, analysis, multistep, runge_kutta, schemes
from odenets.analysis import b_series, modified_equation, modifying_integrator, order_conditions
from odenets.analysis.equations.modified_field import modified_field
from odenets.scheme.trees import density, edge_cuts, prunings, symmetry, tall, trees_of_order, vertices

R = sympy.Rational
k = sympy.Symbol("k", real=True)
LEAF = (0, ())
UPTO4 = ["f", "f'f", "f''(f,f)", "f'f'f", "f'''(f,f,f)", "f''(f'f,f)", "f'f''(f,f)", "f'f'f'f"]


def factors(equation):
    return {name: equation.factor(name) for name in UPTO4 if name in equation}


# ------------------------------------------------------------------ trees


def test_symmetry_and_density_count_the_increasing_labellings():
    # alpha(t) = n!/(sigma gamma); a tree with n vertices grows from one with n - 1 in n - 1 ways.
    for n in range(1, 9):
        labellings = sum(R(math.factorial(n), symmetry(t) * density(t)) for t in trees_of_order(n))
        assert labellings == math.factorial(n - 1)
    bush = (0, (LEAF,) * 3)
    assert symmetry(bush) == 6
    assert symmetry((0, (bush, bush))) == 2 * 36


def test_cuts_of_small_trees():
    chain, cherry = tall(3), (0, (LEAF, LEAF))
    assert edge_cuts(LEAF) == {}
    assert edge_cuts(cherry) == {(tall(2), LEAF): 2}
    assert edge_cuts(chain) == {(LEAF, tall(2)): 1, (tall(2), LEAF): 1}
    assert prunings(cherry) == {(cherry, ()): 1, (tall(2), (LEAF,)): 2, (LEAF, (LEAF, LEAF)): 1}
    for n in range(2, 8):
        assert all(sum(edge_cuts(t).values()) == n - 1 for t in trees_of_order(n))


def test_order_conditions_of_the_textbook():
    found = {c.differential: str(c) for c in order_conditions(4)}
    assert found == {  # Hairer, Norsett & Wanner (1993), table II.2.2
        "f": "sum b_i = 1",
        "f'f": "sum b_i c_i = 1/2",
        "f''(f,f)": "sum b_i c_i^2 = 1/3",
        "f'f'f": "sum b_i a_ij c_j = 1/6",
        "f'''(f,f,f)": "sum b_i c_i^3 = 1/4",
        "f''(f'f,f)": "sum b_i c_i a_ij c_j = 1/8",
        "f'f''(f,f)": "sum b_i a_ij c_j^2 = 1/12",
        "f'f'f'f": "sum b_i a_ij a_jk c_k = 1/24",
    }
    assert len(order_conditions(8)) == 200
    rk4 = b_series("rk4", 4)
    assert all(rk4[c.tree] == c.value for c in order_conditions(4))
    with pytest.raises(SchemeError, match="order: got 0, expected an integer"):
        order_conditions(0)


# ------------------------------------------------------------------ literature


def test_euler_on_u_squared_to_order_8():
    # Hairer, Lubich & Wanner (2006), IX.1, example 1.1; the last two from the equation below.
    expected = [1, -1, 1.5, -8 / 3, 31 / 6, -157 / 15, 649 / 30, -9427 / 210]
    terms = modified_equation("euler", 8).terms(lambda u: u * u, torch.tensor([1.0], dtype=torch.float64))
    assert [float(x) for x in terms] == pytest.approx(expected, rel=1e-12)
    # Independently: v = sum c_j h^j u^(j+2) whose flow over h is u + h u^2, by the Lie series sum (h v d/du)^n u/n!.
    c = []
    for n in range(1, 9):  # the coefficient of h^n u^(n+1)
        known = _lie_series([*c, Fraction(0)], n)
        c.append((1 if n == 1 else 0) - known)
    assert [float(x) for x in c] == pytest.approx(expected, rel=1e-12)


def _lie_series(c, n):
    """Coefficient of h^n u^(n+1) in sum of D^m u/m!, D = sum over j of c_j h^(j+1) u^(j+2) d/du."""
    powers, total, factorial = {0: Fraction(1)}, Fraction(0), 1  # power of h -> factor of u^(power + 1)
    for m in range(1, n + 1):
        step = {}
        for p, x in powers.items():
            for j, cj in enumerate(c):
                step[p + j + 1] = step.get(p + j + 1, 0) + (p + 1) * x * cj
        powers, factorial = step, factorial * m
        total += powers.get(n, 0) / Fraction(factorial)
    return total


@pytest.mark.parametrize(
    ("scheme", "order", "expected"),
    [
        # Hairer, Lubich & Wanner (2006), IX.1, (1.4); the term of h^3 is the one of IX.9, example 9.4.
        ("euler", 4, [1, R(-1, 2), R(1, 12), R(1, 3), 0, R(-1, 12), R(-1, 12), R(-1, 4)]),
        ("midpoint", 4, [1, 0, R(-1, 24), R(-1, 6), 0, 0, R(1, 16), R(1, 8)]),
        ("implicit_midpoint", 4, [1, 0, R(-1, 24), R(1, 12), 0, 0, 0, 0]),
        ("trapezoid", 3, [1, 0, R(1, 12), R(1, 12)]),
        ("backward_euler", 3, [1, R(1, 2), R(1, 12), R(1, 3)]),  # the adjoint of explicit Euler: h -> -h
    ],
)
def test_first_terms(scheme, order, expected):
    found = factors(modified_equation(scheme, order))
    assert found == dict(zip(UPTO4, expected, strict=False))


def test_rk4_to_h4():
    # b(t) = a(t) - 1/gamma(t) for |t| = p + 1 (HLW, theorem IX.1.2); the weights typed from the tableau.
    A = np.array([[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0.5, 0, 0], [0, 0, 1, 0]])
    b, c = np.array([1, 2, 2, 1]) / 6, np.array([0, 0.5, 0.5, 1])
    weights = {
        "f^(4)(f,f,f,f)": (b @ c**4, 5, 24),
        "f'''(f'f,f,f)": (b @ (c**2 * (A @ c)), 10, 2),
        "f''(f'f,f'f)": (b @ (A @ c) ** 2, 20, 2),
        "f''(f''(f,f),f)": (b @ (c * (A @ c**2)), 15, 2),
        "f''(f'f'f,f)": (b @ (c * (A @ A @ c)), 30, 1),
        "f'f'''(f,f,f)": (b @ A @ c**3, 20, 6),
        "f'f''(f'f,f)": (b @ A @ (c * (A @ c)), 40, 1),
        "f'f'f''(f,f)": (b @ A @ A @ c**2, 60, 2),
        "f'f'f'f'f": (b @ A @ A @ A @ c, 120, 1),
    }
    equation = modified_equation("rk4", 5)
    assert all(equation.factor(t) == 0 for t in equation if 1 < vertices(t) < 5)
    for name, (weight, gamma, sigma) in weights.items():
        assert float(equation.factor(name)) == pytest.approx((weight - 1 / gamma) / sigma, abs=1e-15), name


def test_lm_with_k_symbolic():
    found = factors(modified_equation("lm", 4))
    top = {  # by hand from (1+k)u' + (1-k)(h/2)u'' + (1+k)(h^2/6)u''' + ... = f: u'' = f'u', u''' = f''(u',u') + f'u''
        "f": 1 / (1 + k),
        "f'f": -(1 - k) / (2 * (1 + k) ** 3),
        "f''(f,f)": (1 - 10 * k + k**2) / (12 * (1 + k) ** 5),
        "f'f'f": (1 - 4 * k + k**2) / (3 * (1 + k) ** 5),
    }
    assert all(sympy.cancel(found[name] - value) == 0 for name, value in top.items())


def test_lm_denominators_and_palindromic_numerators_to_order_7():
    equation = modified_equation("lm", 7)
    assert len(equation) == 85
    for tree, value in equation.items():
        n = vertices(tree)
        P = sympy.cancel(value * (1 + k) ** (2 * n - 1))
        assert P.is_polynomial(k)
        assert sympy.expand(P - (-1) ** (n - 1) * sympy.expand(k ** (n - 1) * P.subs(k, 1 / k))) == 0
        assert P.subs(k, -1) != 0 or P == 0 or n > 3  # the power 2n - 1 is really there


def test_lm_on_a_linear_problem_is_the_logarithm_of_its_principal_root():
    # zeta^2 - (1 - k + z) zeta - k = 0 about zeta(0) = 1; u' = b(1) lambda u + b(2) h lambda^2 u + ...: log zeta(z).
    order = 6
    zeta, log = [sympy.Integer(1)], [sympy.Integer(0)]
    for n in range(1, order + 1):
        zeta.append(sympy.cancel((zeta[n - 1] - sum(zeta[i] * zeta[n - i] for i in range(1, n))) / (1 + k)))
        log.append(sympy.cancel(zeta[n] - sum(j * log[j] * zeta[n - j] for j in range(1, n)) / n))
    equation = modified_equation("lm", order)
    for n in range(1, order + 1):
        assert sympy.cancel(log[n] - equation[tall(n)]) == 0


def test_values_of_k_and_the_derivative_form():
    found = modified_equation(schemes["lm"], 3, k=-0.1)
    assert found["f"] == R(10, 9)
    assert found.factor("f'f") == -R(11, 10) / (2 * R(9, 10) ** 3)
    symbolic = modified_equation("lm", 3)
    assert all(symbolic[t].subs(k, R(-1, 10)) == found[t] for t in found)
    assert symbolic.derivative_form.text() == "(1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h^2/6) u''' + ... = f"
    with pytest.raises(SchemeError, match="got 4 stages, expected 1"):
        _ = modified_equation("rk4", 3).derivative_form


def test_a_multistep_scheme_and_the_one_step_scheme_it_is_share_their_equation():
    assert dict(modified_equation("ab1", 5)) == dict(modified_equation("euler", 5))
    # BDF1 = backward Euler; AM2 = trapezoid; Momentum ResNet is LM with f scaled by 1 - gamma, k = -gamma.
    assert dict(modified_equation("am2", 5)) == dict(modified_equation("trapezoid", 5))
    momentum, lm = modified_equation("momentum", 4), modified_equation("lm", 4, k="-9/10")
    assert all(momentum[t] == lm[t] * R(1, 10) ** vertices(t) for t in momentum)


# ------------------------------------------------------------------ text


def test_text_and_latex():
    euler = modified_equation("euler", 3)
    assert str(euler) == "u' = f - h/2 f'f + h^2/12 f''(f,f) + h^2/3 f'f'f + O(h^3)"
    assert euler.latex() == (
        r"u' = f - \frac{h}{2} f'f + \frac{h^{2}}{12} f''(f,f) + \frac{h^{2}}{3} f'f'f + \mathcal{O}(h^{3})"
    )
    lm = modified_equation("lm", 2)
    assert lm.text() == "u' = f/(1 + k) - (1 - k) h/(2 (1 + k)^3) f'f + O(h^2)"
    assert lm.latex() == (
        r"u' = \frac{f}{1 + k} - \frac{\left(1 - k\right) h}{2 \left(1 + k\right)^{3}} f'f + \mathcal{O}(h^{2})"
    )
    assert str(modified_equation("symplectic_euler", 2)) == "u1' = f - h/2 f'g + O(h^2)\nu2' = g + h/2 g'f + O(h^2)"
    assert str(modified_equation("poly2", 2)) == "u' = f + h/2 f'f + O(h^2) (for linear f)"
    assert "f^{(4)}(f,f,f,f)" in modified_equation("rk4", 5).latex()
    assert str(modifying_integrator("euler", 2)) == "f~ = f + h/2 f'f + O(h^2)"


def test_a_scheme_known_in_decimals_has_no_terms_below_its_order():
    equation = modified_equation("tsit5", 6)
    assert equation["f"] == 1
    assert all(equation[t] == 0 for t in equation if 1 < vertices(t) < 6)
    assert "e-" in equation.text()  # decimals, not fractions of 30 digits


# ------------------------------------------------------------------ values


class Torch:
    """The cubic field as a torch function, in operations that can be differentiated."""

    def __init__(self, field):
        self.a, self.B, self.C, self.D = map(torch.from_numpy, (field.a, field.B, field.C, field.D))

    def __call__(self, u):
        two = torch.einsum("ijk,j,k->i", self.C, u, u)
        return self.a + self.B @ u + two + torch.einsum("ijkl,j,k,l->i", self.D, u, u, u)


def by_hand(f, u):
    """The elementary differentials with up to four vertices."""
    F = f(u)
    f1 = f(u, F)
    f2, f11 = f(u, F, F), f(u, f1)
    values = [F, f1, f2, f11, f(u, F, F, F), f(u, f1, F), f(u, f2), f(u, f11)]
    return dict(zip(UPTO4, values, strict=True))


@pytest.mark.parametrize("scheme", ["euler", "midpoint", "lm", "ab2", "leapfrog"])
def test_terms_by_nested_products_equal_derivatives_by_hand(scheme):
    field, u = Cubic(3), np.array([[0.3], [-0.4]])
    equation = modified_equation(scheme, 4)
    values = {"k": -0.3} if equation.symbols else {}
    terms = equation.terms(Torch(field), torch.from_numpy(u[:, 0]), **values)
    expected, powers = [np.zeros((2, 1)) for _ in range(4)], [0, 1, 2, 2, 3, 3, 3, 3]
    for power, (name, value) in zip(powers, by_hand(field, u).items(), strict=True):
        expected[power] += float(equation.factor(name).subs(k, R(-3, 10))) * value
    for found, wanted in zip(terms, expected, strict=True):
        np.testing.assert_allclose(found.numpy(), wanted[:, 0], rtol=1e-12, atol=1e-14)
    h = 0.07
    field_at = equation.field(Torch(field), h, **values)(torch.from_numpy(u[:, 0]))
    np.testing.assert_allclose(field_at.numpy(), sum(h**j * x[:, 0] for j, x in enumerate(expected)), rtol=1e-12)


def test_terms_of_a_partitioned_scheme():
    q, p = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    terms = modified_equation("symplectic_euler", 2).terms((lambda p: p, lambda q: -torch.sin(q)), (q, p))
    assert float(terms[0][0]) == pytest.approx(0.4)
    assert float(terms[0][1]) == pytest.approx(-math.sin(0.7))
    assert float(terms[1][0]) == pytest.approx(0.5 * math.sin(0.7))  # -1/2 f'g
    assert float(terms[1][1]) == pytest.approx(-0.5 * math.cos(0.7) * 0.4)  # +1/2 g'f


def test_terms_keep_the_state_and_follow_shape_and_dtype():
    layer = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(3, 3))
    u = torch.randn(5, 3)
    before = u.clone()
    first, second = modified_equation("euler", 2).terms(layer, u)
    assert torch.equal(u, before)
    assert first.shape == second.shape == u.shape
    assert first.dtype == u.dtype


def test_the_code_of_an_elementary_differential_runs():
    from odenets.analysis.equations.tree_text import differential_code, differential_text

    f, u = torch.sin, torch.tensor([0.3, 1.0], dtype=torch.float64)
    values = by_hand(lambda u, *v: reduce(torch.mul, v, [u.sin(), u.cos(), -u.sin(), -u.cos()][len(v)]), u)
    for n in range(1, 5):
        for tree in trees_of_order(n):
            code = differential_code(tree)
            found = eval(code, {"derivative": analysis.derivative, "f": f, "u": u})
            torch.testing.assert_close(found, values[differential_text(tree)])


# ------------------------------------------------------------------ the inverse


@pytest.mark.parametrize("name", ["euler", "heun", "lm", "leapfrog", "implicit_midpoint", "ab2", "momentum"])
def test_the_modifying_integrator_is_the_inverse_of_the_modified_equation(name):
    # On u' = lambda u only tall trees count: with m(x) = sum b(tall) x^n of either, m_modified(m_modifying(x)) = x.
    x, order = sympy.Symbol("x"), 4
    values = {"k": "2/7"} if schemes[name].symbols else {}
    there, back = modified_equation(name, order, **values), modifying_integrator(name, order, **values)
    inner = sum(back[tall(n)] * x**n for n in range(1, order + 1))
    outer = sum(there[tall(n)] * inner**n for n in range(1, order + 1))
    series = sympy.Poly(sympy.expand(outer), x)
    for n in range(1, order + 1):
        assert sympy.cancel(series.coeff_monomial(x**n)) == (1 if n == 1 else 0)


def test_the_modifying_integrator_of_explicit_midpoint_raises_its_order():
    # Chartier, Hairer & Vilmart (2007): the scheme on the truncated field has the order of the truncation.
    equation = modifying_integrator("midpoint", 4)
    rule = Torch(Cubic(5))

    def error(steps):
        h, u = 0.8 / steps, torch.tensor([0.3, -0.2], dtype=torch.float64)
        f = equation.field(rule, h)
        for _ in range(steps):
            u = u + h * f(u + h / 2 * f(u))
        return u

    from scipy.integrate import solve_ivp

    exact = solve_ivp(
        lambda t, y: rule(torch.from_numpy(y)).numpy(), (0, 0.8), [0.3, -0.2], method="DOP853", rtol=1e-13, atol=1e-13
    ).y[:, -1]
    coarse, fine = (np.linalg.norm(error(n).numpy() - exact) for n in (16, 32))
    assert math.log2(coarse / fine) == pytest.approx(4, abs=0.2)


# ------------------------------------------------------------------ errors


def test_bad_input():
    with pytest.raises(SchemeError, match=r"in_resnet: got a step that does not keep u' = 0"):
        modified_equation("in_resnet", 2)
    with pytest.raises(SchemeError, match=r"double root 1.*second order.*use derivative_form"):
        modified_equation("lm", 2, k=-1)
    for order in (0, -1, 2.0, True):
        with pytest.raises(SchemeError, match="expected an integer of at least 1"):
            modified_equation("lm", order)
    with pytest.raises(SchemeError, match="got a tree of 4 vertices, expected at most 3"):
        modified_field(schemes["rk4"], 3).carried(tall(4))
    with pytest.raises(SchemeError, match=r"got order 100, expected at most 12: there are 4766 rooted trees"):
        modified_equation("rk4", 100)
    with pytest.raises(SchemeError, match="got values for no symbol, expected one for each of"):
        modified_equation("lm", 2).terms(torch.sin, torch.zeros(2))
    with pytest.raises(SchemeError, match=r"got values for \['q'\], expected one for each of no symbol"):
        modified_equation("euler", 2).terms(torch.sin, torch.zeros(2), q=1.0)
    with pytest.raises(FieldError, match=r"got a function of values \(3,\), expected the shape \(2,\)"):
        modified_equation("euler", 2).terms(lambda u: torch.zeros(3), torch.zeros(2))
    with pytest.raises(FieldError, match="expected tensors of floating point"):
        modified_equation("euler", 2).terms(torch.sin, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(FieldError, match="got 1 functions, expected 2"):
        modified_equation("verlet", 2).terms(torch.sin, (torch.zeros(2), torch.zeros(2)))
    with pytest.raises(SchemeError, match="got 2 functions a step, expected one"):
        modifying_integrator("verlet", 2)
    with pytest.raises(SchemeError, match="stages that do not start from u"):
        modifying_integrator("poly2", 2)
    with pytest.raises(KeyError, match="expected a rooted tree with at most 2 vertices"):
        modified_equation("euler", 2)["f'f'f"]
    with pytest.raises(SchemeError, match=r"got \{'k': -1.0\}, a pole of the coefficients"):
        modified_equation("lm", 2).terms(torch.sin, torch.zeros(2), k=-1.0)
    with pytest.raises(SchemeError, match="weights sum to 0"):
        modifying_integrator(multistep("idle", a=[1], b=[1, -k]).substitute(k=1), 2)


def test_an_equation_is_a_mapping_that_pickles():
    equation = modified_equation("lm", 3)
    equation.terms(torch.sin, torch.zeros(2), k=0.5)  # compiles the coefficients
    again = pickle.loads(pickle.dumps(equation))
    assert again == equation == dict(equation)
    assert again.text() == equation.text()
    assert equation != modified_equation("lm", 2)


def test_surds_beside_a_symbol_are_exact():
    # sqrt(3 + 2 sqrt(2)) = 1 + sqrt(2), so b_2 a_21 = 1/2 for every k: order 2.
    nested = sympy.sqrt(3 + 2 * sympy.sqrt(2)) / (1 + sympy.sqrt(2))
    family = runge_kutta("nested", A=[[0, 0], [nested / (2 * k), 0]], b=[1 - k, k])
    assert family.order == 2
    assert modified_equation(family, 2)["f'f"] == 0
    # LM with sqrt(2) k in k's place.
    scaled = modified_equation(multistep("sk", [1 - sympy.sqrt(2) * k, sympy.sqrt(2) * k], [1]), 4)
    lm = modified_equation("lm", 4)
    at = sympy.Rational(2, 7)
    for tree in lm:
        expected = lm[tree].subs(k, sympy.sqrt(2) * at)
        assert abs((scaled[tree].subs(k, at) - expected).evalf(30)) < 1e-25
        assert len(str(scaled[tree])) < 400


def test_a_new_scheme_needs_nothing_more():
    own = runge_kutta("own", A=[[0, 0], ["2/3", 0]], b=["1/4", "3/4"])
    assert dict(modified_equation(own, 4)) == dict(modified_equation("ralston2", 4))
    scaled = multistep("scaled", a=[1 - k, k], b=[1 + k])
    assert sympy.cancel(modified_equation(scaled, 2).factor("f'f") + (1 - k) / (2 * (1 + k))) == 0
