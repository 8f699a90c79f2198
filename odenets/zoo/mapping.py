"""The mapping name -> Scheme."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module

from ..scheme import Scheme, SchemeError, UnknownSchemeError


class Zoo(Mapping[str, Scheme]):
    """Read-only mapping name -> Scheme; an unknown name raises with the close ones listed.

    Args:
        files: modules of this package whose ``SCHEMES`` are the members, in this order.

    A file is read when a name is looked for that the files before it do not have: generating the
    implicit families takes a second, which a program that runs "lm" need not wait for on import.
    """

    def __init__(self, *files: str) -> None:
        self._unread = list(files)
        self._members: dict[str, Scheme] = {}

    def _read_next(self) -> list[Scheme]:
        file = self._unread.pop(0)
        found: list[Scheme] = import_module(f".{file}", __package__).SCHEMES
        for scheme in found:
            if scheme.name in self._members:
                raise SchemeError(f"two schemes are called {scheme.name!r}, expected one")
            self._members[scheme.name] = scheme
        return found

    def __getitem__(self, name: str) -> Scheme:
        if name not in self:
            close = difflib.get_close_matches(str(name).lower(), self._members, n=3)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise UnknownSchemeError(f"unknown scheme {name!r}{hint} Known: {', '.join(self._members)}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        # Mapping's own catches KeyError only, and UnknownSchemeError is a LookupError.
        while name not in self._members and self._unread:
            self._read_next()
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        position = 0
        while position < len(self._members) or self._unread:
            if position == len(self._members):
                self._read_next()
            yield list(self._members)[position]
            position += 1

    def __len__(self) -> int:
        while self._unread:
            self._read_next()
        return len(self._members)
