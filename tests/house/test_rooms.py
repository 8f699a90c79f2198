"""The rooms and their order: setup.cfg says it once, and nothing goes around it."""

import ast
import configparser
import graphlib
import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = {"odenets": "odenets", "analysis": "odenets.analysis", "benchmarks": "odenets.benchmarks"}


def installed_name(path):
    """The module that a file is once it is installed."""
    top, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[top], *(rest[:-1] if rest[-1] == "__init__" else rest)])


FILES = {installed_name(path): path for top in PACKAGES for path in (ROOT / top).rglob("*.py")}


def imported(module):
    """Modules of the project that a file names in an import, wherever it stands: in a function, for a type alone.

    Not the packages above them, which Python imports as well, nor modules whose names are put together at run time.
    """
    path, found = FILES[module], set()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names = [f"{base}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else base for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(FILES)


def rooms(top):
    """Files and folders of a package, but its own __init__; a folder that an older checkout has left empty is none."""
    found = (path.stem for path in (ROOT / top).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    return [name for name in found if name != "__init__"]


def layers():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config["importlinter:contract:rooms"]["layers"].replace("|", " ").split()


def test_no_two_files_import_each_other_in_a_circle():
    graph = {module: imported(module) - {module} for module in FILES}
    assert sum(map(len, graph.values())) > 500
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the files


def test_a_circle_of_types_alone_would_be_found(tmp_path, monkeypatch):
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    a.write_text("from .b import B\n")
    b.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import a\n")
    monkeypatch.setitem(FILES, "odenets.a", a)
    monkeypatch.setitem(FILES, "odenets.b", b)
    with pytest.raises(graphlib.CycleError, match=r"odenets\.a"):
        graphlib.TopologicalSorter({module: imported(module) for module in ("odenets.a", "odenets.b")}).prepare()


@pytest.mark.parametrize(
    ("below", "above"),
    [("odenets", "odenets.analysis"), ("odenets", "odenets.benchmarks"), ("analysis", "odenets.benchmarks")],
)
def test_no_package_names_one_above_it(below, above):
    # import-linter sees the folders, and would take no notice of the names that they have when installed.
    for module, path in FILES.items():
        if path.relative_to(ROOT).parts[0] == below and module != "odenets.__main__":
            assert not [name for name in imported(module) if f"{name}.".startswith(f"{above}.")], module


def test_every_room_has_its_place_in_the_order():
    assert {f"{top}.{room}" for top in PACKAGES for room in rooms(top)} - {"analysis.__main__"} == set(layers())


@pytest.mark.parametrize(("top", "most"), [("odenets", 12), ("analysis", 9), ("benchmarks", 12)])
def test_few_rooms(top, most):
    assert len(rooms(top)) <= most
