"""What the browser computes of schemes, beside analysis and textbook formulas."""

import cmath

import numpy as np
import pytest
from explorer.asked import GRID, NUMBERS, PATH, POINTS, STARS, TABLEAUS, numbers

from odenets import schemes
from odenets.analysis import order_star, zero_stable
from odenets.analysis.linear.region import amplification_factors
from odenets.analysis.linear.stability import stability_polynomial


def allowance(name, values, points, largest):
    """Relative error of |zeta|max by errors of Phi's coefficients c: sum |error| |zeta|^a |z|^b / |zeta Phi_zeta|.

    No arithmetic in doubles does better. It is more than 1e-12 beside a multiple root, where Phi_zeta vanishes,
    beside a zero of R(z), and beside a pole, where the terms of the coefficients cancel. An error of c is a few
    roundings of it; and of an implicit scheme published in decimals, which analysis settles, a few of the last decimal.
    """
    phi, digits = stability_polynomial(name, **values), schemes[name].digits
    decimal = 10.0 ** (1 - digits) if digits and not schemes[name].explicit else 0
    total, slope = 0, 0
    for (a, b), c in ((powers, complex(c)) for powers, c in phi.terms()):
        total += (16 * np.finfo(float).eps * abs(c) + decimal) * abs(largest**a * points**b)
        slope += a * c * largest ** (a - 1) * points**b
    return total / abs(largest * slope)


def agree(name, values, points, found):
    """To 1e-12, or to the allowance where that is more."""
    roots = amplification_factors(schemes[name].substitute(values), points)
    largest = np.take_along_axis(roots, abs(roots).argmax(-1)[..., None], -1)[..., 0]
    assert np.isfinite(largest).all()
    allowed = np.maximum(1e-12, allowance(name, values, points, largest))
    error = abs(found - abs(largest)) / abs(largest)
    assert (error <= allowed).all(), (name, values, error.max(), points[(error / allowed).argmax()])
    return error


def test_amplification_is_that_of_analysis_for_every_scheme(browser):
    errors = [agree(*case, POINTS, numbers(found)) for case, found in zip(NUMBERS, browser["radii"], strict=True)]
    assert len({name for name, _ in NUMBERS}) == len(schemes)
    # An implicit scheme of 15 digits is not known to 1e-12 near poles: its allowance is what it is.
    rough = {s.name for s in schemes.values() if s.digits == 15 and not s.explicit}
    assert rough == {"rodas4", "rodas5p"}
    errors = [error for (name, _), error in zip(NUMBERS, errors, strict=True) if name not in rough]
    assert (np.array(errors) <= 1e-12).mean() > 0.999


def test_roots_followed_from_point_to_point_are_the_same(browser):
    for case, found in zip(NUMBERS, browser["warm"], strict=True):
        agree(*case, PATH + 0.3j, numbers(found))


def test_zero_stability_and_where_it_is_lost(browser):
    assert browser["zero"] == [zero_stable(name, **values) for name, values in NUMBERS]
    assert {True, False} == set(browser["zero"])
    # Lu et al. (2018): -1 < k <= 1
    np.testing.assert_allclose(browser["range"], [-1, 1], atol=2e-5)


@pytest.mark.parametrize("name", STARS)
def test_the_order_star_is_that_of_analysis(browser, name):
    expected = order_star(name, re=(GRID[0], GRID[-1]), im=(GRID[0], GRID[-1]), resolution=len(GRID)).ratio
    found = numbers(browser["stars"][STARS.index(name)]).reshape(expected.shape)
    # Beside a cut between two sheets the spokes, which end elsewhere, may take the other one.
    alike = abs(found - expected) <= 1e-10 * expected
    assert alike.mean() > (0.97 if schemes[name].carried > 1 else 0.999), alike.mean()


def test_orders_of_tableaus_by_their_trees(browser):
    assert browser["orders"] == [min(5, schemes[name].order) for name in TABLEAUS]
    assert {1, 2, 3, 4, 5} == set(browser["orders"])


def test_steps_that_are_played(browser):
    rk4, ab2, verlet = (numbers(found).view(complex) for found in browser["played"])
    w = -0.5 + 1j
    np.testing.assert_allclose(rk4, (1 + w + w**2 / 2 + w**3 / 6 + w**4 / 24) ** np.arange(13), rtol=1e-12)
    w = -0.25 + 0.5j
    u = [1, cmath.exp(w)]
    for n in range(1, 12):
        u.append(u[n] + w * (1.5 * u[n] - 0.5 * u[n - 1]))
    np.testing.assert_allclose(ab2, u, rtol=1e-12)
    w, x, y = 0.5j, [1], 0
    for _ in range(12):
        y += w / 2 * x[-1]
        x.append(x[-1] + w * y)
        y += w / 2 * x[-1]
    np.testing.assert_allclose(verlet, x, rtol=1e-12)


