"""python -m analysis, in process; and what importing the package brings in."""

import subprocess
import sys

import pytest

import analysis
from analysis.cli import main
from odenets import schemes


def lines(capsys, *argv):
    assert main(argv) == 0
    return capsys.readouterr().out.rstrip("\n").split("\n")


def fails(capsys, *argv):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_stability_table(capsys):
    header, _, euler, rk4, *family = lines(capsys, "stability", "euler", "rk4", "lm", "--k", "-0.5", "0", "0.5")
    assert header.split("  ")[0] == "scheme"
    assert euler.split()[:4] == ["euler", "2", "0", "yes"]
    assert "2.785293563" in rk4
    assert "2*sqrt(2) = 2.828427125" in rk4
    assert [row.split()[:4] for row in family] == [
        ["lm(k=-1/2)", "3", "0", "yes"],
        ["lm(k=0)", "2", "0", "yes"],
        ["lm(k=1/2)", "1", "0", "yes"],
    ]
    assert euler.endswith("zeta - (1 + z)")
    assert family[2].endswith("zeta**2 - (1/2 + z)*zeta - 1/2")


def test_stability_with_a_free_symbol(capsys):
    row = lines(capsys, "stability", "lm")[2]
    assert "depends on k" in row
    assert "k in (-1, 1]" in row
    assert row.endswith("zeta**2 - (1 + z - k)*zeta - k")


@pytest.mark.parametrize("name", ["region.png", "deep/region.svg"])
def test_stability_figure(capsys, tmp_path, name):
    out = tmp_path / name
    argv = ["stability", "euler", "lm", "--set", "k=-1/2, 1/2", "--re", "-3", "1", "--im", "-2", "2"]
    assert lines(capsys, *argv, "--out", str(out))[-1] == f"Wrote {out}"
    assert out.stat().st_size > 1000


def test_modified(capsys):
    assert lines(capsys, "modified", "lm", "--order", "3") == [
        "lm: (1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h^2/6) u''' + ... = f"
    ]
    assert lines(capsys, "modified", "lm", "--order", "1", "--set", "k=1/3", "--latex") == [
        r"\frac{4}{3} u' + \cdots = f"
    ]


def test_schemes(capsys):
    found = lines(capsys, "schemes")
    assert [row.split()[0] for row in found[2:]] == list(schemes)
    lm = next(row for row in found if row.startswith("lm"))
    assert "1/(1 + k)" in lm
    assert "Max(1, 1/Abs(k))" in lm
    assert "Y. Lu, A. Zhong, Q. Li, B. Dong (2018)" in lm
    rk4 = next(row for row in found if row.startswith("rk4"))
    assert rk4.split()[1:8] == ["explicit", "Runge-Kutta", "4", "0", "4", "1/120", "1"]
    leapfrog = next(row for row in found if row.startswith("leapfrog"))
    assert leapfrog.split()[4:13] == ["1", "1", "2", "1/3", "1", "0", "1", "yes", "yes"]


def test_schemes_as_markdown(capsys):
    found = lines(capsys, "schemes", "--markdown", "--set", "k=-1/2,1")
    assert all(row.startswith("| ") and row.endswith(" |") and row.count("|") == 14 for row in found)
    assert any("lm(k=-1/2)" in row for row in found)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stability", "rk5"], "unknown scheme 'rk5'; did you mean 'rk4'"),
        (["modified", "rk4"], "needs B-series"),
        (["modified", "lm", "--order", "0"], "expected an integer of at least 1"),
        (["stability", "euler", "--k", "1"], "got values for k, expected symbols of euler: none"),
        (["stability", "lm", "--set", "q=1"], "got values for q, expected symbols of lm"),
        (["stability", "lm", "--set", "k"], "expected SYMBOL=VALUE"),
        (["stability", "lm", "--set", "k=1,,2"], "expected SYMBOL=VALUE"),
        (["stability", "lm", "--k", "half"], "expected a finite real number"),
        (["stability", "lm", "--out", "x.png"], "no value for k"),
        (["stability", "euler", "--out", "x.gif"], ".png, .svg or .pdf"),
        (["stability", "euler", "--re", "0", "1"], "without --out"),
        (["stability", "euler", "--re", "1", "0", "--out", "x.png"], "low < high"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "expected a place to write to" in fails(capsys, "stability", "euler", "--out", str(tmp_path / "file/x.png"))


@pytest.mark.parametrize("argv", [["modified", "lm", "--ord", "3"], ["stabilty"], [], ["stability"]])
def test_option_typos(capsys, argv):
    with pytest.raises(SystemExit) as info:
        main(argv)
    assert info.value.code == 2
    assert "error" in capsys.readouterr().err


def test_import_brings_no_matplotlib():
    code = "import sys, analysis; assert 'matplotlib' not in sys.modules; analysis.plot.save"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("plot", "plot_coefficients", "style"):
        monkeypatch.delitem(sys.modules, f"analysis.{name}", raising=False)
    monkeypatch.delattr(analysis, "plot", raising=False)
    assert "pip install 'odenets[plot]'" in fails(capsys, "stability", "euler", "--out", "x.png")
    assert lines(capsys, "stability", "euler")
