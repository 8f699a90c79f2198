"""The reference: pages for the public names of ``odenets`` and ``odenets.analysis``, grouped by what they are for.

The names are those of the stubs, ``__init__.pyi``, from which the packages load them too; a name that no page of PAGES
takes fails the build. What is said of each is its docstring.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from pathlib import Path
from typing import Any

from plain_docstrings import restructured

import odenets
from odenets import analysis

FOLDER = "docs/reference"
#: Title -> the rooms whose public names stand on that page, as the stub imports them.
PAGES = {
    "Schemes": ("odenets", ("scheme", "zoo")),
    "Networks": ("odenets", ("net", "models")),
    "Residual functions": ("odenets", ("fields",)),
    "Gradients": ("odenets", ("gradients",)),
    "Integration": ("odenets", ("integrate",)),
    "Swapping": ("odenets", ("swap",)),
    "Implicit stages": ("odenets", ("stages",)),
    "Linear stability": ("analysis", ("linear",)),
    "Modified equations and orbits": ("analysis", ("equations",)),
    "Trained networks": ("analysis", ("networks",)),
    "Figures": ("analysis", ("plot", "gallery")),
}
PACKAGES = {"odenets": odenets, "analysis": analysis}


def stub_names(folder: str) -> dict[str, list[str]]:
    """Room -> public names, as the stub of a folder imports them."""
    root = Path(__file__).resolve().parents[2]
    found: dict[str, list[str]] = {}
    for node in ast.parse((root / folder / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found.setdefault((node.module or alias.name).split(".")[0], []).append(alias.name)
    return found


def page(title: str, folder: str, names: list[str]) -> str:
    """A page of the reference, as reStructuredText: what can be called, then data and modules, errors last."""
    found = [(name, getattr(PACKAGES[folder], name)) for name in names]
    found.sort(key=lambda pair: (_is_error(pair[1]), inspect.ismodule(pair[1])))
    entries = [
        _entry(f"odenets.{name}" if folder == "odenets" else f"odenets.{folder}.{name}", value) for name, value in found
    ]
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *entries]) + "\n"


def _is_error(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)


def _entry(full: str, value: Any) -> str:
    if inspect.ismodule(value):
        name = full.rpartition(".")[2]
        inside = [_entry(f"{full}.{member}", getattr(value, member)) for member in _members(value)]
        return "\n\n".join([f"{name}\n{'-' * len(name)}", f".. automodule:: {full}", *inside])
    if _is_error(value):
        return f".. autoexception:: {full}"
    if inspect.isclass(value):
        return f".. autoclass:: {full}\n   :members:"
    return f".. autofunction:: {full}" if inspect.isroutine(value) else _data(full, value)


def _members(module: types.ModuleType) -> list[str]:
    """Functions and classes that a module lists, or else that it defines."""
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
    ]
    return [name for name in names if not name.startswith("_") and callable(getattr(module, name))]


def _data(full: str, value: Any) -> str:
    """A value: what its class says of it, where that is one of this project, with the methods that the class adds."""
    kind = type(value)
    head = f".. py:data:: {full}\n   :type: {kind.__name__}"
    if not kind.__module__.startswith("odenets"):
        return f"{head}\n\n   The symbol {value} of the polynomials that these functions return."
    path = f"{kind.__module__}.{kind.__qualname__}"
    own = [name for name, member in vars(kind).items() if not name.startswith("_") and inspect.isfunction(member)]
    said = textwrap.indent("\n".join(restructured(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[:1])), "   ")
    return "\n\n".join([head, said, *(f"   .. automethod:: {path}.{name}" for name in own)])


def _generate(app: Any) -> None:
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(exist_ok=True)
    names = {name: stub_names(name) for name in PACKAGES}
    taken = {(top, room) for top, rooms in PAGES.values() for room in rooms}
    if left := [f"{top}.{room}" for top, rooms in names.items() for room in rooms if (top, room) not in taken]:
        raise RuntimeError(f"reference: got public names of {', '.join(left)}, expected a page of PAGES for them")
    for title, (top, rooms) in PAGES.items():
        file = folder / f"{title.lower().replace(' ', '-')}.rst"
        text = page(title, top, [name for room in rooms for name in names[top][room]])
        file.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """As Sphinx asks of an extension."""
    app.connect("builder-inited", _generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
