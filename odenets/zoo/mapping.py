"""The mapping name -> Scheme."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from ..scheme import Scheme, SchemeError, UnknownSchemeError
from ..scheme.shown import Shown

PROPERTIES = ("order", "explicit", "structure", "stages", "carried", "reversible", "starting_values", "symbols")


class Zoo(Shown, Mapping[str, Scheme]):
    """Mapping name -> Scheme, to which :meth:`register` adds; an unknown name raises with the close ones listed.

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
            given = str(name).lower()
            # "lm-resnet", "LM_ResNet": a scheme by the first word of the network that it is known from.
            first = [own for own in self._members if own == re.split("[-_ ]", given)[0]]
            close = first or difflib.get_close_matches(given, self._members, n=3)
            hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else "."
            if ":" in str(name):
                # No import here, as of the command line: runs are named and found again by the name of their scheme,
                # which a file that changes, or is gone, would not tell.
                hint = "; one in a module or file is given as the Scheme, or by its name after schemes.register(it)."
            raise UnknownSchemeError(f"unknown scheme {name!r}{hint} Known: {', '.join(self._members)}")
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        # Mapping's own catches KeyError only, and UnknownSchemeError is a LookupError.
        while name not in self._members and self._unread:
            self._read_next()
        return name in self._members

    def register(self, scheme: Scheme) -> Scheme:
        """Add a scheme of one's own, by its name: it is then found wherever a name is taken. Returns it.

        Raises:
            SchemeError: it is no Scheme, or its name is taken by another one.
        """
        if not isinstance(scheme, Scheme):
            raise SchemeError(f"register: got {scheme!r} of type {type(scheme).__name__}, expected a Scheme")
        if scheme.name in self and self[scheme.name] != scheme:
            raise SchemeError(f"register: got a second scheme {scheme.name!r}, expected another name")
        self._members[scheme.name] = scheme
        return scheme

    def where(self, **properties: Any) -> Zoo:
        """The schemes with these properties, e.g. ``where(order=4, explicit=True)``; attributes of Scheme.

        Raises:
            SchemeError: no property of a scheme.
        """
        known = {*dir(Scheme), *Scheme.__dataclass_fields__}
        if unknown := [name for name in properties if name.startswith("_") or name not in known]:
            raise SchemeError(f"where: got {', '.join(unknown)}, expected properties such as {', '.join(PROPERTIES)}")
        found = Zoo()
        found._members = {
            name: scheme
            for name, scheme in self.items()
            if all(getattr(scheme, key) == value for key, value in properties.items())
        }
        return found

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)

    def __str__(self) -> str:
        return f"{len(self)} schemes: {', '.join(self)}"

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
