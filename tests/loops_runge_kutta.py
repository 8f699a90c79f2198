"""Explicit Runge-Kutta schemes as their sources write them, typed anew: the oracles of test_zoo_steps.py.

A loop takes the layers' functions (a list of functions per layer where the scheme evaluates
several), the input, the step size and the learnable coefficients of each layer.
"""

import math

import numpy as np
import torch
from scipy.integrate import RK23, RK45
from scipy.integrate._ivp import dop853_coefficients as dop853
from tables_high_order import RKF78, VERN6, VERN8, VERN9
from torchdiffeq._impl.dopri8 import _DOPRI8_TABLEAU as dopri8_13


def tableau(A, b):
    """The loop of a Butcher tableau: the rows of A below the diagonal, and the weights."""

    def loop(fs, u, h, ks):
        for f in fs:
            slopes = []
            for row in [[], *A]:
                slopes.append(f(u + h * sum(a * k for a, k in zip(row, slopes, strict=False))))
            u = u + h * sum(w * k for w, k in zip(b, slopes, strict=False))
        return u

    return loop


def euler(fs, u, h, ks):
    for f in fs:
        u = u + f(u) if h == 1 else torch.add(u, f(u), alpha=h)
    return u


def midpoint(fs, u, h, ks):
    for f in fs:
        u = u + h * f(u + h / 2 * f(u))
    return u


def heun(fs, u, h, ks):
    for f in fs:
        slope = f(u)
        u = u + h / 2 * (slope + f(u + h * slope))
    return u


def ralston2(fs, u, h, ks):
    for f in fs:
        slope = f(u)
        u = u + h / 4 * (slope + 3 * f(u + 2 * h / 3 * slope))
    return u


def kutta3(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 2 * k1)
        k3 = f(u - h * k1 + 2 * h * k2)
        u = u + h / 6 * (k1 + 4 * k2 + k3)
    return u


def heun3(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 3 * k1)
        u = u + h / 4 * (k1 + 3 * f(u + 2 * h / 3 * k2))
    return u


def ralston3(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 2 * k1)
        k3 = f(u + 3 * h / 4 * k2)
        u = u + h / 9 * (2 * k1 + 3 * k2 + 4 * k3)
    return u


def rk4(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 2 * k1)
        k3 = f(u + h / 2 * k2)
        k4 = f(u + h * k3)
        u = u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return u


def rk38(fs, u, h, ks):
    for f in fs:
        k1 = f(u)
        k2 = f(u + h / 3 * k1)
        k3 = f(u + h * (k2 - k1 / 3))
        k4 = f(u + h * (k1 - k2 + k3))
        u = u + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
    return u


# Strong-stability-preserving: Gottlieb, Ketcheson & Shu (2011), chapter 2 and 6.


def ssprk22(fs, u, h, ks):
    for f in fs:
        y = u + h * f(u)
        u = (u + y + h * f(y)) / 2
    return u


def ssprk33(fs, u, h, ks):
    for f in fs:
        y = u + h * f(u)
        y = 3 / 4 * u + (y + h * f(y)) / 4
        u = u / 3 + 2 / 3 * (y + h * f(y))
    return u


def ssprk43(fs, u, h, ks):
    for f in fs:
        y = u + h / 2 * f(u)
        y = y + h / 2 * f(y)
        y = 2 / 3 * u + (y + h / 2 * f(y)) / 3
        u = y + h / 2 * f(y)
    return u


def ssprk54(fs, u, h, ks):
    # Spiteri & Ruuth (2002), section 4, with their 15 digits
    for f in fs:
        y1 = u + 0.391752226571890 * h * f(u)
        y2 = 0.444370493651235 * u + 0.555629506348765 * y1 + 0.368410593050371 * h * f(y1)
        y3 = 0.620101851488403 * u + 0.379898148511597 * y2 + 0.251891774271694 * h * f(y2)
        slope = f(y3)
        y4 = 0.178079954393132 * u + 0.821920045606868 * y3 + 0.544974750228521 * h * slope
        u = (
            0.517231671970585 * y2
            + (0.096059710526147 * y3 + 0.063692468666290 * h * slope)
            + (0.386708617503269 * y4 + 0.226007483236906 * h * f(y4))
        )
    return u


