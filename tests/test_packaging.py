"""The packages side by side, and the arrows between them."""

import ast
import configparser
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout


def test_both_packages_sit_side_by_side():
    import analysis
    import odenets

    assert pathlib.Path(analysis.__file__).parent.parent == pathlib.Path(odenets.__file__).parent.parent


def test_odenets_imports_no_layer_above_it_and_no_matplotlib():
    code = "import sys, odenets; print(sorted({'analysis', 'benchmarks', 'matplotlib', 'scipy'} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def test_analysis_imports_without_matplotlib_and_benchmarks():
    code = "import sys, analysis; print(sorted({'benchmarks', 'matplotlib'} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def modules_reached(start):
    """Modules of odenets that one imports, directly or not, read off the source."""
    reached, queue = set(), [start]
    while queue:
        name = queue.pop()
        if name in reached or not (ROOT / "odenets" / f"{name}.py").exists():
            continue
        reached.add(name)
        tree = ast.parse((ROOT / "odenets" / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                queue += [node.module] if node.module else [alias.name for alias in node.names]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not any(n.split(".")[0] == "torch" for n in names), f"{name} imports torch"
    return reached


def test_scheme_and_zoo_import_no_torch():
    assert {"scheme", "series", "constructors", "zoo"} <= modules_reached("zoo")


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for top in ("odenets", "analysis", "benchmarks")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert listed == found


@pytest.mark.parametrize("name", __import__("odenets").__all__)
def test_public_names_have_docstrings(name):
    import odenets

    thing = getattr(odenets, name)
    if callable(thing):
        assert len(thing.__doc__) > 20
