"""What the README says of torch's CPU build: with that index beside PyPI, pip takes the build for CPUs."""

import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PINNED = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)[1]


def index(folder, version):
    """A package index with an empty wheel of torch of that version."""
    place = folder / "torch"
    place.mkdir(parents=True)
    name = f"torch-{version}"
    with zipfile.ZipFile(place / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    (place / "index.html").write_text(f'<a href="{name.replace("+", "%2B")}-py3-none-any.whl">{name}</a>')
    return folder.as_uri()


@pytest.mark.parametrize(
    ("named", "taken"), [(False, PINNED), (True, f"{PINNED}+cpu")], ids=["constraints alone", "index"]
)
def test_which_build_pip_takes(tmp_path, named, taken):
    usual, cpu = index(tmp_path / "usual", PINNED), index(tmp_path / "cpu", f"{PINNED}+cpu")
    (variable,) = re.findall(r"export (\w+)=https://download\.pytorch\.org/whl/cpu", (ROOT / "README.md").read_text())
    own = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    own |= {"PIP_INDEX_URL": usual, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    own |= {variable: cpu} if named else {}
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--no-cache-dir"]
    command += ["--constraint", str(ROOT / "constraints.txt"), "torch"]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
    assert f"Would install torch-{taken}\n" in done.stdout