def test_the_equation_on_linear_f_gives_the_principal_root(browser):
    """exp(z (c_0 + c_1 z + ...)) is the root near 1 + c_0 z, at small z."""
    for (name, values), found in zip(NUMBERS, browser["series"], strict=True):
        if found is None:
            assert name == "in_resnet" or values == {"k": -1}
            continue
        c = numbers(found)
        # Well inside of the circle of convergence.
        z = 0.1 * np.exp(1j * np.arange(1, 4)) / max(1, *(abs(c[1:] / c[0]) ** (1 / np.arange(1, len(c)))))
        told = np.exp(z * np.polyval(c[::-1], z))
        roots = amplification_factors(schemes[name].substitute(values), z)
        assert abs(roots - told[:, None]).min(1).max() < 1e-13, (name, values)
        assert abs(c[0]) > 0.2, name


def plain(lines):
    return [line.translate(str.maketrans({"\N{PRIME}": "'", "\N{MINUS SIGN}": "-"})) for line in lines]


def test_the_equation_in_numbers(browser):
    euler, paper, pole, verlet, damped, four = map(plain, browser["equations"])
    assert euler[:2] == [
        "u' + (h/2) u'' + (h²/6) u''' + … = f",
        "u' = f - (h/2) f'f + (h²/12) f''(f,f) + (h²/3) f'f'f + O(h³)",
    ]
    # log(1 + z)/z
    assert euler[2] == "f = λu: u' = (1 - 0.5 z + 0.33333 z² - 0.25 z³ + …) λu"
    # Lu et al. (2018) with k = -1/2, and solved for u': 1/(1 + k), (1 - k)/(2 (1 + k)^3)
    assert paper[:2] == [
        "(1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h²/6) u''' + … = f",
        "0.5 u' + 0.75 h u'' + 0.083333 h² u''' + … = f",
    ]
    assert paper[2].startswith("u' = 2 f - 6 h f'f + ")
    assert paper[3].startswith("f = λu: u' = (2 - 6 z + ")
    assert pole[1] == "h u'' + … = f"
    assert "an equation of another order" in pole[2]
    assert "no series in z" in pole[3]
    # Hairer, Lubich and Wanner (2006), IX; z + z^3 ...: 2 arsinh(z/2)/z
    assert verlet == [
        "u₁' = f - (h²/24) f''(g,g) - (h²/6) f'g'f + O(h³)",
        "u₂' = g + (h²/12) g''(f,f) + (h²/12) g'f'g + O(h³)",
        "f = λu: u' = (1 - 0.041667 z² + 0.0046875 z⁴ - 0.00069754 z⁶ + …) λu",
    ]
    assert len(damped) == 1
    assert "no series in z" in damped[0]
    assert four[0] == "u' = f + O(h⁴)"


def test_the_equation_of_a_scheme_of_ones_own(browser):
    lm, midpoint, ab2, bdf2, none = map(plain, browser["ownEquations"])
    # As above, and (k^2 - 10 k + 1)/12, (k^2 - 4 k + 1)/3 over (1 + k)^5
    assert lm[:2] == [
        "(1/2) u' + (3 h/4) u'' + (h²/12) u''' + … = f",
        "u' = 2 f - 6 h f'f + (50 h²/3) f''(f,f) + (104 h²/3) f'f'f + O(h³)",
    ]
    # E - 1/E = 2 (hD + (hD)^3/6 + ...); C_3 = 5/12; -2/9 of BDF2 over sigma(1) = 2/3
    assert midpoint[:2] == ["u' + (h²/6) u''' + … = f", "u' = f - (h²/6) f''(f,f) - (h²/6) f'f'f + O(h³)"]
    assert ab2[:2] == ["u' + (5 h²/12) u''' + … = f", "u' = f - (5 h²/12) f''(f,f) - (5 h²/12) f'f'f + O(h³)"]
    assert bdf2[:2] == ["u' - (h²/3) u''' + … = f", "u' = f + (h²/3) f''(f,f) + (h²/3) f'f'f + O(h³)"]
    assert len(none) == 1


def test_equations_of_tableaus_are_those_of_analysis(browser):
    for name, (of_zoo, of_own) in zip(TABLEAUS, browser["tableauEquations"], strict=True):
        # Euler's methods are multistep schemes, too; at order 3 and from 5 on analysis goes further.
        lines = [line for line in plain(of_zoo) if line.startswith(("u' =", "f ="))]
        if schemes[name].order in (1, 2, 4):
            assert plain(of_own) == lines, name
