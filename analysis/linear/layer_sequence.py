"""Zero-stability of a sequence of layers, each with coefficients of its own, as a trained network has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy

from odenets import Scheme, SchemeError
from odenets.scheme.shown import Shown

from ..text.tables import render
from .resolve import resolve

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class SequenceGrowth(Shown):
    """How layers 0 ... N-1 amplify a perturbation of the carried values on u' = 0, in the maximum norm.

    Attributes:
        growth: max over m <= n of ||V_n ... V_m||: a perturbation of at most e in every carried value
            before a layer is at most growth e after any later one. At least 1 where u' = 0 is kept.
        growth_from: the same for each start m, max over n >= m, shape (N,).
        worst: the pair (m, n) of layers, from 0, that growth is reached at.
        parasitic: max over m <= n of ||P_n ... P_m||, P_n the layer's map of what the carried values
            differ from the solution by; for lm products of -k. 0 where nothing else is carried.
        parasitic_from: the same for each start m, shape (N,).
        radius: spectral radius of each layer's V_n, shape (N,).
        bound: growth cannot exceed this, however many layers with coefficients such as these follow
            in whatever order; inf where no such bound follows from the norms of the P_n.
    """

    growth: float
    growth_from: Float
    worst: tuple[int, int]
    parasitic: float
    parasitic_from: Float
    radius: Float
    bound: float

    def __str__(self) -> str:
        rows = [
            ["layers", str(len(self.radius))],
            ["growth", f"{self.growth:.4g}, over layers {self.worst[0]} to {self.worst[1]}"],
            ["parasitic", f"{self.parasitic:.4g}"],
            ["spectral radius of a layer", f"up to {self.radius.max():.4g}"],
            ["bound", f"{self.bound:.4g}"],
        ]
        return render(["on u' = 0", ""], rows)


def sequence_growth(scheme: Scheme | str, ks: Any, **values: Any) -> SequenceGrowth:
    """Growth of products V_n ... V_m of the matrices a perturbation passes through on u' = 0.

    :func:`odenets.analysis.zero_stable` answers for one coefficient used throughout. Where each layer has
    its own, single eigenvalues decide nothing: layers that are unstable alone may be followed by
    damping ones, and products of stable ones may grow. For lm, u_n - u_{n+1} = -k_n (u_{n-1} - u_n):
    the differences are multiplied by products of -k. Every product of consecutive layers is formed,
    in float64; one that overflows counts as inf.

    Args:
        scheme: a Scheme or a name of the zoo with free symbols.
        ks: for one free symbol its value in each layer; for several a mapping from the symbol's name to
            such a sequence, all of one length. Lists, arrays or tensors.
        values: exact numbers for symbols that are the same in all layers.

    Raises:
        SchemeError: names that are not the free symbols, values that are not finite numbers, sequences
            that are empty or differ in length, or a layer whose V has a pole there.

    Source: Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), III.5
        (stability of variable-step multistep methods by products of companion matrices).
    """
    found = resolve(scheme, values)
    columns = _columns(found, ks)
    matrices = _matrices(found, columns)
    to, back = _basis(found)
    size = found.components
    split = back @ matrices @ to
    parasitic, full = split[:, size:, size:], matrices
    growth_from, at, _ = _products(full)
    m = int(np.argmax(growth_from))
    growth, worst = float(growth_from[m]), (m, int(at[m]))
    beside_from = _products(parasitic)[0] if parasitic.shape[-1] else np.zeros(len(full))
    beside = float(beside_from.max())
    radius = np.abs(np.linalg.eigvals(full)).max(axis=-1)
    return SequenceGrowth(growth, growth_from, worst, beside, beside_from, radius, _bound(full, split, size, to, back))


def parasitic_products(scheme: Scheme, columns: Float) -> tuple[float, float]:
    """(||P_N ... P_1||, the largest ||P_n ... P_m||) of :class:`SequenceGrowth`, the largest over the channels.

    Args:
        scheme: one that keeps u' = 0.
        columns: values of its free symbols, in their order, shape (symbols, layers, channels).

    Raises:
        SchemeError: as :func:`sequence_growth`.
    """
    to, back = _basis(scheme)
    parasitic = (back @ _matrices(scheme, columns) @ to)[..., scheme.components :, scheme.components :]
    largest, _, whole = _products(parasitic)
    return float(whole.max()), float(largest.max())


def _columns(scheme: Scheme, ks: Any) -> Float:
    """The values of the free symbols, in their order, shape (symbols, N)."""
    names = [str(symbol) for symbol in scheme.symbols]
    given = ks if isinstance(ks, Mapping) else dict.fromkeys(names[:1], ks)
    if not names or set(given) != set(names):
        raise SchemeError(
            f"{scheme.name}: the growth over layers got values for {sorted(given)}, expected a sequence for each "
            f"of its free symbols {names}; pass a mapping from name to sequence"
        )
    columns = [_column(f"{scheme.name}: {name}", given[name]) for name in names]
    if len({len(column) for column in columns}) > 1:
        lengths = {name: len(column) for name, column in zip(names, columns, strict=True)}
        raise SchemeError(f"{scheme.name}: got sequences of lengths {lengths}, expected one value a layer for each")
    return np.array(columns)


def _column(where: str, given: Any) -> Float:
    try:
        column = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SchemeError(f"{where} got {given!r}, expected one finite number for each layer") from error
    if column.ndim != 1 or not column.size:
        raise SchemeError(
            f"{where} got an array of shape {column.shape}, expected one number for each of at least one layer; "
            "pass channels one by one"
        )
    if not np.isfinite(column).all():
        layer = int(np.argmin(np.isfinite(column)))
        raise SchemeError(f"{where} got {column[layer]} in layer {layer}, expected a finite number")
    return column


def _matrices(scheme: Scheme, columns: Float) -> Float:
    """V of every layer, shape (N, ..., r, r)."""
    r = scheme.carried
    matrices = np.empty((*columns.shape[1:], r, r))
    with np.errstate(all="ignore"):
        for i in range(r):
            for j in range(r):
                matrices[..., i, j] = sympy.lambdify(scheme.symbols, scheme.V[i, j], "numpy")(*columns)
    finite = np.isfinite(matrices).reshape(len(matrices), -1).all(axis=1)
    if not finite.all():
        layer = int(np.argmin(finite))
        raise SchemeError(f"{scheme.name}: got a layer {layer} whose V is not finite, expected other coefficients")
    return matrices


def _basis(scheme: Scheme) -> tuple[Float, Float]:
    """T and T^-1: the carried values from the solution's components and what they differ from them by."""
    series, r = scheme.series, scheme.carried
    to = np.eye(r)
    for c, constants in enumerate(series.constants):
        multiples = [series.to_sympy(x) for x in constants]
        if any(x.free_symbols for x in multiples):
            raise SchemeError(
                f"{scheme.name}: got carried values that are {multiples} times the solution, expected multiples "
                "without free symbols: their scale would change from layer to layer; rescale the carried values"
            )
        to[:, c] = [float(x) for x in multiples]
    return to, np.asarray(np.linalg.inv(to), dtype=np.float64)


