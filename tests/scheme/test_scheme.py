"""The scheme value: what it derives, and what it refuses."""

import copy
import pickle
from fractions import Fraction

import pytest
import sympy

import odenets
from odenets import Scheme, SchemeError, UnknownSchemeError, multistep, runge_kutta, schemes
from odenets.scheme import families
from odenets.scheme.constructors import lower_triangular

k = sympy.Symbol("k", real=True)


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


def test_amplification():
    # symmetric schemes: nothing grows. Momentum 1 / gamma (Sander et al. 2021)
    symmetric = ["leapfrog", "nystrom2", "alf", "reversible_heun", "symplectic_euler", "verlet", "yoshida4"]
    assert {schemes[name].amplification for name in symmetric} == {1}
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


def test_entries_that_are_identically_zero_are_zero():
    disguised = [(k + 1) ** 2 - k**2 - 2 * k - 1, sympy.sqrt(3 + 2 * sympy.sqrt(2)) - 1 - sympy.sqrt(2)]
    for zero in disguised:
        scheme = runge_kutta("heun", A=[[zero, 0], [1, zero]], b=["1/2", "1/2"], embedded=[1, 0], reference="heun1900")
        assert scheme.explicit
        assert scheme == schemes["heun"]


def test_embedded_weights_are_substituted():
    pair = runge_kutta("pair", A=[[0, 0], [1, 0]], b=["1/2", "1/2"], embedded=[1 - k, k])
    assert pair.symbols == (k,)
    assert pair.substitute(k="1/4").embedded == sympy.ImmutableDenseMatrix([["3/4", "1/4"]])
    assert pair.substitute(k="1/2").embedded_order == 2


def test_error_constant_does_not_depend_on_the_scale_of_what_is_carried():
    coupled = odenets.mccallum_foster(schemes["euler"], "1/2")
    scale = sympy.diag(1, 2)
    scaled = Scheme("scaled", coupled.A, coupled.U * scale.inv(), scale * coupled.B, scale * coupled.V * scale.inv())
    assert scaled.error_constant == coupled.error_constant


def test_coupling_of_decimal_and_polynet_schemes():
    assert odenets.mccallum_foster(schemes["tsit5"]).order == 5
    poly = odenets.mccallum_foster(schemes["poly2"])
    assert poly.reversible
    assert poly.linear_only
    with pytest.raises(SchemeError, match="divides their rounding"):
        odenets.mccallum_foster(schemes["ssprk54"])


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
        (lambda: runge_kutta("x", A=[[0]], b=[0.333]), "expected an exact entry"),
        (lambda: runge_kutta("x", A=[[0]], b=["one"]), "expected a finite fraction"),
        (lambda: runge_kutta("x", A=[[0]], b=["nan"]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=["1/0"]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=[sympy.oo]), "finite"),
        (lambda: runge_kutta("x", A=[[0]], b=[sympy.Float("0.577350269189626")]), "exact"),
        (lambda: runge_kutta("x", A=[[0]], b=[True]), "exact"),
        (lambda: runge_kutta("x", A=[], b=[]), "at least one row"),
        (lambda: runge_kutta("x", A=[[0, 0], [1, 0]], b=[sympy.exp(k), 1 - sympy.exp(k)]), "rational function"),
        (lambda: multistep("x", a=[1 - 1 / sympy.pi, 1 / sympy.pi], b=[1 + 1 / sympy.pi]), "algebraic number"),
        (lambda: runge_kutta("x", A=[[0, 0], [sympy.cbrt(-8), 0]], b=["1/2", "1/2"]), "real"),
        (lambda: multistep("x", a=[1 - k, sympy.Symbol("k")], b=[1]), "symbols of one name"),
        (lambda: runge_kutta("x", A=[[0, 0], [1, 0]], b=["1/2", "1/2"], embedded=[1, 1]), "embedded weights"),
        (lambda: runge_kutta("x", A=[[0]], b=[1], embedded=[sympy.sqrt(2)]), "embedded weights"),
        (lambda: Scheme("x", [[0]], [[1, 0]], [[2], [0]], [[0, 1], [1, 0]], embedded=[1]), "not all the solution"),
        (lambda: runge_kutta("x", A=[[0, 0], ["0.67", 0]], b=["0.25", "0.75"], digits=2), "at least 12"),
        (lambda: families.lm(6).amplification, "without a formula"),
        (lambda: lower_triangular([], ["1/2", 0]), "got 2 entries in row 1 of A, expected 1"),
        (lambda: runge_kutta("x", A=[[0]], b=[1], fsal=True, embedded=[1]), "got 1 embedded weights"),
        (lambda: runge_kutta("x", A=[[0]], b=[1], third=[1]), "got 1 weights of a third solution"),
        (lambda: runge_kutta("x", A=[[1]], b=[1], embedded=[1], third=[1]), "an explicit scheme with embedded"),
        (lambda: runge_kutta("x", A=[[0, 0], [1, 0]], b=[0, 1], embedded=[1, 0], third=[1, 1]), "third weights"),
        (lambda: runge_kutta("x", A=[[0]], b=[1], modules=[1]), "counted from 0"),
        (lambda: multistep("x", a=[], b=[1]), "at least one"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init={"q": (0, 1)}), "free symbols"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init={"k": (1, 0)}), "low <= high"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init={"k": 0.3}), "pairs"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init=[("k", 0.3)]), "pairs"),
        (lambda: multistep("x", a=[1 - k, k], b=[1], init=0.3), "pairs"),
        (lambda: multistep("x", a=[1 - 0.333 * k, 0.333 * k], b=[1]), "1/3"),
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
