"""Reversible and partitioned schemes and those that networks brought up, each as its paper writes it."""

import torch

# ------------------------------------------------------------------------------------ reversible


def momentum(fs, x, h, ks):
    # Sander et al. (2021), gamma = 9/10, the velocity at rest
    v = torch.zeros_like(x)
    for f in fs:
        v = 0.9 * v + 0.1 * f(x)
        x = x + h * v
    return x


def alf(fs, x, h, ks):
    # Zhuang et al. (2021), the ALF step with eta = 1
    v = fs[0](x)
    for f in fs:
        x = x + h / 2 * v
        v = 2 * f(x) - v
        x = x + h / 2 * v
    return x


def reversible_heun(fs, y, h, ks):
    # Kidger et al. (2021), algorithm 1 without noise; both drifts with the layer's own weights
    hat = y
    for f in fs:
        drift = f(hat)
        hat = 2 * y - hat + h * drift
        y = y + h / 2 * (drift + f(hat))
    return y


def symplectic_euler(fs, u, h, ks):
    # RevNet (Gomez et al. 2017)
    x, y = u.chunk(2, 1)
    for f, g in fs:
        x = x + h * f(y)
        y = y + h * g(x)
    return torch.cat([x, y], 1)


def verlet_step(f, g, q, p, h):
    p = p + h / 2 * g(q)
    q = q + h * f(p)
    return q, p + h / 2 * g(q)


def verlet(fs, u, h, ks):
    # velocity Verlet: Swope et al. (1982)
    q, p = u.chunk(2, 1)
    for f, g in fs:
        q, p = verlet_step(f, g, q, p, h)
    return torch.cat([q, p], 1)


def yoshida4(fs, u, h, ks):
    # Yoshida (1990): x1 = 1 / (2 - 2^(1/3)), x0 = -2^(1/3) x1
    q, p = u.chunk(2, 1)
    for f, g in fs:
        for weight in (1.3512071919596578, -1.7024143839193153, 1.3512071919596578):
            q, p = verlet_step(f, g, q, p, weight * h)
    return torch.cat([q, p], 1)


def coupled(increment, coupling):
    """McCallum & Foster (2024): the loop of any one-step increment psi(f, u, h), made reversible."""

    def loop(fs, y, h, ks):
        z = y
        for f in fs:
            y = coupling * y + (1 - coupling) * z + increment(f, z, h)
            z = z - increment(f, y, -h)
        return y

    return loop


# -------------------------------------------------------------------------------------- networks


def poly2(fs, u, h, ks):
    # Zhang et al. (2017): I + F + F F, with h F in the place of F
    for f in fs:
        first = h * f(u)
        u = u + first + h * f(first)
    return u


def poly3(fs, u, h, ks):
    for f in fs:
        first = h * f(u)
        second = h * f(first)
        u = u + first + second + h * f(second)
    return u


def mpoly2(fs, u, h, ks):
    for f, g in fs:
        first = h * f(u)
        u = u + first + h * g(first)
    return u


def way2(fs, u, h, ks):
    for f, g in fs:
        u = u + h * f(u) + h * g(u)
    return u


def picard2(fs, u, h, ks):
    # v_{i+1} = u + h F(v_i), twice from v_0 = u
    for f in fs:
        v = u
        for _ in range(2):
            v = u + h * f(v)
        u = v
    return u


def fractal2(fs, u, h, ks):
    # Lu et al. (2018), section 2: k1 u + k2 (k3 u + f(u)) + g(k3 u + f(u)) with the averaged join k1 = k2 = 1/2,
    # which halves g as well, and k3 = 1
    for f, g in fs:
        short = u + h * f(u)
        u = (u + short + h * g(short)) / 2
    return u


def gated_rk2(fs, u, h, ks):
    # Li et al. (2022): y + g F1 + (1 - g) F2, the gate a trained scalar
    for f, k in zip(fs, ks, strict=True):
        first = h * f(u)
        second = h * f(u + first)
        u = u + k["g"] * first + (1 - k["g"]) * second
    return u


def in_resnet(fs, u, h, ks):
    # Yang et al. (2020)
    for f, k in zip(fs, ks, strict=True):
        u = (1 - k["lam"]) * u + h * f(u)
    return u


LOOPS = {
    "momentum": momentum,
    "alf": alf,
    "reversible_heun": reversible_heun,
    "symplectic_euler": symplectic_euler,
    "verlet": verlet,
    "yoshida4": yoshida4,
    "poly2": poly2,
    "poly3": poly3,
    "mpoly2": mpoly2,
    "way2": way2,
    "picard2": picard2,
    "fractal2": fractal2,
    "gated_rk2": gated_rk2,
    "in_resnet": in_resnet,
}
