"""The page of the explorer, and what a browser makes of it: started once, and asked for all that the tests look at."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest
import torch
from explorer.asked import ADDRESS, EQUATIONS, GRID, MULTISTEPS, NUMBERS, OWN, PATH, POINTS, STARS, TABLEAUS
from explorer.orbits import START, STEPPED

from odenets import ODENet
from odenets.analysis import diagnose
from odenets.analysis.cli import main

HERE = pathlib.Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "page.html"
    assert main(["explore", "--no-open", "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def spiral():
    """What is written of the diagnosis of u' = A u with the eigenvalues -0.2 ± 1.5i, under lm with known k."""
    block = torch.nn.Linear(2, 2, bias=False)
    block.weight.data = torch.tensor([[-0.2, 1.5], [-1.5, -0.2]])
    net = ODENet([block] * 3, "lm").eval()
    for k, value in zip(net.coefficients.parameters(), (-0.5, 2.25), strict=True):
        k.data.fill_(value)
    return json.dumps(diagnose(net, torch.ones(1, 2)).as_dict())


@pytest.fixture(scope="session")
def browser(page, spiral, tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    asked = {
        "cases": NUMBERS,
        "re": list(POINTS.real),
        "im": list(POINTS.imag),
        "path": list(PATH),
        "zero": NUMBERS,
        "stars": STARS,
        "grid": list(GRID),
        "reach": 5,
        "tableaus": TABLEAUS,
        "played": [("rk4", [-0.5, 1]), ("ab2", [-0.25, 0.5]), ("verlet", [0, 0.5])],
        "equations": EQUATIONS,
        "multisteps": MULTISTEPS,
        "orbits": [(*scheme, problem, *START[problem]) for scheme in STEPPED for problem in START],
        "flows": [(problem, *start) for problem, start in START.items()],
        "diagnosis": spiral,
        "own": [own for own, _ in OWN],
    }
    file = tmp_path_factory.mktemp("browser") / "page.html"
    more = f'<script type="application/json" id="asked">{json.dumps(asked)}</script>'
    more += f"<script>{(HERE / 'checks.js').read_text(encoding='utf-8')}</script>"
    file.write_text(page.replace("</body>", f"{more}</body>"), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=500,900",
        f"--user-data-dir={file.parent}/user",
    ]
    command = [CHROMIUM, *options, "--virtual-time-budget=1500", "--dump-dom", file.as_uri() + ADDRESS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    title = html.unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.S)[1])
    assert title.startswith("{"), done.stderr
    found = json.loads(title)
    assert "failed" not in found, found["failed"]
    return found
