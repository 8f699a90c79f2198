"""What a figure is given: schemes or their names, with values of their symbols, or what an analysis has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odenets import Scheme, SchemeError, as_scheme


def as_list(given: Any) -> list[Any]:
    """One thing or several, as several."""
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


def settled(given: Any, values: Mapping[str, Any], what: str, kind: type) -> list[Any]:
    """What is to be drawn, in its order: results of that kind as they are, and schemes with the values.

    Raises:
        SchemeError: what :func:`members` raises, or values where all is found already, with its own.
    """
    results = as_list(given)
    named = [one for one in results if not isinstance(one, kind)]
    if results and not named and values:
        raise SchemeError(
            f"{what}: got values for {', '.join(sorted(values))} beside what an analysis found with its own, expected "
            "them there, or the scheme here"
        )
    schemes = iter(members(named, values, what) if named or not results else [])
    return [one if isinstance(one, kind) else next(schemes) for one in results]


def members(given: Sequence[Any], values: Mapping[str, Any], what: str) -> list[Scheme]:
    """The schemes, each with those of the values that are its symbols.

    Raises:
        SchemeError: no scheme, or a value for a symbol that none of them has.
    """
    found = [as_scheme(one) for one in given]
    if not found:
        raise SchemeError(f"{what}: got no scheme to draw, expected at least one")
    known = {str(symbol) for scheme in found for symbol in scheme.symbols}
    if unknown := sorted(set(values) - known):
        names = ", ".join(scheme.name for scheme in found)
        raise SchemeError(
            f"{what}: got values for {', '.join(unknown)}, expected symbols of {names}: {sorted(known) or 'none'}"
        )
    return [scheme.substitute({str(s): values[str(s)] for s in scheme.symbols if str(s) in values}) for scheme in found]
