"""Order and error constant: what :class:`odenets.Scheme` derives, as functions like the others."""

from __future__ import annotations

from typing import Any

import sympy

from odenets import Scheme

from .resolve import resolve


def order(scheme: Scheme | str, **values: Any) -> int:
    """The order p, derived from all rooted trees; with free symbols the one that holds for every value.

    lm has order 0, since it solves (1 + k) u' = f, and order 1 with ``k=0``.

    Raises:
        SchemeError: values that do not fit the scheme.

    Source: Butcher, Numerical Methods for Ordinary Differential Equations (2008), section 53.
    """
    return resolve(scheme, values).order


def error_constant(scheme: Scheme | str, **values: Any) -> sympy.Expr | None:
    """C of the local error C z^(p+1) on u' = lambda u; C_{p+1} of a linear multistep scheme with alpha_k = 1.

    Divide by sigma(1) of :func:`multistep_polynomials` for the normalisation of Hairer, Norsett & Wanner
    (1993), III.2; the two differ where sigma(1) is not 1 (BDF2: -2/9 and -1/3; leapfrog: 1/3 and 1/6).
    None where the step evaluates several functions, or does not keep u' = 0 (In-ResNet).

    Raises:
        SchemeError: values that do not fit the scheme.

    Source: Lambert, Computational Methods in Ordinary Differential Equations (1973), section 2.6.
    """
    return resolve(scheme, values).error_constant
