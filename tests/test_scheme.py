"""The scheme value: what it derives, and what it refuses."""

import copy
import pickle
from fractions import Fraction

import pytest
import sympy

import odenets
from odenets import Scheme, SchemeError, UnknownSchemeError, multistep, runge_kutta, schemes

k = sympy.Symbol("k", real=True)

# Orders as the literature gives them (Hairer, Norsett & Wanner 1993, II.1 and III.1; Chang et al.
# 2018; Sander et al. 2021). zerosnet: sum j^2 a_j = 5/9 + 4/9 = 1 makes it order 2, and
# 1 + sum j^3 a_j = 22/9, so C_3 = 11/27, not higher.
ORDERS = {
    "euler": 1,
    "midpoint": 2,
    "heun": 2,
    "kutta3": 3,
    "rk4": 4,
    "ab2": 2,
    "ab3": 3,
    "leapfrog": 2,
    "zerosnet": 2,
    "momentum": 1,
    "lm": 0,
}
STARTING_VALUES = {"ab2": 1, "ab3": 2, "leapfrog": 1, "zerosnet": 2, "lm": 1}
NODES = {
    "midpoint": [0, Fraction(1, 2)],
    "heun": [0, 1],
    "kutta3": [0, Fraction(1, 2), 1],
    "rk4": [0, Fraction(1, 2), Fraction(1, 2), 1],
}


def test_every_scheme_has_its_literature_order():
    assert {name: scheme.order for name, scheme in schemes.items()} == ORDERS


def test_starting_values_are_those_of_a_k_step_scheme():
    assert {name: s.starting_values for name, s in schemes.items()} == {
        name: STARTING_VALUES.get(name, 0) for name in schemes
    }


@pytest.mark.parametrize("name", schemes)
def test_nodes(name):
    expected = NODES.get(name, [0])
    assert list(schemes[name].nodes) == [sympy.Rational(c) for c in expected]


def test_lm_is_consistent_at_k_zero_only():
    assert schemes["lm"].substitute(k=0).order == 1
    assert schemes["lm"].substitute(k="1/3").order == 0


def test_error_constants_of_adams_and_bdf():
    # Lambert (1973), alpha_k = 1
    ab4 = multistep("ab4", a=[1], b=["55/24", "-59/24", "37/24", "-9/24"])
    bdf2 = multistep("bdf2", a=["4/3", "-1/3"], b=[0], b_next="2/3")
    bdf3 = multistep("bdf3", a=["18/11", "-9/11", "2/11"], b=[0], b_next="6/11")
    am2 = multistep("am2", a=[1], b=["1/2"], b_next="1/2")
    found = [s.error_constant for s in (schemes["euler"], schemes["ab2"], schemes["ab3"], ab4, bdf2, bdf3, am2)]
    expected = ["1/2", "5/12", "3/8", "251/720", "-2/9", "-3/22", "-1/12"]
    assert found == [sympy.Rational(x) for x in expected]
    assert [ab4.order, bdf2.order, bdf3.order, am2.order] == [4, 2, 3, 2]


def test_error_constant_of_rk4_is_the_first_term_missing_of_exp():
    assert schemes["rk4"].error_constant == sympy.Rational(1, 120)


def test_order_with_irrational_entries():
    # Gauss with two stages (Hairer, Norsett & Wanner 1993, II.7): order 4
    r = sympy.sqrt(3) / 6
    quarter, half = sympy.Rational(1, 4), sympy.Rational(1, 2)
    gauss2 = runge_kutta(
        "gauss2", A=[[quarter, quarter - r], [quarter + r, quarter]], b=[half, half], c=[half - r, half + r]
    )
    assert gauss2.order == 4
    assert gauss2.structure == "fully implicit"


def test_structure_comes_from_the_graph():
    assert runge_kutta("be", A=[[1]], b=[1]).structure == "diagonally implicit"
    assert schemes["rk4"].structure == "explicit"
    # Explicit, though not written lower triangular: the stages of heun in the other order.
    swapped = runge_kutta("heun_swapped", A=[[0, 1], [0, 0]], b=["1/2", "1/2"])
    assert swapped.explicit
    assert swapped.evaluation_order == (1, 0)
    assert swapped.order == 2


def test_reversibility_and_amplification():
    reversible = {name for name, scheme in schemes.items() if scheme.reversible}
    assert reversible == {"leapfrog", "zerosnet", "lm", "momentum"}
    assert schemes["leapfrog"].amplification == 1
    assert schemes["momentum"].amplification == sympy.Rational(10, 9)
    at = [schemes["lm"].amplification.subs(k, value) for value in (sympy.Rational(1, 2), -2, sympy.Rational(-1, 4))]
    assert at == [2, 1, 4]


