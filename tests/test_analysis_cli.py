"""python -m analysis, in process; and what importing the package brings in."""

import re
import subprocess
import sys

import pytest

import analysis
from analysis.cli import main
from analysis.table import schemes_table
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
    assert "  2*sqrt(2)  " in rk4
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
    assert row.endswith("zeta**2 - (1 - k + z)*zeta - k")


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


@pytest.fixture(scope="module")
def rows():
    """The cells of the table of all schemes, by name."""
    table = schemes_table(schemes.values()).split("\n\n")[0].split("\n")
    cells = [re.split(r" {2,}", line) for line in table]
    return {line[0].removesuffix(" †"): dict(zip(cells[0], line, strict=True)) for line in cells[2:]}


def test_schemes_lists_them_all(rows):
    assert list(rows) == list(schemes)
    assert len(rows) >= 60
    assert all(cell for row in rows.values() for cell in row.values())


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("rk4", "explicit Runge-Kutta;4;1;0;4;1/120;1;2.785293563;2*sqrt(2);0;no;yes;no;-;W. Kutta (1901)"),
        ("leapfrog", "explicit linear multistep;1;2;1;2;1/3;1;0;1;0;no;yes;yes;1;B. Chang et al. (2018)"),
        ("verlet", "explicit partitioned;3;1;0;2;-;1;0;2;0;no;yes;yes;1;L. Verlet (1967)"),
        ("pece2", "explicit general linear;2;2;1;3;19/144;1;12/5;6/5;0;no;yes;no;-;F. R. Moulton (1926)"),
    ],
)
def test_rows(rows, name, cells):
    assert list(rows[name].values())[1:] == cells.split(";")


def test_cells(rows):
    assert rows["bosh3"]["order"] == "3(2)"
    assert rows["dopri5"]["order"] == "5(4)"
    assert rows["gauss2"]["kind"] == "fully implicit Runge-Kutta"
    assert rows["sdirk2"]["kind"] == "diagonally implicit Runge-Kutta"
    assert rows["bdf3"]["A(alpha)"] == "86.03236686"
    assert (rows["radau_iia3"]["L-stable"], rows["gauss3"]["L-stable"]) == ("yes", "no")
    assert rows["tsit5"]["effective step"] == "1"
    assert rows["gated_rk2"]["zero-stable"] == "yes"
    assert rows["in_resnet"]["zero-stable"] == "lam in [0, 2]"
    assert rows["lm"]["effective step"] == "1/(1 + k)"
    assert rows["lm"]["amplification"] == "Max(1, 1/Abs(k))"
    assert rows["lm"]["reference"] == "Y. Lu, A. Zhong, Q. Li, B. Dong (2018)"
    assert rows["lm3"]["amplification"] == rows["lm3"]["real"] == "depends on k1, k2"
    assert (rows["lm"]["A(alpha)"], rows["lm"]["L-stable"]) == ("0", "no")
    assert rows["trbdf2"]["error constant"] == "2/3 - sqrt(2)/2"
    assert rows["trbdf2"]["reference"].endswith(" et al. (1985)")


def test_numbers_are_short(rows):
    numbers = ("error constant", "effective step", "real", "imaginary", "A(alpha)", "amplification")
    for row in rows.values():
        assert all(len(row[column]) <= 20 for column in numbers)
        assert all(len(digits) <= 12 for column in numbers for digits in re.findall(r"\d+", row[column]))


def test_schemes_with_values(capsys):
    found = lines(capsys, "schemes", "--set", "k=-1/2,1", "--markdown")
    assert any(row.startswith("| lm(k=-1/2) ") for row in found)
    table = [row for row in found if row.startswith("|")]
    assert all(row.endswith(" |") and row.count("|") == 17 for row in table)
    assert "hold for linear f only" in found[-1]


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
