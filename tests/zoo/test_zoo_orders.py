"""What is derived of every scheme, against the literature typed here."""

import pathlib

import pytest
import sympy

import odenets
from odenets import schemes
from odenets.scheme.bibliography import REFERENCES, cite

ORDERS = {
    # Hairer, Norsett & Wanner (1993), II.1 and II.3: the classical Runge-Kutta schemes
    **{"euler": 1, "midpoint": 2, "heun": 2, "heun3": 3, "kutta3": 3, "rk4": 4, "rk38": 4},
    # Ralston (1962): least error bounds of order 2 and 3
    **{"ralston2": 2, "ralston3": 3},
    # Gottlieb, Ketcheson & Shu (2011), chapter 6: SSPRK(stages, order)
    **{"ssprk22": 2, "ssprk33": 3, "ssprk43": 3, "ssprk54": 4, "ssprk104": 4},
    # Hairer, Norsett & Wanner (1993), II.4 and II.5: pairs, the order of the solution carried on.
    # Fehlberg carries on the lower one, the others the higher one.
    **{"bosh3": 3, "fehlberg45": 4, "cash_karp": 5, "dopri5": 5, "dop853": 8},
    # Bogacki & Shampine (1996); Verner (2010); Prince & Dormand (1981); Fehlberg (1968), here the higher order
    **{"bs5": 5, "vern6": 6, "vern7": 7, "vern8": 8, "vern9": 9, "dopri8": 8, "rkf78": 8},
    # Sommeijer, Shampine & Verwer (1998); Abdulle (2002)
    **{"rkc2_6": 2, "rock4_8": 4},
    # Tsitouras (2011)
    **{"tsit5": 5},
    # Hairer, Norsett & Wanner (1993), III.1 and III.2: k-step Adams-Bashforth order k, Adams-Moulton
    # with k - 1 past slopes order k, BDF order k
    **{f"ab{k}": k for k in range(1, 7)},
    **{f"am{k}": k for k in range(2, 7)},
    **{f"bdf{k}": k for k in range(1, 7)},
    # ibid., III.1: k-step Nystrom order k, Milne-Simpson 4
    **{f"nystrom{k}": k for k in range(2, 6)},
    **{"milne_simpson": 4},
    # Lambert (1973), chapter 3: a predictor of order p* and a corrector of order p <= p* + 1 make PECE of order p
    **{f"pece{k}": k + 1 for k in range(1, 5)},
    # Hairer & Wanner (1996), table IV.5.13: Gauss 2s, Radau IA and IIA 2s - 1, Lobatto 2s - 2
    **{"gauss1": 2, "gauss2": 4, "gauss3": 6, "implicit_midpoint": 2, "radau_ia2": 3, "radau_iia2": 3},
    **{"radau_iia3": 5, "lobatto_iiia3": 4, "lobatto_iiic3": 4, "backward_euler": 1, "trapezoid": 2},
    # Alexander (1977); Norsett (1974), as Hairer, Norsett & Wanner (1993), II.7, prints it
    **{"sdirk2": 2, "sdirk3": 3},
    # Hosea & Shampine (1996); Kvaerno (2004); Kennedy & Carpenter (2003)
    **{"trbdf2": 2, "kvaerno3": 3, "kvaerno4": 4, "kvaerno5": 5, "kencarp3": 3, "kencarp4": 4, "kencarp5": 5},
    # Ascher, Ruuth & Spiteri (1997); Kennedy & Carpenter (2003), the same with an explicit scheme each
    **{"ars111": 1, "ars222": 2, "ars232": 2, "ars343": 3, "ars443": 3, "ark324": 3, "ark436": 4, "ark548": 5},
    # Verwer et al. (1999); Lang & Verwer (2001); Sandu et al. (1997); Hairer & Wanner (1996), VI.4; Steinebach (2023)
    **{"ros2": 2, "ros3p": 3, "rodas3": 3, "rodas4": 4, "rodas5p": 5},
    # Hairer, Lubich & Wanner (2006), I.1 and II.4: symplectic Euler 1, Stoermer-Verlet 2, triple jump 4
    **{"symplectic_euler": 1, "verlet": 2, "yoshida4": 4},
    # Chang et al. (2018): midpoint network; Zhuang et al. (2021); Kidger et al. (2021);
    # Sander et al. (2021): a velocity that lags by O(h) leaves order 1
    **{"leapfrog": 2, "alf": 2, "reversible_heun": 2, "momentum": 1},
    # Lu et al. (2018): LM solves (1 + k) u' = f. PolyNet and its Picard reading cut backward Euler's
    # (I - hf)^-1 off: I + hf + (hf)^2 differs from exp(hf) at h^2, as does I + hf + hg
    **{"lm": 0, "lm3": 0, "poly2": 1, "poly3": 1, "mpoly2": 1, "picard2": 1, "way2": 1},
    # FractalNet with averaged joins is Heun's method where both functions are one
    **{"fractal2": 2},
    # Li et al. (2022): of order 2 at the gate 1/2 only, where it starts
    **{"gated_rk2": 1},
    # Yang et al. (2020): solves u' = f - lambda / h u
    **{"in_resnet": 0},
    # Chen, Jin & Shang (2022): sum j^2 a_j = 5/9 + 4/9 = 1 makes it order 2; 1 + sum j^3 a_j = 22/9, so not 3
    **{"zerosnet": 2},
}