def test_the_inverse_undoes_a_step():
    # One step of LM on numbers, forward by the formula and back by the derived matrices.
    value = Fraction(1, 3)
    u, before = Fraction(7, 5), Fraction(-2, 3)

    def f(x):
        return x * x - 1

    after = (1 - value) * u + value * before + f(u)
    A, U, B, V = schemes["lm"].substitute(k=value).inverse
    y = sympy.Matrix([sympy.Rational(after), sympy.Rational(u)])
    stage = (U * y)[0]
    assert A.is_zero_matrix
    assert list(B * sympy.Matrix([f(stage)]) + V * y) == [sympy.Rational(u), sympy.Rational(before)]
    with pytest.raises(SchemeError, match="not reversible"):
        _ = schemes["rk4"].inverse


def test_equal_entries_make_equal_hashable_schemes():
    again = multistep("lm", a=[1 - k, k], b=[1], reference="lu2018")
    assert again == schemes["lm"]
    assert hash(again) == hash(schemes["lm"])
    assert again != schemes["lm"].substitute(k=0)
    assert pickle.loads(pickle.dumps(again)) == again == copy.deepcopy(again)


def test_a_scheme_cannot_be_changed():
    with pytest.raises(AttributeError):
        schemes["euler"].name = "other"
    with pytest.raises(TypeError):
        schemes["euler"].A[0, 0] = 1


def test_tableau_as_text():
    assert str(schemes["heun"]).splitlines() == [
        "heun: order 2, explicit, stages 2",
        "0 |   0    0",
        "1 |   1    0",
        "--+---------",
        "  | 1/2  1/2",
    ]
    assert "learnable k" in str(schemes["lm"])
    assert "1 - k" in str(schemes["lm"])


@pytest.mark.parametrize("name", schemes)
def test_every_scheme_has_a_reference(name):
    from odenets.bibliography import REFERENCES

    assert schemes[name].reference in REFERENCES


# ------------------------------------------------------------------------------------- bad input


def test_unknown_scheme_lists_close_names():
    with pytest.raises(UnknownSchemeError, match=r"did you mean .*'midpoint'"):
        schemes["midpiont"]
    assert "rk5" not in schemes
    with pytest.raises(SchemeError, match="expected a Scheme or a name"):
        odenets.as_scheme(3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: runge_kutta("x", A=[[0]], b=["1/2"]), "inconsistent"),
        (lambda: multistep("x", a=["1/2"], b=[1]), "inconsistent"),
        (lambda: multistep("x", a=[1], b=["1/2"]), "inconsistent"),
        (lambda: multistep("x", a=["1/2", "1/2"], b=[1]), "inconsistent"),
        (lambda: runge_kutta("x", A=[[0, 0], [1]], b=[1, 0]), "rows of lengths"),
        (lambda: runge_kutta("x", A=[[0, 0]], b=[1]), "expected s x s"),
        (lambda: runge_kutta("x", A=[[0]], b=[1, 0]), "expected s x s"),
        (lambda: runge_kutta("x", A=[[0]], b=[1.0]), "expected an exact entry"),
        (lambda: runge_kutta("x", A=[[0]], b=["one"]), "expected a finite fraction"),
        (lambda: runge_kutta("x", A=[[0]], b=["nan"]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=["1/0"]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=[sympy.oo]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=[sympy.Float(1)]), "exact"),
        (lambda: runge_kutta("x", A=[[0]], b=[True]), "exact"),
        (lambda: runge_kutta("x", A=[], b=[]), "at least one row"),
        (lambda: multistep("x", a=[], b=[1]), "at least one"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init={"q": (0, 1)}), "free symbols"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init={"k": (1, 0)}), "low <= high"),
        (lambda: Scheme("x", [[0]], [[1, 0]], [[1]], [[1]]), "got shapes"),
        (lambda: Scheme("x", [[0]], [[1, 0]], [[1], [0]], [[1, 0], [0, 1]]), "not determined"),
        (lambda: schemes["lm"].substitute(q=1), "free symbols"),
        (lambda: schemes["lm"].substitute(k=float("nan")), "finite"),
        (lambda: schemes["lm"].substitute(k="half"), "finite"),
    ],
)
def test_bad_coefficients_are_refused(build, message):
    with pytest.raises(SchemeError, match=message):
        build()


def test_gauss_with_equal_nodes_is_refused():
    # Published like that: it passes loose tests and is of order 1 on u' = cos(t) u.
    r = sympy.sqrt(3) / 6
    quarter, half = sympy.Rational(1, 4), sympy.Rational(1, 2)
    with pytest.raises(SchemeError, match="expected the row sum of A"):
        runge_kutta("gauss2", [[quarter, quarter - r], [quarter + r, quarter]], [half, half], c=[half - r, half - r])


def test_rk4_with_wrong_nodes_is_refused():
    A = schemes["rk4"].A.tolist()
    with pytest.raises(SchemeError, match="row sum"):
        runge_kutta("rk4", A, ["1/6", "1/3", "1/3", "1/6"], c=[0, 0, "1/2", "1/2"])
