"""The mapping name -> Scheme."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from ..errors import SchemeError, UnknownSchemeError
from ..scheme import Scheme


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
