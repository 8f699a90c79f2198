"""The generated code of steps: what it says, and that it rounds as the same operations by hand."""

import copy
import pickle
import traceback

import pytest
import torch

import odenets
from odenets import schemes
from odenets.program import compile_scheme, open_program
from odenets.program.step import step

LM = """\
def bind(e2):
    def step(function, state, learned, solver=None):
        y0 = state[0]
        y1 = state[1]
        f2 = function(e2, y0)
        y3 = lerp(y0, y1, learned['k'])
        y3 = add(y3, f2)
        return y3, y0
    return step
"""
MIDPOINT = """\
def bind(e1, c2_1, e3, c4_1):
    def step(function, state, learned, solver=None):
        y0 = state[0]
        f1 = function(e1, y0)
        y2 = add(y0, f1, alpha=c2_1)
        f3 = function(e3, y2)
        y4 = add(y0, f3, alpha=c4_1)
        return (y4,)
    return step
"""
IMPLICIT = """\
def bind(s1, c3_1, c3_2):
    def step(function, state, learned, solver=None):
        y0 = state[0]
        f1, f2 = solver(s1, (y0, y0,))
        y3 = add(y0, f2, alpha=c3_1)
        y3 = add_to(y3, (f1,), (c3_2,))
        return (y3,)
    return step
"""


@pytest.mark.parametrize(
    ("name", "unit", "text"), [("lm", True, LM), ("midpoint", False, MIDPOINT), ("radau_iia2", False, IMPLICIT)]
)
def test_the_code_is_what_one_would_write(name, unit, text):
    assert open_program(schemes[name], unit).code.text == text


def rk4(f, u, h):
    k1 = f(u)
    k2 = f(torch.add(u, k1, alpha=h / 2))
    k3 = f(torch.add(u, k2, alpha=h / 2))
    k4 = f(torch.add(u, k3, alpha=h))
    weights = [(k4, h / 6), (k3, h / 3), (k2, h / 3), (k1, h / 6)]
    for k, weight in weights:  # each product and sum rounded once, in this order
        u = torch.add(u, k, alpha=weight)
    return (u,)


def ab2(f, u, before, h):
    return torch.add(torch.add(u, f(u), alpha=1.5 * h), before, alpha=-0.5 * h), f(u)


def momentum(f, u, v, h):
    v = torch.lerp(v, f(u), 0.1)
    return torch.add(u, v, alpha=h), v


@pytest.mark.parametrize("h", [1.0, 0.25])
@pytest.mark.parametrize("loop", [rk4, ab2, momentum])
def test_equal_to_the_bit(loop, h):
    torch.manual_seed(0)
    program = compile_scheme(schemes[loop.__name__], h)
    state = tuple(torch.randn(64, 5) for _ in program.outputs)
    given = [value.clone() for value in state]
    for same in (program, copy.deepcopy(program), pickle.loads(pickle.dumps(program))):
        found = step(same, lambda what, x: torch.tanh(x), state, {})
        assert all(torch.equal(a, b) for a, b in zip(found, loop(torch.tanh, *state, h), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(state, given, strict=True))  # not written to
    assert same == program


def test_values_of_functions_are_not_written_to():
    kept = []

    def function(what, x):
        kept.append((torch.tanh(x), torch.tanh(x)))
        return kept[-1][0]

    step(compile_scheme(schemes["dopri5"], 0.1), function, (torch.ones(3),), {})
    assert all(torch.equal(*pair) for pair in kept)


def test_programs_of_one_scheme_share_their_code():
    one, other = (compile_scheme(schemes["rk4"], h).ready().run for h in (0.1, 0.2))
    assert one.__code__ is other.__code__


def test_a_traceback_shows_the_line():
    def fails(what, x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as raised:
        step(compile_scheme(schemes["heun"], 1.0), fails, (torch.ones(1),), {})
    assert "f1 = function(e1, y0)" in "".join(traceback.format_tb(raised.value.__traceback__))


@pytest.mark.parametrize("gradient", ["direct", "reversible"])
def test_networks_with_generated_steps_are_copied_and_pickled(gradient):
    torch.manual_seed(0)
    net = odenets.ODENet([torch.nn.Linear(3, 3) for _ in range(4)], "lm", gradient=gradient)
    x = torch.randn(2, 3)
    net(x).sum().backward()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        other.zero_grad()
        assert torch.equal(other(x), net(x))
        other(x).sum().backward()
        assert torch.equal(other.coefficients.k_1.grad, net.coefficients.k_1.grad)
