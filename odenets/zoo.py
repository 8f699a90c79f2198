"""The schemes by name. Adding one is a few lines here; tests, tables and plots pick it up."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

import sympy

from .constructors import multistep, runge_kutta
from .errors import SchemeError, UnknownSchemeError
from .scheme import Scheme


class Zoo(Mapping[str, Scheme]):
    """Read-only mapping name -> Scheme; an unknown name raises with the close ones listed."""

    def __init__(self, members: Iterable[Scheme]) -> None:
        self._members: dict[str, Scheme] = {}
        for scheme in members:
            if scheme.name in self._members:
                raise SchemeError(f"two schemes are called {scheme.name!r}, expected one")
            self._members[scheme.name] = scheme

    def __getitem__(self, name: str) -> Scheme:
        if name not in self._members:
            close = difflib.get_close_matches(str(name).lower(), self._members, n=3, cutoff=0.4)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise UnknownSchemeError(f"unknown scheme {name!r}{hint} Known: {', '.join(self._members)}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        # Mapping's own catches KeyError only, and UnknownSchemeError is a LookupError.
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


k = sympy.Symbol("k", real=True)

schemes = Zoo(
    [
        # one-step, Runge-Kutta
        runge_kutta("euler", A=[[0]], b=[1], reference="euler1768"),
        runge_kutta("midpoint", A=[[0, 0], ["1/2", 0]], b=[0, 1], reference="runge1895"),
        runge_kutta("heun", A=[[0, 0], [1, 0]], b=["1/2", "1/2"], reference="heun1900"),
        runge_kutta("kutta3", A=[[0, 0, 0], ["1/2", 0, 0], [-1, 2, 0]], b=["1/6", "2/3", "1/6"], reference="kutta1901"),
        runge_kutta(
            "rk4",
            A=[[0, 0, 0, 0], ["1/2", 0, 0, 0], [0, "1/2", 0, 0], [0, 0, 1, 0]],
            b=["1/6", "1/3", "1/3", "1/6"],
            reference="kutta1901",
        ),
        # linear multistep
        multistep("ab2", a=[1], b=["3/2", "-1/2"], reference="bashforth1883"),
        multistep("ab3", a=[1], b=["23/12", "-4/3", "5/12"], reference="bashforth1883"),
        multistep("leapfrog", a=[0, 1], b=[2], reference="chang2018"),
        multistep("zerosnet", a=["1/3", "5/9", "1/9"], b=["16/9"], reference="zerosnet2022"),
        multistep("lm", a=[1 - k, k], b=[1], reference="lu2018"),
        # Momentum ResNet carries a velocity: v+ = 9/10 v + 1/10 h f(u), u+ = u + v+.
        Scheme(
            "momentum",
            A=[[0]],
            U=[[1, 0]],
            B=[["1/10"], ["1/10"]],
            V=[[1, "9/10"], [0, "9/10"]],
            reference="sander2021",
            at_rest=True,
        ),
    ]
)


def as_scheme(scheme: Scheme | str) -> Scheme:
    """The scheme itself, or the one of that name in the zoo."""
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, str):
        return schemes[scheme]
    raise SchemeError(f"got {scheme!r} of type {type(scheme).__name__}, expected a Scheme or a name of the zoo")