# Bogacki & Shampine (1989); Hairer, Norsett & Wanner (1993), tables II.5.1 (Fehlberg) and II.5.2 (Dormand &
# Prince), II.10 (DOP853 has two estimates, of orders 5 and 3; the first is the embedded one); Cash & Karp (1990);
# Tsitouras (2011); Hosea & Shampine (1996); Bogacki & Shampine (1996), the first of its two estimates;
# Verner (2010); Prince & Dormand (1981); Sommeijer, Shampine & Verwer (1998), with an estimate of h^3 / 15 times the
# third derivative; Abdulle (2002); Kvaerno (2004); Kennedy & Carpenter (2003); Fehlberg (1968)
EMBEDDED = {
    "heun": 1,
    "reversible_heun": 1,
    "bosh3": 2,
    "fehlberg45": 5,
    "cash_karp": 4,
    "dopri5": 4,
    "tsit5": 4,
    "dop853": 5,
    "trbdf2": 3,
}
EMBEDDED |= {f"vern{p}": p - 1 for p in (6, 7, 8, 9)} | {"ark324": 2, "ark436": 3, "ark548": 4}
EMBEDDED |= {"bs5": 4, "dopri8": 7, "rkf78": 7, "rkc2_6": 2, "rock4_8": 3} | {
    f"{name}{p}": p - 1 for name in ("kvaerno", "kencarp") for p in (3, 4, 5)
}
# Verwer et al. (1999); Sandu et al. (1997); Hairer & Wanner (1996), VI.4; Steinebach (2023)
EMBEDDED |= {"ros2": 1, "rodas3": 2, "rodas4": 3, "rodas5p": 4}

