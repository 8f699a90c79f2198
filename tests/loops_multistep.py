"""Linear multistep schemes and predictor-corrector pairs with typed coefficients, and LM's relatives.

The first steps, until there is history, are the plain residual step of Lu et al. (2018).
Adams and Nystrom coefficients: Hairer, Norsett & Wanner (1993), III.1; Lambert (1973), chapter 3.
"""

import torch


def explicit(back, denominator, *b):
    """u_{n+1} = u_{n-back} + h / denominator (b_0 f_n + b_1 f_{n-1} + ...)."""
    steps = max(len(b), back + 1)

    def loop(fs, u, h, ks):
        past, slopes = [u], []
        for n, f in enumerate(fs):
            slopes.append(f(past[-1]))
            if n < steps - 1:
                past.append(past[-1] + h * slopes[-1])
            else:
                increment = sum(c * slopes[n - j] for j, c in enumerate(b))
                past.append(past[n - back] + h / denominator * increment)
        return past[-1]

    return loop


def pece(predictor, corrector):
    """Predict, evaluate, correct, evaluate: each a (denominator, coefficients), newest slope first."""
    (p_scale, p), (c_scale, c) = predictor, corrector

    def loop(fs, u, h, ks):
        slopes = [fs[0](u)]
        for n, f in enumerate(fs):
            if n < len(p) - 1:
                u = u + h * slopes[-1]
            else:
                predicted = u + h / p_scale * sum(w * s for w, s in zip(p, reversed(slopes), strict=False))
                new = [*slopes, f(predicted)]
                u = u + h / c_scale * sum(w * s for w, s in zip(c, reversed(new), strict=False))
            if n + 1 < len(fs):
                slopes.append(fs[n + 1](u))  # the final evaluation is with the next layer's weights
        return u

    return loop


def leapfrog(fs, u, h, ks):
    u, before = u + h * fs[0](u), u
    for f in fs[1:]:
        u, before = before + 2 * h * f(u), u
    return u


def zerosnet(fs, u, h, ks):
    past = [u]
    for n, f in enumerate(fs):
        if n < 2:
            past.append(past[-1] + h * f(past[-1]))
        else:
            past.append((3 * past[-1] + 5 * past[-2] + past[-3] + 16 * h * f(past[-1])) / 9)
    return past[-1]


def lm(fs, u, h, ks):
    u, before = torch.add(u, fs[0](u), alpha=h), u
    for f, k in zip(fs[1:], ks[1:], strict=True):
        u, before = torch.add(torch.lerp(u, before, k["k"]), f(u), alpha=h), u
    return u


def lm3(fs, u, h, ks):
    past = [u]
    for n, (f, k) in enumerate(zip(fs, ks, strict=True)):
        if n < 2:
            past.append(past[-1] + h * f(past[-1]))
        else:
            k1, k2 = k["k1"], k["k2"]
            past.append((1 - k1 - k2) * past[-1] + k1 * past[-2] + k2 * past[-3] + h * f(past[-1]))
    return past[-1]


AM3, AM4, AM5 = (12, (5, 8, -1)), (24, (9, 19, -5, 1)), (720, (251, 646, -264, 106, -19))

LOOPS = {
    "ab1": explicit(0, 1, 1),
    "ab2": explicit(0, 2, 3, -1),
    "ab3": explicit(0, 12, 23, -16, 5),
    "ab4": explicit(0, 24, 55, -59, 37, -9),
    "ab5": explicit(0, 720, 1901, -2774, 2616, -1274, 251),
    "ab6": explicit(0, 1440, 4277, -7923, 9982, -7298, 2877, -475),
    "nystrom2": explicit(1, 1, 2),
    "nystrom3": explicit(1, 3, 7, -2, 1),
    "nystrom4": explicit(1, 3, 8, -5, 4, -1),
    "nystrom5": explicit(1, 90, 269, -266, 294, -146, 29),
    "pece1": pece((1, (1,)), (2, (1, 1))),
    "pece2": pece((2, (3, -1)), AM3),
    "pece3": pece((12, (23, -16, 5)), AM4),
    "pece4": pece((24, (55, -59, 37, -9)), AM5),
    "leapfrog": leapfrog,
    "zerosnet": zerosnet,
    "lm": lm,
    "lm3": lm3,
}
