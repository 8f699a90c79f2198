"""The explorer: what odenets explore writes, and what it says where it cannot."""

import json
import re

import numpy as np
import sympy

from odenets import schemes
from odenets.analysis.cli import main
from odenets.benchmarks.study import diagnose as study_diagnose, result
from odenets.benchmarks.study.command_line import make_parser


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
    (run / result.NAME).write_text("{}")
    command = f"odenets study diagnose --out {study}"
    assert said(run).endswith(f"{command} --run lm-20-s0\n")
    assert said(study).endswith(f"{command}\n")
    parser = make_parser({"diagnose": ""}, None)
    wanted = parser.parse_args(f"diagnose --out {study} --run lm-20-s0".split())
    assert (wanted.out, wanted.run) == (study, ["lm-20-s0"])
    (run / f"{study_diagnose.STEM}.json").write_text("{}")
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
