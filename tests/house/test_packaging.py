"""The packages side by side, and the arrows between them."""

import ast
import configparser
import importlib.metadata
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout


@pytest.fixture(scope="module")
def users_folder(tmp_path_factory):
    """A folder with an analysis.py and a benchmarks/ of a user's own."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "analysis.py").write_text("raise SystemExit(1)")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "__init__.py").write_text("raise SystemExit(1)")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        [str(pathlib.Path(sys.executable).with_name("odenets")), "stability", "rk4"],
        [sys.executable, "-m", "odenets", "stability", "rk4"],
        [sys.executable, "-m", "odenets.analysis", "stability", "rk4"],
        [sys.executable, "-c", "from odenets import analysis, benchmarks; print(float(analysis.real_interval('rk4')))"],
    ],
    ids=["script", "module", "analysis", "import"],
)
def test_a_users_own_analysis_and_benchmarks_are_no_concern(command, users_folder):
    done = subprocess.run(command, cwd=users_folder, capture_output=True, text=True, check=True)
    assert "2.785293563" in done.stdout


def test_a_factory_beside_the_user_is_found(users_folder):
    np.save(users_folder / "batch.npy", np.ones((1, 2)))
    lines = ["import torch, odenets", "net = odenets.ODENet([torch.nn.Linear(2, 2)], 'euler')"]
    (users_folder / "mine.py").write_text("\n".join(lines))
    command = [str(pathlib.Path(sys.executable).with_name("odenets")), "diagnose", "mine:net", "--input", "batch.npy"]
    assert "Findings" in subprocess.run(command, cwd=users_folder, capture_output=True, text=True, check=True).stdout


def test_all_three_packages_are_those_of_this_checkout():
    # Where another checkout is installed, its analysis would be tested with the odenets of this one.
    import odenets
    from odenets import analysis, benchmarks

    for package, folder in ((odenets, "odenets"), (analysis, "analysis"), (benchmarks, "benchmarks")):
        assert pathlib.Path(package.__file__).parent == ROOT / folder


@pytest.mark.parametrize("name", ["analysis", "benchmarks"])
def test_the_folders_are_no_packages_of_their_own(name):
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"from odenets import {name}" in done.stderr.splitlines()[-1]


def test_one_top_level_name_is_installed():
    assert importlib.metadata.distribution("odenets").read_text("top_level.txt").split() == ["odenets"]


def test_version():
    import odenets
    from odenets.__main__ import main

    assert odenets.__version__ == importlib.metadata.version("odenets")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == odenets.__version__
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])


def test_what_is_imported_with_the_packages():
    """In one process, from the package that loads least to the one that loads most."""
    code = """
import sys, odenets
print(sorted({'odenets.analysis', 'odenets.benchmarks', 'torch', 'sympy', 'scipy', 'matplotlib'} & set(sys.modules)))
from odenets.analysis import cli
print(sorted({'torch', 'sympy'} & set(sys.modules)))
odenets.schemes['lm']
print('odenets.zoo.implicit' in sys.modules)
cli.main(['stability', 'rk4'])
print(sorted({'odenets.benchmarks', 'torch', 'scipy', 'matplotlib'} & set(sys.modules)))
print([name for name in odenets.__all__ if not hasattr(odenets, name)])
import odenets.benchmarks.study.__main__
print(sorted({'scipy', 'matplotlib', 'sklearn'} & set(sys.modules)))
print(len(odenets.schemes) > 60, 'odenets.zoo.implicit' in sys.modules)
print([name for name in odenets.analysis.__all__ if not hasattr(odenets.analysis, name)])
"""
    printed = [line for line in run(code).splitlines() if line[:1] in "[TF"]
    assert printed == ["[]", "[]", "False", "[]", "[]", "[]", "True True", "[]"]


def test_figures_without_matplotlib_say_what_to_install():
    """Whoever imports them is told, and not that a file of ours lacks a module."""
    code = """
import sys
sys.modules['matplotlib'] = None
for name in ('plot', 'gallery'):
    try:
        exec(f'from odenets.analysis import {name}')
    except ImportError as error:
        print(error)
"""
    assert run(code).splitlines() == ["odenets.analysis.plot needs matplotlib: pip install 'odenets[plot]'"] * 2


def source(name):
    """The file of a module or package of odenets, as a dotted path below it."""
    path = ROOT / "odenets" / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def modules_reached(*start):
    """Modules of odenets that these import, directly or not, read off the source."""
    reached, queue = set(), list(start)
    while queue:
        name = queue.pop()
        file = source(name)
        if name in reached or file is None:
            continue
        reached.add(name)
        package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                base = package[: len(package) + 1 - node.level]
                queue += [".".join([*base, imported]) for imported in names]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not any(n.split(".")[0] == "torch" for n in names), f"{name} imports torch"
    return reached


def test_scheme_and_zoo_import_no_torch():
    files = [f"zoo.{path.stem}" for path in (ROOT / "odenets" / "zoo").glob("*.py")]
    assert len(files) > 6
    found = {f"scheme.{name}" for name in ("scheme", "b_series", "constructors", "families", "splitting")}
    assert found <= modules_reached("zoo", *files)


def test_every_package_is_listed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {
        ".".join([*([] if top == "odenets" else ["odenets"]), *path.parent.relative_to(ROOT).parts])
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
