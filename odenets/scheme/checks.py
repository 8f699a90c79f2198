"""What a scheme checks of itself when it is made."""

from __future__ import annotations

from collections.abc import Mapping

from .b_series import BSeries
from .errors import SchemeError
from .exact import is_zero
from .general_linear_method import GeneralLinearMethod
from .given_numbers import integer, real
from .stage_graph import stage_order

FEWEST_DIGITS = 12
#: Range a learnable coefficient starts from, uniformly: the paper's for k_n (Lu et al. 2018).
PAPER_INIT = (-0.1, 0.0)


def shapes(scheme: GeneralLinearMethod) -> None:
    """Raise SchemeError where blocks, modules or embedded weights do not fit together."""
    s, r = scheme.A.rows, scheme.V.rows
    expected = {"A": (s, s), "U": (s, r), "B": (r, s), "V": (r, r)}
    got = {block: getattr(scheme, block).shape for block in "AUBV"}
    if got != expected:
        raise SchemeError(
            f"{scheme.name}: got shapes {got}, expected {expected} for {s} stages (rows of A) "
            f"and {r} carried values (rows of V)"
        )
    if scheme.embedded is not None and scheme.embedded.shape != (1, s):
        raise SchemeError(
            f"{scheme.name}: got {scheme.embedded.cols} embedded weights, expected one weight per stage, {s}"
        )
    if scheme.third is not None:
        plain = scheme.embedded is not None and scheme.Gamma is None and stage_order(scheme.A) is not None
        if not plain or scheme.third.shape != (1, s):
            raise SchemeError(
                f"{scheme.name}: got {scheme.third.cols} weights of a third solution, expected one for each of {s} "
                "stages, and an explicit scheme with embedded weights"
            )
    if scheme.Gamma is not None:
        _linearly_implicit(scheme)
    if scheme.inside is not None and (scheme.Gamma is None or scheme.inside.cols != s):
        raise SchemeError(
            f"{scheme.name}: got weights inside a step of shape {scheme.inside.shape}, expected {s} columns, one for "
            "each stage of a Rosenbrock scheme; other schemes derive theirs"
        )
    names = [str(symbol) for symbol in scheme.symbols]
    if len(set(names)) < len(names):
        raise SchemeError(f"{scheme.name}: got different symbols of one name in {names}, expected one symbol a name")
    if scheme.digits is not None and integer(scheme.digits, f"{scheme.name}: digits") < FEWEST_DIGITS:
        raise SchemeError(
            f"{scheme.name}: got entries right to {scheme.digits} digits, expected at least {FEWEST_DIGITS}; with "
            "fewer an order condition that fails cannot be told from one that is rounded"
        )
    modules = scheme.modules
    if len(modules) != s or set(modules) != set(range(max(modules) + 1)):
        raise SchemeError(
            f"{scheme.name}: got modules {modules}, expected one for each of the {s} stages, counted from 0 "
            "and none left out"
        )
    if scheme.several and len(scheme.functions) != max(modules) + 1:
        raise SchemeError(f"{scheme.name}: got {len(scheme.functions)} functions, expected one for each module")
    if scheme.components > r:
        raise SchemeError(f"{scheme.name}: got {scheme.components} components, expected at most {r} carried values")


def _linearly_implicit(scheme: GeneralLinearMethod) -> None:
    """Raise SchemeError for a Gamma that does not go with the rest."""
    s, A, Gamma = scheme.stages, scheme.A, scheme.Gamma
    if Gamma.shape != (s, s) or scheme.V.shape != (1, 1) or set(scheme.modules) != {0}:
        raise SchemeError(
            f"{scheme.name}: got Gamma of shape {Gamma.shape}, {scheme.carried} carried values and modules "
            f"{scheme.modules}, expected {(s, s)}, the solution alone and one function"
        )
    above = [A[i, j] for i in range(s) for j in range(i, s)] + [Gamma[i, j] for i in range(s) for j in range(i + 1, s)]
    if any(above) or not all(Gamma[i, i] for i in range(s)) or scheme.symbols:
        raise SchemeError(
            f"{scheme.name}: got A = {A.tolist()} and Gamma = {Gamma.tolist()}, expected numbers: A with none on its "
            "diagonal or above it, Gamma with none above its diagonal and none that is 0 on it"
        )


def ranges(scheme: GeneralLinearMethod) -> tuple[tuple[str, float, float], ...]:
    """Initial range of every symbol; SchemeError for one that is unknown or no finite range."""
    init = scheme.init
    try:
        items = init.items() if isinstance(init, Mapping) else [(name, ends) for name, *ends in init]
        given = {str(name): (low, high) for name, (low, high) in items}  # by name, or by the symbol itself
    except (TypeError, ValueError) as error:
        raise SchemeError(
            f'{scheme.name}: init got {init!r}, expected pairs (low, high) by symbol, as {{"k": (-0.1, 0)}}'
        ) from error
    names = [str(symbol) for symbol in scheme.symbols]
    if unknown := sorted(set(given) - set(names)):
        raise SchemeError(f"{scheme.name}: init got {unknown}, expected free symbols of the scheme: {names}")
    found = []
    for name in names:
        low, high = (real(x, f"{scheme.name}: init of {name}") for x in given.get(name, PAPER_INIT))
        if low > high:
            raise SchemeError(f"{scheme.name}: init of {name} got ({low}, {high}), expected finite low <= high")
        found.append((name, low, high))
    return tuple(found)


def consistency(scheme: GeneralLinearMethod, series: BSeries) -> None:
    """Raise SchemeError where the coefficients are inconsistent whatever the symbols are."""
    kept = [x for row in series.preconsistency for x in row]
    found = {"the carried values of u' = 0 (rows of V, applied to the solution)": kept}
    for g in range(len(scheme.functions)):
        found[f"the step of u' = 1 (the weights of function {g + 1})"] = series.residuals((g, ()))
    residuals = {what: [series.to_sympy(x) for x in values] for what, values in found.items()}
    for what, row in (("embedded weights", scheme.embedded), ("third weights", scheme.third)):
        # In sympy: the field of the scheme need not hold these weights.
        pairs = [] if row is None else list(zip(scheme.colours, row, strict=True))
        shares = [1 - sum(x for own, x in pairs if own == g) for g in range(len(scheme.functions)) if pairs]
        residuals[f"the step of u' = 1 (the {what})"] = shares
    for what, values in residuals.items():
        for value in values:
            if value.is_number and not is_zero(value) and abs(value) > scheme.tolerance:
                raise SchemeError(
                    f"{scheme.name} is inconsistent: {what} misses the exact value by {value}, expected 0; "
                    "check the coefficients (Runge-Kutta: weights b sum to 1; multistep: a sums to 1 and "
                    "the sum of b is 1 + sum of j a_j)"
                )
    for i, value in enumerate(map(series.to_sympy, series.stage_constants)):
        if value not in (0, 1):
            raise SchemeError(
                f"{scheme.name}: stage {i + 1} of u' = 0 is {value} u, expected u, or 0 for a stage that takes "
                "h F alone (row of U)"
            )