def _norm(matrices: Float) -> Float:
    """The norm that goes with the maximum norm of vectors: the largest row sum of moduli."""
    return np.abs(matrices).sum(axis=-1).max(axis=-1)


def _products(matrices: Float) -> tuple[Float, npt.NDArray[np.int_], Float]:
    """For each m the largest ||V_n ... V_m||, the n of it, and at last ||V_N ... V_1||; channels by themselves."""
    products = np.empty_like(matrices)
    largest = np.zeros(matrices.shape[:-2])
    at, norms = np.zeros(largest.shape, dtype=int), largest
    with np.errstate(over="ignore", invalid="ignore"):
        for n, matrix in enumerate(matrices):
            products[:n] = matrix @ products[:n]
            products[n] = matrix
            norms = np.nan_to_num(_norm(products[: n + 1]), nan=np.inf, posinf=np.inf)
            larger = norms > largest[: n + 1]
            largest[: n + 1][larger], at[: n + 1][larger] = norms[larger], n
    return largest, at, norms[0]


def _bound(full: Float, split: Float, size: int, to: Float, back: Float) -> float:
    """T^-1 V T = [[I, W], [0, P]] with ||P|| <= q < 1 gives products [[I, at most ||W||/(1-q)], [0, at most q]].

    Where V does not keep the solution (In-ResNet) only ||V|| <= 1 is left to bound by.
    """
    if (_norm(full) <= 1).all():
        return float(_norm(full).max())
    kept = np.allclose(split[:, :, :size], np.eye(len(to))[:, :size], rtol=0, atol=1e-12)
    q = float(_norm(split[:, size:, size:]).max()) if size < len(to) else 0.0
    if not kept or q >= 1:
        return math.inf
    beside = float(_norm(split[:, :size, size:]).max()) if size < len(to) else 0.0
    return float(_norm(to) * _norm(back) * (1 + beside / (1 - q)))
