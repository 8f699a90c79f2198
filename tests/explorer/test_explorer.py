"""The explorer: what is written, and what a browser makes of it, beside analysis and textbook formulas."""

import base64
import cmath
import html
import json
import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
import sympy
import torch
from explorer.orbits import START, STEPPED, field, stepped
from linear.test_stability_zoo import CASES
from scipy.integrate import solve_ivp

from odenets import ODENet, schemes
from odenets.analysis import diagnose, order_star, zero_stable
from odenets.analysis.cli import main
from odenets.analysis.linear.region import amplification_factors
from odenets.analysis.linear.stability import stability_polynomial
from odenets.benchmarks.study.command_line import make_parser

HERE = pathlib.Path(__file__).parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: In float64, so that both sides have the same numbers.
NUMBERS = [(name, {symbol: float(sympy.Rational(x)) for symbol, x in values.items()}) for name, values in CASES]
POINTS = np.random.default_rng(0).uniform([-6, -6], [4, 6], (2000, 2)) @ [1, 1j]
PATH = np.linspace(-8, 3, 200)
STARS = ("rk4", "ab2", "bdf3", "gauss2", "leapfrog")
GRID = np.linspace(-3.05, 2.95, 25)
ADDRESS = "#s=lm,ab3&v=-1,0.5,2.5&z=-0.25,0.75&n=33&star=1&lm.k=-0.5&o=pendulum,0.25,40,1,-0.5"
KUTTA38 = {"A": "0 0 0 0\n1/3 0 0 0\n-1/3 1 0 0\n1 -1 1 0", "b": "1/8 3/8 3/8 1/8"}
#: What is entered -> what is said; wrong ones are refused.
OWN = [
    ({"A": "0 0\n1/2", "b": "0 1"}, "A, row 2: got 1 entries, expected 2"),
    ({"A": "0", "b": "x"}, 'b, entry 1: got "x", expected a number such as 1/3'),
    ({"A": "0", "b": "1/0"}, "got a division by 0"),
    ({"A": "0 0\n1 0", "b": "1/2 1/3"}, "b: got weights with the sum 5/6, expected 1"),
    ({"A": "0 0", "b": "1/2 1/2"}, "A: got 1 rows, expected 2"),
    ({"a": "1 1", "c": "1"}, "a: got factors with the sum 2, expected 1"),
    # Butcher's (2008) tables 100(I) and 244, in the normalisation u_{n+1} = ...
    ({"a": "1", "c": "23/12 -16/12 5/12"}, "Order 3. Error constant: 3/8."),
    ({"a": "4/3 -1/3", "c": "", "n": "2/3"}, "Order 2. Error constant: -2/9."),
    ({"a": "0 1", "c": "2"}, "Order 2. Error constant: 1/3."),
    ({"A": "0 0\n.5 0", "b": "0 1"}, "Order 2: 2 of the 17 order conditions up to order 5 hold. Error constant: 1/6."),
    (
        {"A": "0 0\n1/2 1/2", "b": "0.5, 0.5"},
        "Order 2: 2 of the 17 order conditions up to order 5 hold. Error constant: -1/12.",
    ),
    (
        {"A": "0 0\n1 0", "b": "1/3 2/3"},
        "Order 1: 1 of the 17 order conditions up to order 5 hold. Error constant: -1/6.",
    ),
    (KUTTA38, "Order 4: 8 of the 17 order conditions up to order 5 hold. Error constant: 1/120."),
]
REFUSED = 6
EQUATIONS = [
    *(("euler", {}), ("lm", {"k": -0.5}), ("lm", {"k": -1.0})),
    *(("verlet", {}), ("in_resnet", {"lam": 0.5}), ("rk4", {})),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "page.html"
    assert main(["explore", "--no-open", "--out", str(out)]) == 0
    return out.read_text(encoding="utf-8")


def test_the_page_holds_the_exact_entries(page):
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert [record["name"] for record in data["schemes"]] == list(schemes)
    for record in data["schemes"]:
        scheme = schemes[record["name"]]
        own = {str(symbol): symbol for symbol in scheme.symbols}
        assert {symbol["name"] for symbol in record["symbols"]} == set(own)
        blocks = {block: getattr(scheme, block) for block in "AUBV"}
        if scheme.Gamma is not None:  # the page is about linear f
            blocks["A"] += scheme.Gamma
        for block, matrix in blocks.items():
            assert sympy.Matrix([[sympy.sympify(x, own) for x in row] for row in record[block]]) == matrix
        for symbol in record["symbols"]:
            low, high = next(ends for name, *ends in scheme.init if name == symbol["name"])
            assert symbol["low"] < low <= symbol["start"] <= high < symbol["high"]
    assert next(head for head, _ in data["columns"]) == "scheme"
    assert next(s for s in data["schemes"] if s["name"] == "lm")["cells"][12] == "k in (-1, 1]"


def test_the_page_is_small_and_asks_for_nothing(page):
    assert len(page.encode()) < 300_000
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", page)
    assert re.findall(r'\s(?:src|href)="([^"]*)"', page) == ["data:,"]
    assert "default-src 'none'" in page


def test_no_scheme_is_named_in_its_code(page):
    code = page[page.rindex("<script>") :]
    assert [name for name in schemes if re.search(rf"[\"'`.]{name}\b", code)] == []


def test_the_command_opens_what_it_wrote(tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.chdir(tmp_path)
    assert main(["explore"]) == 0
    assert capsys.readouterr().out == "Wrote out/explorer.html\n"
    assert opened == [(tmp_path / "out" / "explorer.html").as_uri()]
    assert main(["explore", "--out", str(tmp_path / "none" / "page.html")]) == 2
    assert "expected a place to write to" in capsys.readouterr().err
    assert len(opened) == 1


@pytest.fixture(scope="module")
def spiral():
    """What is written of the diagnosis of u' = A u with the eigenvalues -0.2 ± 1.5i, under lm with known k."""
    block = torch.nn.Linear(2, 2, bias=False)
    block.weight.data = torch.tensor([[-0.2, 1.5], [-1.5, -0.2]])
    net = ODENet([block] * 3, "lm").eval()
    for k, value in zip(net.coefficients.parameters(), (-0.5, 2.25), strict=True):
        k.data.fill_(value)
    return json.dumps(diagnose(net, torch.ones(1, 2)).as_dict())


def test_a_diagnosis_is_put_into_the_page(tmp_path, spiral, capsys):
    out, run = tmp_path / "page.html", tmp_path / "run"
    run.mkdir()
    (run / "diagnosis.json").write_text(spiral)
    for given in (run, run / "diagnosis.json"):
        assert main(["explore", str(given), "--no-open", "--out", str(out)]) == 0
        (shown,) = re.findall(r'id="diagnosis">(.*?)</script>', out.read_text(encoding="utf-8"))
        expected = [block["spectrum"]["eigenvalues"] for block in json.loads(spiral)["blocks"]]
        assert [block["spectrum"]["eigenvalues"] for block in json.loads(shown)["blocks"]] == expected
    wrong = tmp_path / "wrong.json"
    for content, said in (("{", "the JSON of odenets diagnose --json"), ("[1]", "no diagnosis")):
        wrong.write_text(content)
        assert main(["explore", str(wrong), "--no-open", "--out", str(out)]) == 2
        assert said in capsys.readouterr().err
    assert main(["explore", str(tmp_path / "none.json"), "--no-open", "--out", str(out)]) == 2
    assert "none.json', which does not exist" in capsys.readouterr().err


def test_a_folder_without_a_diagnosis_says_how_to_get_one(tmp_path, capsys):
    def said(folder):
        assert main(["explore", str(folder), "--no-open", "--out", str(tmp_path / "page.html")]) == 2
        return capsys.readouterr().err

    study = tmp_path / "study"
    run = study / "lm-20-s0"
    run.mkdir(parents=True)
    assert "expected a run of a study, or the JSON of odenets diagnose --json" in said(study)
    (run / "result.json").write_text("{}")
    command = f"odenets study diagnose --out {study}"
    assert said(run).endswith(f"{command} --run lm-20-s0\n")
    assert said(study).endswith(f"{command}\n")
    parser = make_parser({"diagnose": ""}, None)
    wanted = parser.parse_args(f"diagnose --out {study} --run lm-20-s0".split())
    assert (wanted.out, wanted.run) == (study, ["lm-20-s0"])
    (run / "diagnosis.json").write_text("{}")
    assert said(study).endswith(f"expected a run with it, such as {run}\n")
    assert list(tmp_path.iterdir()) == [study]


def test_a_network_is_diagnosed_and_put_into_the_page(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "turning.py").write_text(
        "import torch, odenets\n"
        "block = torch.nn.Linear(2, 2, bias=False)\n"
        "block.weight.data = torch.tensor([[-0.2, 1.5], [-1.5, -0.2]])\n"
        "net = odenets.ODENet([block] * 3, 'euler')\n"
        "narrower = odenets.ODENet([torch.nn.Linear(2, 1)], 'euler', shortcut=torch.nn.Linear(2, 1))\n"
    )
    np.save(tmp_path / "batch.npy", np.ones((1, 2), dtype=np.float32))
    out = tmp_path / "page.html"
    asked = ["explore", "turning:net", "--no-open", "--out", str(out)]
    assert main([*asked, "--input", str(tmp_path / "batch.npy"), "--samples", "1"]) == 0
    (shown,) = re.findall(r'id="diagnosis">(.*?)</script>', out.read_text(encoding="utf-8"))
    for block in json.loads(shown)["blocks"]:
        parts = sorted(complex(*pair).imag for pair in np.reshape(block["spectrum"]["eigenvalues"], (-1, 2)))
        np.testing.assert_allclose(parts, [-1.5, 1.5], rtol=1e-6)
    assert main(asked) == 2
    assert "expected --input FILE as well" in capsys.readouterr().err
    out.unlink()
    asked = ["explore", "turning:narrower", "--no-open", "--input", str(tmp_path / "batch.npy"), "--out"]
    assert main([*asked, str(out)]) == 2
    assert "turning:narrower: got a network no layer of which has a spectrum" in capsys.readouterr().err
    assert not out.exists()
    # Told of before the network is diagnosed, and so instead of what is wrong with that.
    assert main([*asked, str(tmp_path / "none" / "page.html")]) == 2
    assert "expected a place to write to" in capsys.readouterr().err


# ---------------------------------------------------------------- in the browser, which is started once


@pytest.fixture(scope="module")
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


def numbers(text):
    return np.frombuffer(base64.b64decode(text))


TABLEAUS = [
    s.name
    for s in schemes.values()
    if s.carried == 1 and not (s.symbols or s.digits or s.linear_only or len(s.functions) > 1 or s.Gamma)
    if all(x.is_Rational for x in (*s.A, *s.B))
]


def allowance(name, values, points, largest):
    """Relative error of |zeta|max by errors of Phi's coefficients c: sum |error| |zeta|^a |z|^b / |zeta Phi_zeta|.

    No arithmetic in doubles does better. It is more than 1e-12 beside a multiple root, where Phi_zeta vanishes,
    beside a zero of R(z), and beside a pole, where the terms of the coefficients cancel. An error of c is a few
    roundings of it; and of an implicit scheme published in decimals, which analysis settles, a few of the last decimal.
    """
    phi, digits = stability_polynomial(name, **values), schemes[name].digits
    decimal = 10.0 ** (1 - digits) if digits and not schemes[name].explicit else 0
    total, slope = 0, 0
    for (a, b), c in ((powers, complex(c)) for powers, c in phi.terms()):
        total += (16 * np.finfo(float).eps * abs(c) + decimal) * abs(largest**a * points**b)
        slope += a * c * largest ** (a - 1) * points**b
    return total / abs(largest * slope)


def agree(name, values, points, found):
    """To 1e-12, or to the allowance where that is more."""
    roots = amplification_factors(schemes[name].substitute(values), points)
    largest = np.take_along_axis(roots, abs(roots).argmax(-1)[..., None], -1)[..., 0]
    assert np.isfinite(largest).all()
    allowed = np.maximum(1e-12, allowance(name, values, points, largest))
    error = abs(found - abs(largest)) / abs(largest)
    assert (error <= allowed).all(), (name, values, error.max(), points[(error / allowed).argmax()])
    return error


def test_amplification_is_that_of_analysis_for_every_scheme(browser):
    errors = [agree(*case, POINTS, numbers(found)) for case, found in zip(NUMBERS, browser["radii"], strict=True)]
    assert len({name for name, _ in NUMBERS}) == len(schemes)
    # An implicit scheme of 15 digits is not known to 1e-12 near poles: its allowance is what it is.
    rough = {s.name for s in schemes.values() if s.digits == 15 and not s.explicit}
    assert rough == {"rodas4", "rodas5p"}
    errors = [error for (name, _), error in zip(NUMBERS, errors, strict=True) if name not in rough]
    assert (np.array(errors) <= 1e-12).mean() > 0.999


def test_roots_followed_from_point_to_point_are_the_same(browser):
    for case, found in zip(NUMBERS, browser["warm"], strict=True):
        agree(*case, PATH + 0.3j, numbers(found))


def test_zero_stability_and_where_it_is_lost(browser):
    assert browser["zero"] == [zero_stable(name, **values) for name, values in NUMBERS]
    assert {True, False} == set(browser["zero"])
    # Lu et al. (2018): -1 < k <= 1
    np.testing.assert_allclose(browser["range"], [-1, 1], atol=2e-5)


@pytest.mark.parametrize("name", STARS)
def test_the_order_star_is_that_of_analysis(browser, name):
    expected = order_star(name, re=(GRID[0], GRID[-1]), im=(GRID[0], GRID[-1]), resolution=len(GRID)).ratio
    found = numbers(browser["stars"][STARS.index(name)]).reshape(expected.shape)
    # Beside a cut between two sheets the spokes, which end elsewhere, may take the other one.
    alike = abs(found - expected) <= 1e-10 * expected
    assert alike.mean() > (0.97 if schemes[name].carried > 1 else 0.999), alike.mean()


def test_orders_of_tableaus_by_their_trees(browser):
    assert browser["orders"] == [min(5, schemes[name].order) for name in TABLEAUS]
    assert {1, 2, 3, 4, 5} == set(browser["orders"])


def test_steps_that_are_played(browser):
    rk4, ab2, verlet = (numbers(found).view(complex) for found in browser["played"])
    w = -0.5 + 1j
    np.testing.assert_allclose(rk4, (1 + w + w**2 / 2 + w**3 / 6 + w**4 / 24) ** np.arange(13), rtol=1e-12)
    w = -0.25 + 0.5j
    u = [1, cmath.exp(w)]
    for n in range(1, 12):
        u.append(u[n] + w * (1.5 * u[n] - 0.5 * u[n - 1]))
    np.testing.assert_allclose(ab2, u, rtol=1e-12)
    w, x, y = 0.5j, [1], 0
    for _ in range(12):
        y += w / 2 * x[-1]
        x.append(x[-1] + w * y)
        y += w / 2 * x[-1]
    np.testing.assert_allclose(verlet, x, rtol=1e-12)


def test_a_scheme_of_ones_own(browser):
    for (_, expected), (said, refused) in zip(OWN, browser["own"], strict=True):
        assert expected in said
        assert refused == (said in [text for text, _ in browser["own"][:REFUSED]])
    assert all(refused for _, refused in browser["own"][:REFUSED])
    heads = ["scheme", "kind", "stages", "steps", "starting", "order", "error constant"]
    told = ["own", "explicit Runge-Kutta", "4", "1", "0", "4", "1/120"]
    assert browser["table"][: len(heads)] == told
    assert browser["linked"] == KUTTA38


def test_the_address_is_restored(browser):
    found = browser["address"]
    assert found["chosen"] == ["lm", "ab3"]
    assert found["values"] == {"lm": {"k": -0.5}}
    assert found["view"] == {"x": -1, "y": 0.5, "half": 2.5}
    assert found["z"] == [-0.25, 0.75]
    assert found["star"] is True
    assert found["steps"] == 33
    assert found["orbit"] == {"problem": "pendulum", "h": 0.25, "steps": 40, "start": [1, -0.5]}
    assert set(found["written"][1:].split("&")) == set(ADDRESS[1:].split("&"))
    wrong = "; ".join(browser["wrong"])
    assert "o: got pendulum,0,9,1,1, expected a problem" in wrong
    for expected in ("s: got nothing, expected", "z: got 1,x, expected 2 finite", "v: got 0,0,-1, expected 3"):
        assert expected in wrong


def test_the_address_is_kept(browser):
    kept, wanted = browser["kept"]
    assert kept == wanted
    for part in ("lm.k=2.25", "layer=2&h=0.25", "z=2,0", "own.b=1/8", "v=2,0,4"):
        assert part in kept.replace("+", " ")


def test_a_pointer(browser):
    np.testing.assert_allclose(browser["hovered"], [2, 2], atol=0.05)
    view, z = browser["dragged"]
    np.testing.assert_allclose([view["x"], view["y"], view["half"]], [2, 0, 4], atol=0.05)
    assert z == browser["hovered"]
    np.testing.assert_allclose(browser["tapped"], [2, 0], atol=0.05)


def test_keys_and_sliders(browser):
    keys, before = browser["keys"], browser["keys"]["before"]
    np.testing.assert_allclose(np.subtract(keys["z"], before["z"]), [0.05, 0])
    assert keys["view"]["y"] - before["view"]["y"] == pytest.approx(0.5)
    assert keys["view"]["half"] == pytest.approx(2)
    assert browser["slider"]["k"] == 0.25
    assert "Lost where k falls to \u22121, or k grows beyond 1." in browser["slider"]["verdict"]
    assert browser["lost"].startswith("Not zero-stable")
    assert browser["wide"] <= 0  # nothing is cut on a narrow screen


def test_a_trained_network_over_the_regions(browser):
    said, refused = browser["refused"]
    assert refused
    assert "got JSON without spectra of layers, expected that of odenets diagnose --json" in said
    # The first layer is the starting step, and has no k; the slider reaches as far as the third layer's k.
    assert [layer["k"] for layer in browser["layers"][1:]] == [-0.5, 2.25]
    assert browser["layers"][2]["shown"] == "2.25"
    # Of -0.2 ± 1.5i rk4 is stable; the textbook's roots of zeta^2 = (1 - k + z) zeta + k say that lm is not.
    assert max(abs(np.roots([1, -(1.5 - 0.2 + 1.5j), 0.5]))) > 1
    said = browser["layers"][1]["said"]
    assert said.startswith("layer 1: lm, k = \u22120.5000, h = 1; ")
    assert re.search(r"(\d+) eigenvalues\. lm: \1 outside, \1 of them where the flow does not grow", said)
    assert "rk4: 0 outside, 0 of them" in said
    assert "h = 1 times 0.25" in browser["smaller"]


# ---------------------------------------------------------------- the equation, and the orbits


def test_the_equation_on_linear_f_gives_the_principal_root(browser):
    """exp(z (c_0 + c_1 z + ...)) is the root near 1 + c_0 z, at small z."""
    for (name, values), found in zip(NUMBERS, browser["series"], strict=True):
        if found is None:
            assert name == "in_resnet" or values == {"k": -1}
            continue
        c = numbers(found)
        # Well inside of the circle of convergence.
        z = 0.1 * np.exp(1j * np.arange(1, 4)) / max(1, *(abs(c[1:] / c[0]) ** (1 / np.arange(1, len(c)))))
        told = np.exp(z * np.polyval(c[::-1], z))
        roots = amplification_factors(schemes[name].substitute(values), z)
        assert abs(roots - told[:, None]).min(1).max() < 1e-13, (name, values)
        assert abs(c[0]) > 0.2, name


def test_the_equation_in_numbers(browser):
    plain = str.maketrans({"\N{PRIME}": "'", "\N{MINUS SIGN}": "-"})
    found = [[line.translate(plain) for line in lines] for lines in browser["equations"]]
    euler, paper, pole, verlet, damped, four = found
    assert euler[:2] == [
        "u' + (h/2) u'' + (h²/6) u''' + … = f",
        "u' = f - (h/2) f'f + (h²/12) f''(f,f) + (h²/3) f'f'f + O(h³)",
    ]
    # log(1 + z)/z
    assert euler[2] == "f = λu: u' = (1 - 0.5 z + 0.33333 z² - 0.25 z³ + …) λu"
    # Lu et al. (2018) with k = -1/2, and solved for u': 1/(1 + k), (1 - k)/(2 (1 + k)^3)
    assert paper[:2] == [
        "(1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h²/6) u''' + … = f",
        "0.5 u' + 0.75 h u'' + 0.083333 h² u''' + … = f",
    ]
    assert paper[2].startswith("u' = 2 f - 6 h f'f + ")
    assert paper[3].startswith("f = λu: u' = (2 - 6 z + ")
    assert pole[1] == "h u'' + … = f"
    assert "an equation of another order" in pole[2]
    assert "no series in z" in pole[3]
    # Hairer, Lubich and Wanner (2006), IX; z + z^3 ...: 2 arsinh(z/2)/z
    assert verlet == [
        "u₁' = f - (h²/24) f''(g,g) - (h²/6) f'g'f + O(h³)",
        "u₂' = g + (h²/12) g''(f,f) + (h²/12) g'f'g + O(h³)",
        "f = λu: u' = (1 - 0.041667 z² + 0.0046875 z⁴ - 0.00069754 z⁶ + …) λu",
    ]
    assert len(damped) == 1
    assert "no series in z" in damped[0]
    assert four[0] == "u' = f + O(h⁴)"


def test_steps_of_the_pendulum_and_of_lotka_volterra(browser):
    asked = [(*scheme, problem) for scheme in STEPPED for problem in START]
    for (name, values, problem), found in zip(asked, browser["orbits"], strict=True):
        assert found["said"] == ""
        points = numbers(found["points"]).reshape(-1, 2)
        np.testing.assert_allclose(
            points, stepped(name, values, problem), rtol=0, atol=1e-12, err_msg=f"{name}, {problem}"
        )


def test_the_exact_orbits(browser):
    for (problem, (start, h, steps)), found in zip(START.items(), browser["flows"], strict=True):
        times = np.arange(4 * steps + 1) * h / 4
        exact = solve_ivp(field(problem), times[[0, -1]], start, "DOP853", times, rtol=1e-12, atol=1e-12).y.T
        np.testing.assert_allclose(numbers(found).reshape(-1, 2), exact, atol=1e-8)


def test_the_orbits_on_the_page(browser):
    assert "own" in browser["shown"]["equations"]
    assert "lm, k = 1.25" in browser["shown"]["equations"]
    orbit = browser["orbit"]
    assert orbit["kept"] == "lotka-volterra,0.2,30,4,2"
    assert "Got lotka-volterra,0.2,30,-1,2, expected u and v from 0.01 to 20" in orbit["refused"]
    start, pressed = orbit["pressed"]
    np.testing.assert_allclose(start, pressed, atol=0.05)  # a pixel
    assert "o=lotka-volterra,0.2,30," in browser["kept"][0]


def test_a_diagnosis_is_dropped(browser):
    """Both drops are the page's, the first is refused, the second opened: see the layers above."""
    assert browser["dropped"] == [True, True, False, False]


def test_two_fingers(browser):
    half, z = browser["pinched"]
    assert half == pytest.approx(2)
    assert z == browser["tapped"]