# C_{p+1} with alpha_k = 1. Lambert (1973), chapter 3; Hairer, Norsett & Wanner (1993),
# III.2: Adams gamma_k, gamma*_k; BDF -1 / (k + 1) over the sum of 1/j, j = 1 ... k
ERROR_CONSTANTS = {
    **{"ab1": "1/2", "ab2": "5/12", "ab3": "3/8", "ab4": "251/720", "ab5": "95/288", "ab6": "19087/60480"},
    **{"am2": "-1/12", "am3": "-1/24", "am4": "-19/720", "am5": "-3/160", "am6": "-863/60480"},
    **{"bdf1": "-1/2", "bdf2": "-2/9", "bdf3": "-3/22", "bdf4": "-12/125", "bdf5": "-10/137", "bdf6": "-20/343"},
    # Lambert (1973), chapter 2: the mid-point rule 1/3, Simpson's rule -1/90
    **{"nystrom2": "1/3", "leapfrog": "1/3", "milne_simpson": "-1/90"},
    # u_{n+2} - 19/10 u_{n+1} + 9/10 u_n = h/10 f_{n+1}: (4 - 19/10)/2 - 1/10
    **{"momentum": "19/20"},
    # 1 + sum j^3 a_j - 3 sum j^2 b_j = 22/9, over 3!
    **{"zerosnet": "11/27"},
    # exp(z) - R(z): explicit with s = p leaves 1/(p + 1)!, the Pade approximation (j, k)
    # (-1)^k j! k! / ((j + k)! (j + k + 1)!): Hairer & Wanner (1996), theorem IV.3.11
    **{"euler": "1/2", "heun": "1/6", "ralston2": "1/6", "ralston3": "1/24", "kutta3": "1/24", "rk4": "1/120"},
    **{"backward_euler": "-1/2", "trapezoid": "-1/12", "gauss1": "-1/12", "gauss2": "1/720", "gauss3": "-1/100800"},
    **{"lobatto_iiia3": "1/720", "radau_ia2": "1/72", "radau_iia2": "1/72", "radau_iia3": "-1/7200"},
    **{"lobatto_iiic3": "-1/480"},
}

EXPLICIT = {
    *{"euler", "midpoint", "heun", "ralston2", "ralston3", "heun3", "kutta3", "rk4", "rk38"},
    *{"ssprk22", "ssprk33", "ssprk43", "ssprk54", "ssprk104"},
    *{"bosh3", "fehlberg45", "cash_karp", "dopri5", "tsit5", "dop853", "bs5", "dopri8", "rkf78"},
    *(f"vern{p}" for p in (6, 7, 8, 9)),
    *{"rkc2_6", "rock4_8"},
    *{"leapfrog", "zerosnet", "lm", "lm3", "momentum", "alf", "reversible_heun"},
    *{"symplectic_euler", "verlet", "yoshida4"},
    *{"poly2", "poly3", "mpoly2", "way2", "picard2", "fractal2", "gated_rk2", "in_resnet"},
    *(f"ab{k}" for k in range(1, 7)),
    *(f"nystrom{k}" for k in range(2, 6)),
    *(f"pece{k}" for k in range(1, 5)),
}
# Of the tableaux of Hairer & Wanner (1996), IV.5 and IV.6, these alone have zeros above the diagonal; Kvaerno (2004)
# and Kennedy & Carpenter (2003) have ESDIRK schemes, of which IMEX schemes are made;
# a multistep scheme has one unknown, f(u_{n+1})
DIAGONALLY_IMPLICIT = {
    *{"backward_euler", "trapezoid", "implicit_midpoint", "gauss1", "sdirk2", "sdirk3", "trbdf2", "milne_simpson"},
    *(f"{name}{p}" for name in ("kvaerno", "kencarp") for p in (3, 4, 5)),
    *{"ars111", "ars222", "ars232", "ars343", "ars443", "ark324", "ark436", "ark548"},
    *(f"am{k}" for k in range(2, 7)),
    *(f"bdf{k}" for k in range(1, 7)),
}
ROSENBROCK = {"ros2", "ros3p", "rodas3", "rodas4", "rodas5p"}
# Undone explicitly: a two-step scheme u+ = a u + b u_ + h f(u) with b != 0 has u_ = (u+ - a u - h f(u)) / b, a
# three-step one likewise; splittings, ALF and reversible Heun by construction. BDF k is solved for its last
# u_{n+1-k} in the same way.
REVERSIBLE = {
    *{"leapfrog", "nystrom2", "zerosnet", "lm", "lm3", "momentum", "alf", "reversible_heun"},
    *{"symplectic_euler", "verlet", "yoshida4", "backward_euler"},
    *(f"bdf{k}" for k in range(1, 7)),
}
# k - 1 for a k-step scheme; those not named are one-step, or start from a velocity
STARTING_VALUES = {
    **{f"ab{k}": k - 1 for k in range(1, 7)},
    **{f"bdf{k}": k - 1 for k in range(1, 7)},
    **{f"pece{k}": k - 1 for k in range(1, 5)},
    **{f"nystrom{k}": k - 1 for k in range(2, 6)},
    # Adams-Moulton of order k carries f(u_n), ..., f(u_{n-k+2}), Milne-Simpson f(u_n), f(u_{n-1}): past slopes,
    # each of which one implicit step fills, so one step more than the k - 2 and 1 of their names
    **{f"am{k}": k - 1 for k in range(2, 7)},
    **{"milne_simpson": 2, "leapfrog": 1, "lm": 1, "lm3": 2, "zerosnet": 2},
}


