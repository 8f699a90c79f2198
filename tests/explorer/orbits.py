"""The pendulum and Lotka-Volterra stepped by odenets, beside which the explorer is tested."""

import math

import numpy as np
import torch

import odenets
from odenets import ODENet, TimeField, schemes

#: Problem -> the start, the step size, and how many steps.
START = {"pendulum": ([1.5, 0.25], 0.25, 16), "lotka-volterra": ([1.5, 2.5], 0.125, 16)}
#: Explicit one-step schemes, with a history, with a velocity, partitioned, implicit of all kinds, linearly implicit.
STEPPED = [
    *((name, {}) for name in ("euler", "rk4", "dopri5", "ssprk104", "poly2", "way2", "rock4_8")),
    *(("lm", {"k": k}) for k in (-0.5, 0.25)),
    *((name, {}) for name in ("zerosnet", "leapfrog", "ab3", "ab6", "nystrom4", "pece3", "momentum", "alf")),
    *((name, {}) for name in ("reversible_heun", "symplectic_euler", "verlet", "yoshida4")),
    *((name, {}) for name in ("backward_euler", "trapezoid", "bdf2", "am3", "milne_simpson", "gauss2", "kencarp3")),
    *((name, {}) for name in ("ros2", "rodas5p")),
]


def pendulum(u):
    return torch.stack([u[..., 1], -u[..., 0].sin()], -1)


def lotka_volterra(w):
    u, v = w.unbind(-1)
    return torch.stack([u * (v - 2), v * (1 - u)], -1)


FIELDS = {"pendulum": pendulum, "lotka-volterra": lotka_volterra}
#: x' = f(y), y' = g(x), of the second one in logarithms.
HALVES = {
    "pendulum": (lambda p: p, lambda q: -torch.sin(q)),
    "lotka-volterra": (lambda y: y.exp() - 2, lambda x: 1 - x.exp()),
}


class Block(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.forward = f


def stepped(name, values, problem):
    """u_0, u_1, ... of the scheme, shape (steps + 1, 2)."""
    start, h, steps = START[problem]
    scheme, f = schemes[name].substitute(values), FIELDS[problem]
    u = torch.tensor([start], dtype=torch.float64)
    if scheme.Gamma is not None:
        times = torch.linspace(0, h * steps, steps + 1, dtype=torch.float64)
        return odenets.solve(lambda t, x: f(x), u[0], times, scheme, steps=steps).y.numpy()
    logarithms = scheme.components == 2 and problem != "pendulum"
    solver = None if scheme.explicit else odenets.NewtonKrylov(rtol=1e-13, atol=1e-14)
    if scheme.components == 2:
        blocks = [[Block(half) for half in HALVES[problem]]] * steps
    elif len(scheme.functions) > 1:  # which share f
        blocks = [[Block(lambda x: f(x) / len(scheme.functions))] * len(scheme.functions)] * steps
    else:
        blocks, h = TimeField(lambda t, x: f(x), 0.0, h * steps, steps), None
    net = ODENet(blocks, scheme, h=h, solver=solver)
    found = torch.cat([u, *net.solutions(u.log() if logarithms else u)]).detach()
    return np.concatenate([u.numpy(), found[1:].exp().numpy()]) if logarithms else found.numpy()


def field(problem):
    """The same as plain functions of numbers, for scipy."""
    if problem == "pendulum":
        return lambda t, u: [u[1], -math.sin(u[0])]
    return lambda t, u: [u[0] * (u[1] - 2), u[1] * (1 - u[0])]
