"""What values show of themselves at a prompt and in a notebook; the zoo asked, and added to."""

import math

import pytest
import sympy

import odenets
from odenets import SchemeError, UnknownSchemeError, analysis, runge_kutta, schemes
from odenets.scheme.shown import MOST_LINES
from odenets.zoo.mapping import Zoo


def test_a_scheme_is_its_tableau():
    assert repr(schemes["heun"]).splitlines()[0] == "heun: order 2, explicit, stages 2"
    assert "<pre>heun: order 2" in schemes["heun"]._repr_html_()
    latex = r"\begin{array}{c|cc} 0 & 0 & 0 \\ 1 & 1 & 0 \\ \hline  & \frac{1}{2} & \frac{1}{2} \end{array}"
    assert schemes["heun"]._repr_latex_() == rf"$\displaystyle {latex}$"
    assert r"\begin{array}{c|c|cc}" in schemes["lm"]._repr_latex_()
    assert "x &lt; y" not in schemes["heun"]._repr_html_()


@pytest.mark.parametrize("name", ["dop853", "lm", "verlet", "ab5"])
def test_no_scheme_shows_more_than_40_lines(name):
    assert len(repr(schemes[name]).splitlines()) <= MOST_LINES == 40


def test_an_equation_is_the_equation():
    equation = analysis.modified_equation("euler", 3)
    assert repr(equation) == str(equation) == "u' = f - h/2 f'f + h^2/12 f''(f,f) + h^2/3 f'f'f + O(h^3)"
    assert equation._repr_latex_() == f"$\\displaystyle {equation.latex()}$"
    assert "f&#x27;f" in equation._repr_html_()
    long = analysis.modified_equation("euler", 9)
    assert len(repr(long).splitlines()) == 40
    assert "lines more" in repr(long)
    assert long._repr_latex_() is None
    assert "gathered" in analysis.modified_equation("symplectic_euler", 2)._repr_latex_()
    assert repr(analysis.derivative_form("lm", 2)).startswith("(1 + k) u'")
    assert repr(analysis.modified_hamiltonian("verlet", 3)).startswith("H~ = T + U - h^2/24")


def test_regions_and_stars_are_tables():
    region = analysis.stability_region("rk4", resolution=50)
    rows = dict(line.split("  ", 1) for line in repr(region).splitlines()[2:])
    assert rows["points"].strip() == "50 x 50"
    assert rows["Re z"].strip(" ") == "-5 ... 1"
    assert f"{region.stable.mean():.1%}" in repr(region)
    star = analysis.order_star("gauss2", resolution=10)
    assert "1/720" in repr(star)  # Gauss: (s!)^2/((2s)! (2s+1)!)
    assert "<pre>order star" in star._repr_html_()


def test_what_holds_arrays_shows_a_table():
    decay = (lambda t, u: -u), (lambda t: [math.exp(-t)])
    q, p = sympy.symbols("q p", real=True)
    shown = {
        "boundary locus ab2": analysis.boundary_locus("ab2", points=9),
        "on u' = i omega u rk4": analysis.dispersion_dissipation("rk4"),
        "on u' = 0": analysis.sequence_growth("lm", [0.5, -1.5, 0.1]),
        "euler: order 1, observed 1.0": analysis.convergence("euler", *decay, steps=(8, 16)),
        "verlet, h = 0.1": analysis.energy_errors("verlet", p**2 / 2 + q**2 / 2, (q, p), [1, 0], h=0.1, steps=5),
        "euler, h = 0.1": analysis.orbits("euler", lambda u: -u, [1.0], 0.1, 5),
    }
    for start, value in shown.items():
        assert repr(value).startswith(start)
        assert "array(" not in repr(value)
        assert value._repr_html_().startswith("<pre>")
    assert "-1 ... 0" in repr(shown["boundary locus ab2"])  # the interval of absolute stability: z = -1 at theta = pi
    assert "4, over layers 1 to 1" in repr(shown["on u' = 0"])  # the row |1 - k| + |k| at k = -3/2
    assert f"{0.9**5:.6g}" in repr(shown["euler, h = 0.1"])
    assert "converges to the solution of u' = 2 f" in repr(analysis.convergence("lm", *decay, steps=(8, 16), k="-1/2"))


def test_the_zoo_is_listed_completed_and_filtered():
    assert repr(schemes).startswith(f"{len(schemes)} schemes: euler, ")
    assert {"lm", "gauss3"} <= set(schemes._ipython_key_completions_())
    found = schemes.where(order=4, explicit=True)
    assert {"rk4", "rk38", "ab4", "ssprk104"} <= set(found)
    assert all(scheme.order == 4 and scheme.explicit for scheme in found.values())
    assert "gauss2" not in found
    assert list(schemes.where(symbols=(sympy.Symbol("k", real=True),), name="lm")) == ["lm"]
    with pytest.raises(SchemeError, match="expected properties such as order"):
        schemes.where(colour="red")


def test_a_scheme_of_ones_own():
    zoo = Zoo("explicit")
    mine = runge_kutta("mine", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])
    assert zoo.register(mine) is zoo["mine"] is mine
    assert zoo.register(mine) is mine
    with pytest.raises(SchemeError, match="expected another name"):
        zoo.register(runge_kutta("rk4", [[0]], [1]))
    with pytest.raises(SchemeError, match="expected a Scheme"):
        zoo.register("rk4")
    with pytest.raises(UnknownSchemeError, match=r"unknown scheme 'own:mine'; one .* after schemes.register"):
        zoo["own:mine"]


def test_a_registered_scheme_is_found_by_name(monkeypatch):
    monkeypatch.setattr(schemes, "_members", dict(schemes._members))
    schemes.register(runge_kutta("mine", [[0, 0], ["2/3", 0]], ["1/4", "3/4"]))
    assert odenets.as_scheme("mine").order == analysis.order("mine") == 2