def test_every_scheme_has_its_literature_order():
    assert {name: scheme.order for name, scheme in schemes.items()} == ORDERS


def test_embedded_orders():
    found = {name: scheme.embedded_order for name, scheme in schemes.items() if scheme.embedded is not None}
    assert found == EMBEDDED
    # Hairer, Norsett & Wanner (1993), II.10: E^2 / E_3 goes like h^12 / h^4
    assert {name: s.estimate_order for name, s in schemes.items() if s.third is not None} == {"dop853": 7}
    assert schemes["dopri5"].estimate_order == schemes["fehlberg45"].estimate_order == 4


@pytest.mark.parametrize("name", ERROR_CONSTANTS)
def test_error_constants(name):
    assert schemes[name].error_constant == sympy.Rational(ERROR_CONSTANTS[name])


def test_structure():
    assert {name for name, scheme in schemes.items() if scheme.structure == "explicit"} == EXPLICIT
    assert {name for name, s in schemes.items() if s.structure == "diagonally implicit"} == DIAGONALLY_IMPLICIT
    assert {name for name, s in schemes.items() if s.structure == "linearly implicit"} == ROSENBROCK
    assert {s.explicit for s in schemes.values() if s.structure != "explicit"} == {False}


def test_reversible_schemes():
    assert {name for name, scheme in schemes.items() if scheme.reversible} == REVERSIBLE


def test_starting_values_are_those_of_a_k_step_scheme():
    found = {name: scheme.starting_values for name, scheme in schemes.items()}
    assert found == {name: STARTING_VALUES.get(name, 0) for name in schemes}


def test_coefficients_raise_the_order_at_special_values_only():
    # LM is consistent at k = 0 only, the gate of order 2 at 1/2, In-ResNet Euler's at 0.
    at = {"lm": {"k": 0}, "lm3": {"k1": 0, "k2": 0}, "gated_rk2": {"g": "1/2"}, "in_resnet": {"lam": 0}}
    assert {name: schemes[name].substitute(values).order for name, values in at.items()} == {
        "lm": 1,
        "lm3": 1,
        "gated_rk2": 2,
        "in_resnet": 1,
    }
    assert schemes["lm"].substitute(k="1/3").order == 0
    # k1 = -2 k2 is consistent too: 1 + sum j a_j = 1 + k1 + 2 k2 of f
    assert schemes["lm3"].substitute(k1="-1/2", k2="1/4").order == 1


@pytest.mark.parametrize("name", schemes)
def test_every_scheme_has_a_reference(name):
    assert schemes[name].reference in REFERENCES


def test_the_bibliography_is_of_authors_and_years_and_without_leftovers():
    files = [path for path in pathlib.Path(odenets.__file__).parent.rglob("*.py") if path.stem != "bibliography"]
    sources = "".join(path.read_text() for path in files)
    assert [key for key in REFERENCES if f'"{key}"' not in sources] == []
    for key, text in REFERENCES.items():
        authors, year, title = text.partition(" (")[0], text.partition("(")[2][:4], text.partition("), ")[2]
        assert authors
        assert year.isdigit()
        assert title
        assert not key[-4:].isdigit() or key.endswith(year)
        assert cite(key) == text
    assert cite("own work") == "own work"
