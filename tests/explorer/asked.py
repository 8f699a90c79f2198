"""What the browser is asked for, and what it is compared with."""

import base64

import numpy as np
import sympy
from linear.test_stability_zoo import CASES

from odenets import schemes

#: In float64, so that both sides have the same numbers.
NUMBERS = [(name, {symbol: float(sympy.Rational(x)) for symbol, x in values.items()}) for name, values in CASES]
POINTS = np.random.default_rng(0).uniform([-6, -6], [4, 6], (2000, 2)) @ [1, 1j]
PATH = np.linspace(-8, 3, 200)
STARS = ("rk4", "ab2", "bdf3", "gauss2", "leapfrog")
GRID = np.linspace(-3.05, 2.95, 25)
ADDRESS = "#s=lm,ab3&v=-1,0.5,2.5&z=-0.25,0.75&n=33&star=1&lm.k=-0.5&o=pendulum,0.25,40,1,-0.5"
KUTTA38 = {"A": "0 0 0 0\n1/3 0 0 0\n-1/3 1 0 0\n1 -1 1 0", "b": "1/8 3/8 3/8 1/8"}
#: What is entered -> what is said; wrong ones are refused.
OWN = [
    ({"A": "0 0\n1/2", "b": "0 1"}, "A, row 2: got 1 entries, expected 2"),
    ({"A": "0", "b": "x"}, 'b, entry 1: got "x", expected a number such as 1/3'),
    ({"A": "0", "b": "1/0"}, "got a division by 0"),
    ({"A": "0 0\n1 0", "b": "1/2 1/3"}, "b: got weights with the sum 5/6, expected 1"),
    ({"A": "0 0", "b": "1/2 1/2"}, "A: got 1 rows, expected 2"),
    ({"a": "1 1", "c": "1"}, "a: got factors with the sum 2, expected 1"),
    # Butcher's (2008) tables 100(I) and 244, in the normalisation u_{n+1} = ...
    ({"a": "1", "c": "23/12 -16/12 5/12"}, "Order 3. Error constant: 3/8."),
    ({"a": "4/3 -1/3", "c": "", "n": "2/3"}, "Order 2. Error constant: -2/9."),
    ({"a": "0 1", "c": "2"}, "Order 2. Error constant: 1/3."),
    ({"A": "0 0\n.5 0", "b": "0 1"}, "Order 2: 2 of the 17 order conditions up to order 5 hold. Error constant: 1/6."),
    (
        {"A": "0 0\n1/2 1/2", "b": "0.5, 0.5"},
        "Order 2: 2 of the 17 order conditions up to order 5 hold. Error constant: -1/12.",
    ),
    (
        {"A": "0 0\n1 0", "b": "1/3 2/3"},
        "Order 1: 1 of the 17 order conditions up to order 5 hold. Error constant: -1/6.",
    ),
    (KUTTA38, "Order 4: 8 of the 17 order conditions up to order 5 hold. Error constant: 1/120."),
]
REFUSED = 6
#: LM with k = -1/2, the midpoint rule of two steps, AB2, BDF2, and one with sigma(1) = 0.
MULTISTEPS = [
    *({"a": "3/2 -1/2", "c": "1"}, {"a": "0 1", "c": "2"}, {"a": "1", "c": "3/2 -1/2"}),
    *({"a": "4/3 -1/3", "n": "2/3"}, {"a": "1", "c": "1 -1"}),
]
EQUATIONS = [
    *(("euler", {}), ("lm", {"k": -0.5}), ("lm", {"k": -1.0})),
    *(("verlet", {}), ("in_resnet", {"lam": 0.5}), ("rk4", {})),
]


TABLEAUS = [
    s.name
    for s in schemes.values()
    if s.carried == 1 and not (s.symbols or s.digits or s.linear_only or len(s.functions) > 1 or s.Gamma)
    if all(x.is_Rational for x in (*s.A, *s.B))
]


def numbers(text):
    return np.frombuffer(base64.b64decode(text))