def ssprk104(fs, u, h, ks):
    # Ketcheson (2008), the implementation in two registers
    for f in fs:
        q1 = q2 = u
        for _ in range(5):
            q1 = q1 + h / 6 * f(q1)
        q2 = q2 / 25 + 9 / 25 * q1
        q1 = 15 * q2 - 5 * q1
        for _ in range(4):
            q1 = q1 + h / 6 * f(q1)
        u = q2 + 3 / 5 * q1 + h / 10 * f(q1)
    return u


# Tableaux of embedded pairs, from sources other than ours where there is one to import.
# Hairer, Norsett & Wanner (1993), table II.5.1
fehlberg45 = tableau(
    [
        [1 / 4],
        [3 / 32, 9 / 32],
        [1932 / 2197, -7200 / 2197, 7296 / 2197],
        [439 / 216, -8, 3680 / 513, -845 / 4104],
        [-8 / 27, 2, -3544 / 2565, 1859 / 4104, -11 / 40],
    ],
    [25 / 216, 0, 1408 / 2565, 2197 / 4104, -1 / 5, 0],
)
# Cash & Karp (1990), as Press et al., Numerical Recipes (1992), section 16.2, prints it
cash_karp = tableau(
    [
        [0.2],
        [3 / 40, 9 / 40],
        [0.3, -0.9, 1.2],
        [-11 / 54, 2.5, -70 / 27, 35 / 27],
        [1631 / 55296, 175 / 512, 575 / 13824, 44275 / 110592, 253 / 4096],
    ],
    [37 / 378, 0, 250 / 621, 125 / 594, 0, 512 / 1771],
)
# Tsitouras (2011), table 1, to 16 digits
tsit5 = tableau(
    [
        [0.161],
        [-0.008480655492356989, 0.335480655492357],
        [2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        [5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
    ],
    [
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ],
)
# Bogacki & Shampine (1996), table 1
bs5 = tableau(
    [
        [1 / 6],
        [2 / 27, 4 / 27],
        [183 / 1372, -162 / 343, 1053 / 1372],
        [68 / 297, -4 / 11, 42 / 143, 1960 / 3861],
        [597 / 22528, 81 / 352, 63099 / 585728, 58653 / 366080, 4617 / 20480],
        [174197 / 959244, -30942 / 79937, 8152137 / 19744439, 666106 / 1039181, -29421 / 29068, 482048 / 414219],
    ],
    [587 / 8064, 0, 4440339 / 15491840, 24353 / 124800, 387 / 44800, 2152 / 5985, 7267 / 94080],
)
# Verner (2010), the most efficient pair of order 7(6) of his page, to 16 digits
vern7 = tableau(
    [
        [0.005],
        [-1.0763284444444445, 1.1851951111111112],
        [0.040825, 0, 0.122475],
        [0.6393129945505457, 0, -2.457258793816977, 2.273445799266431],
        [-2.6781085384190155, 0, 10.870453811190988, -8.406463223197695, 0.8240555018765168],
        [6.088276674492231, 0, -24.790534101526156, 20.48849097325479, -1.9045002581474288, 1.0022667119265642],
        [
            12.093166923293456,
            0,
            -49.90349316208827,
            41.25731578337779,
            -4.458467898322389,
            2.0349192376346714,
            -0.09844088389526193,
        ],
        [
            10.145359195989435,
            0,
            -42.66315579060515,
            35.77605469585073,
            -4.336197703774848,
            2.0005484342922975,
            0.3485990624154291,
            -0.27120789416789753,
        ],
    ],
    [
        0.04714583402451047,
        0,
        0,
        0.2574550439853423,
        0.2625603106390648,
        0.15196407756809435,
        0.4933798930231168,
        -0.29373474997907933,
        0.08122959073895063,
    ],
)
bosh3 = tableau(RK23.A[1:].tolist(), RK23.B.tolist())
dopri5 = tableau(RK45.A[1:].tolist(), RK45.B.tolist())
dop853_12 = tableau(dop853.A[1:12, :12].tolist(), dop853.B.tolist())
dopri8 = tableau([row.tolist() for row in dopri8_13.beta[:12]], dopri8_13.c_sol[:13].tolist())


def rkc2_6(fs, u, h, ks):
    """Sommeijer, Shampine & Verwer (1998), (2.1) to (2.3); T_j(cosh x) = cosh j x."""
    s, x = 6, math.acosh(1 + 2 / 13 / 36)
    j = np.arange(1, s + 1)
    T, first = np.cosh(j * x), j * np.sinh(j * x) / math.sinh(x)
    second = (j**2 * T - first * math.cosh(x)) / math.sinh(x) ** 2
    b = second[1:] / first[1:] ** 2
    b = [b[0], b[0], *b]
    a, w1 = 1 - np.array(b) * np.array([1, *T]), first[-1] / second[-1]
    for f in fs:
        slope = f(u)
        before, y = u, u + h * b[1] * w1 * slope
        for i in range(2, s + 1):
            mu, nu, more = 2 * b[i] * math.cosh(x) / b[i - 1], -b[i] / b[i - 2], 2 * b[i] * w1 / b[i - 1]
            after = (1 - mu - nu) * u + mu * y + nu * before + h * more * (f(y) - a[i - 1] * slope)
            before, y = y, after
        u = y
    return u


def rock4_8(fs, u, h, ks):
    """Abdulle (2002): a recurrence of three terms, and four stages composed with it."""
    mu = [0.06421114488497465, 0.07361067001944596, 0.08450213007949955]
    kappa = [0.006297251335072349, 0.02954244012876854, 0.06370198138618569]
    a = [[-0.177747282156689], [0.47559889085897, -0.236544145857569]]
    a += [[0.0357873367680739, -0.0561802405454197, 0.498502393780149]]
    b = [0.655616700297981, -0.238808679740035, -0.342918097601918, 0.643274312048176]
    for f in fs:
        before, y = u, u + h * 0.05345766591735225 * f(u)
        for m, k in zip(mu, kappa, strict=True):
            before, y = y, h * m * f(y) + (1 + k) * y - k * before
        u = tableau(a, b)([f], y, h, ks)
    return u


LOOPS = {
    "euler": euler,
    "midpoint": midpoint,
    "heun": heun,
    "ralston2": ralston2,
    "kutta3": kutta3,
    "heun3": heun3,
    "ralston3": ralston3,
    "rk4": rk4,
    "rk38": rk38,
    "ssprk22": ssprk22,
    "ssprk33": ssprk33,
    "ssprk43": ssprk43,
    "ssprk54": ssprk54,
    "ssprk104": ssprk104,
    "fehlberg45": fehlberg45,
    "cash_karp": cash_karp,
    "tsit5": tsit5,
    "bosh3": bosh3,
    "dopri5": dopri5,
    "dop853": dop853_12,
    "bs5": bs5,
    "vern6": tableau(*VERN6),
    "vern7": vern7,
    "vern8": tableau(*VERN8),
    "vern9": tableau(*VERN9),
    "rkf78": tableau(*RKF78),
    "dopri8": dopri8,
    "rkc2_6": rkc2_6,
    "rock4_8": rock4_8,
}

#: absolute value of the difference between weights and embedded weights, as scipy has it
ERROR_WEIGHTS = {"bosh3": np.abs(RK23.E), "dopri5": np.abs(RK45.E), "dop853": np.abs(dop853.E5)}
#: the same of the third solution
THIRD_WEIGHTS = {"dop853": np.abs(dop853.E3)}
