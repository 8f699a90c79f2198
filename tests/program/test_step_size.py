"""Programs whose step size is left open: compiled once, and bound to a step size without exact arithmetic."""

import pickle
from fractions import Fraction

import pytest
import torch

from odenets import SchemeError, multistep, schemes
from odenets.program import Combine, compile_scheme, open_program
from odenets.program.step import step

#: Dormand & Prince (1980), table 2, row by row; 0 left out
DOPRI5 = [
    ["1/5"],
    ["3/40", "9/40"],
    ["44/45", "-56/15", "32/9"],
    ["19372/6561", "-25360/2187", "64448/6561", "-212/729"],
    ["9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"],
    ["35/384", "500/1113", "125/192", "-2187/6784", "11/84"],
]


def factors(program):
    """The factors of each linear combination of a program, but for what is taken as it is."""
    rows = [item.ops for item in program.instructions if isinstance(item, Combine)]
    return [sorted(op[-1] for op in ops if op[0] != "take") for ops in rows]


@pytest.mark.parametrize("h", [0.1, -0.3, 1 / 3, 1e-7, 12.5])
def test_coefficients_are_rounded_once(h):
    expected = [sorted(float(Fraction(x) * Fraction(h)) for x in row) for row in DOPRI5]
    assert factors(compile_scheme(schemes["dopri5"], h)) == expected


@pytest.mark.parametrize("h", [0.1, 2.0])
def test_surds_are_rounded_once(h):
    # Hairer & Wanner (1996), table IV.6.5: gamma = 1 - sqrt(2)/2, of which Python's own square root is an ulp off
    gamma = 1 - Fraction(14142135623730950488016887242096980785697, 2 * 10**40)
    (solve, _), (row, _) = (
        [item for item in compile_scheme(schemes["sdirk2"], h).instructions if type(item).__name__ == kind]
        for kind in ("Solve", "Combine")
    )
    assert solve.weights == ((float(gamma * Fraction(h)),),)
    assert solve.inverse == ((float(1 / (gamma * Fraction(h))),),)
    assert row.ops[-1][-1] == float((1 - gamma) * Fraction(h))


def test_slopes_are_carried_without_h():
    # u+ = u + h (3/2 f - 1/2 f_before), and f is handed on as it is
    program = compile_scheme(schemes["ab2"], 0.1)
    assert factors(program) == [sorted([float(Fraction(0.1) * 3 / 2), float(-Fraction(0.1) / 2)])]
    assert program.outputs[1] == program.evaluated[0].slot


def test_one_is_no_factor():
    # For h = 1, as in a residual network, u + h f needs no product; the coefficients 3/2 and -1/2 wait for no h.
    assert factors(compile_scheme(schemes["ab2"], 1.0)) == [[-0.5, 1.5]]


def test_learned_coefficients_with_h():
    import sympy

    k = sympy.Symbol("k", real=True)
    program = compile_scheme(multistep("own", a=[1 - k, k], b=[1 + k]), 0.25)
    u, before, f = (torch.tensor(x, dtype=torch.float64) for x in (3.0, 2.0, 7.0))
    for same in (program, pickle.loads(pickle.dumps(program))):
        value = step(same, lambda what, x: f, (u, before), {"k": torch.tensor(0.5, dtype=torch.float64)})
        assert value[0].item() == 0.5 * 3 + 0.5 * 2 + 0.25 * 1.5 * 7


def test_another_step_size_compiles_nothing():
    open_program(schemes["dop853"], False)
    before = open_program.cache_info().misses
    programs = [compile_scheme(schemes["dop853"], 0.01 + 1e-4 * n) for n in range(3)]
    assert open_program.cache_info().misses == before
    assert len({program.instructions for program in programs}) == 3


def test_the_step_alone_for_sizes_that_change():
    # Heun's method, u+ = u + h/2 f_1 + h/2 f_2 with f = 2 u
    kept = open_program(schemes["heun"], False)
    kept.run(0.5)
    for program in (kept, pickle.loads(pickle.dumps(kept))):
        for h in (0.25, -0.5, 0.25, 0.25):
            (u,) = program.run(h)(lambda what, x: 2 * x, (torch.tensor(3.0, dtype=torch.float64),), {})
            assert u.item() == 3 + h / 2 * 6 + h / 2 * 2 * (3 + h * 6)


@pytest.mark.parametrize("h", [0.0, float("inf"), float("nan")])
def test_step_sizes_that_are_none(h):
    with pytest.raises(SchemeError, match=f"got step size h = {h}, expected a finite number other than 0"):
        compile_scheme(schemes["rk4"], h)
