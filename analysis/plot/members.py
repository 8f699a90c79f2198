"""What a figure is given: schemes or their names, with values of their symbols, or what an analysis has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odenets import Scheme, SchemeError, as_scheme


def as_list(given: Any) -> list[Any]:
    """One thing or several, as several."""
    return list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]


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
