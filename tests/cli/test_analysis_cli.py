"""odenets, in process; and what importing the package brings in."""

import csv
import json
import sys

import pytest

from odenets import analysis, schemes
from odenets.analysis.cli import main


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


@pytest.mark.parametrize("name", ["region.png", "region.svg"])
def test_stability_figure(capsys, tmp_path, name):
    out = tmp_path / name
    argv = ["stability", "euler", "lm", "--set", "k=-1/2, 1/2", "--re", "-3", "1", "--im", "-2", "2"]
    assert lines(capsys, *argv, "--out", str(out))[-1] == f"Wrote {out}"
    assert out.stat().st_size > 1000


def test_modified_prints_both_forms(capsys):
    solved, derivatives = lines(capsys, "modified", "lm", "--order", "3")
    assert solved.startswith("lm: u' = f/(1 + k) - (1 - k) h/(2 (1 + k)^3) f'f ")
    assert derivatives == "lm: (1 + k) u' + (1 - k) (h/2) u'' + (1 + k) (h^2/6) u''' + ... = f"
    # Hairer, Lubich & Wanner (2006), IX.9: explicit Euler; a Runge-Kutta scheme has no other form
    assert lines(capsys, "modified", "midpoint", "--order", "2") == ["midpoint: u' = f + O(h^2)"]
    assert lines(capsys, "modified", "euler", "--order", "2")[0] == "euler: u' = f - h/2 f'f + O(h^2)"
    assert lines(capsys, "modified", "lm", "--order", "1", "--set", "k=1/3", "--latex")[-1] == (
        r"\frac{4}{3} u' + \cdots = f"
    )


def test_modified_where_there_is_no_equation_solved_for_the_derivative(capsys):
    reason, derivatives = lines(capsys, "modified", "lm", "--order", "3", "--k", "-1")
    assert reason.startswith("lm(k=-1): got ")
    assert derivatives == "lm(k=-1): h u'' + ... = f"


def test_modifying_and_hamiltonian(capsys):
    # Chartier, Hairer & Vilmart (2007): explicit Euler; Hairer, Lubich & Wanner (2006), IX.3: symplectic Euler
    assert lines(capsys, "modifying", "euler", "--order", "2") == ["euler: f~ = f + h/2 f'f + O(h^2)"]
    assert lines(capsys, "hamiltonian", "symplectic_euler", "--order", "2") == [
        "symplectic_euler: H~ = T + U - h/2 T'g + O(h^2)"
    ]
    assert lines(capsys, "hamiltonian", "implicit_midpoint", "--order", "1", "--latex") == [
        r"\tilde H = H + \mathcal{O}(h^{1})"
    ]


def test_order_star(capsys, tmp_path):
    out = tmp_path / "star.svg"
    found = lines(capsys, "order-star", "gauss2", "--out", str(out))
    # Wanner, Hairer & Norsett (1978): order p, p + 1 sectors; error constant (2!)^2/(4! 5!) = 1/720
    assert found[2].split() == ["gauss2", "4", "1/720", "5"]
    assert found[-1] == f"Wrote {out}"
    assert "expected one" in fails(capsys, "order-star", "euler", "rk4", "--out", str(out))


def test_locus(capsys, tmp_path):
    found = lines(capsys, "locus", "euler", "--points", "5", "--out", str(tmp_path / "x.png"))
    # z = e^(i theta) - 1
    assert [row.split()[2:] for row in found[2:7]] == [
        ["0", "0", "0"],
        ["90", "-1", "1"],
        ["180", "-2", "0"],
        ["270", "-1", "-1"],
        ["360", "0", "0"],
    ]


def test_dispersion(capsys, tmp_path):
    _, _, rk4, leapfrog, *_ = lines(capsys, "dispersion", "rk4", "leapfrog", "--out", str(tmp_path / "x.png"))
    assert rk4.split() == ["rk4", "4", "1/120", "y^5", "5", "1/144", "y^6"]
    assert leapfrog.split() == ["leapfrog", "2", "-1/6", "y^3", "inf", "0"]


def test_ssp(capsys):
    found = lines(capsys, "ssp", "ssprk33", "lm", "--set", "k=1/2")
    assert [row.split()[:2] for row in found[2:]] == [["ssprk33", "1"], ["lm(k=1/2)", "1/2"]]


def test_optimal_step(capsys):
    found = lines(capsys, "optimal-step", "euler", "leapfrog", "--lambda=-4,-1")
    assert found[2].split() == ["euler", "0.5", "0.5", "-4+0j"]  # |1 - 4 h| <= 1
    assert found[3].split()[:2] == ["leapfrog", "0"]
    assert "expected numbers" in fails(capsys, "optimal-step", "euler", "--lambda=a")
    assert "1+0j, with which no step is stable" in "\n".join(lines(capsys, "optimal-step", "rk4", "--lambda=1,-1"))


def test_growth_and_conditions(capsys):
    # Products of -k: 0.5, 0.05, 0.06; then 1.2. The last layers' matrices are [[1 - k, k], [1, 0]].
    found = lines(capsys, "growth", "lm", "--ks=0.5,0.1,-1.2")
    assert found[2].split() == ["0", "1", "1", "0.5"]
    assert found[4].split() == ["2", "1.2", "3.4", "1.2"]
    assert "expected a scheme with exactly one" in fails(capsys, "growth", "rk4", "--ks=1")
    assert "expected a scheme with exactly one" in fails(capsys, "growth", "lm3", "--ks=1")
    assert "expected numbers such as" in fails(capsys, "growth", "lm", "--ks=a")
    assert lines(capsys, "conditions", "2")[3].split() == ["f'f", "sum", "b_i", "c_i", "1/2"]
    assert "at most 12" in fails(capsys, "conditions", "13")


def test_convergence(capsys, tmp_path):
    argv = ["convergence", "rk4", "--steps", "32", "64", "--out", str(tmp_path / "x.png")]
    name, order, observed, coarse, fine = lines(capsys, *argv)[4].split()
    assert (name, order) == ("rk4", "4")
    assert float(observed) == pytest.approx(4, abs=0.15)
    assert float(coarse) / float(fine) == pytest.approx(2 ** float(observed), rel=0.02)


def test_gallery(capsys, tmp_path):
    assert lines(capsys, "gallery", "lm-regions", "--out", str(tmp_path)) == [
        f"Wrote {tmp_path / 'gallery-lm-regions.png'}"
    ]
    assert [item.name for item in tmp_path.iterdir()] == ["gallery-lm-regions.png"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stability", "rk5"], "unknown scheme 'rk5'; did you mean 'rk4'"),
        (["modified", "in_resnet"], "in_resnet: got"),
        (["hamiltonian", "euler"], "it is not symplectic"),
        (["order-star", "lm"], "no value for k"),
        (["locus", "euler", "--points", "2"], "at least 3"),
        (["locus", "euler", "--im", "0", "1"], "--re or --im without --out"),
        (["convergence", "euler", "--steps", "4", "4"], "different positive integers"),
        (["convergence", "verlet"], "expected one of f(t, x) alone"),
        (["gallery", "nothing", "--out", "."], "gallery: got nothing, expected some of square"),
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


def test_without_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    drawing = ("odenets.analysis.plot", "odenets.analysis.gallery")
    for name in [name for name in sys.modules if name.startswith(drawing)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("plot", "gallery"):
        monkeypatch.delitem(vars(analysis), name, raising=False)
    assert "pip install 'odenets[plot]'" in fails(capsys, "stability", "euler", "--out", "x.png")
    assert "pip install 'odenets[plot]'" in fails(capsys, "gallery", "--out", "x")
    assert lines(capsys, "stability", "euler")


# ------------------------------------------------------- forms of tables, schemes of one's own

TABLES = [["stability", "rk4"], ["ssp", "rk4"], ["order-star", "rk4"], ["locus", "rk4", "--points", "3"]]
TABLES += [["dispersion", "rk4"], ["optimal-step", "rk4", "--lambda", "-1"], ["growth", "lm", "--ks", "0.5"]]
TABLES += [["convergence", "rk4", "--steps", "4", "8"], ["conditions", "2"], ["schemes"]]


@pytest.mark.parametrize("command", TABLES, ids=lambda command: command[0])
def test_every_table_in_every_form(capsys, monkeypatch, command):
    # Of the command that lists all schemes three: one has symbols, below one a note would stand.
    few = {name: schemes[name] for name in ("euler", "lm", "poly2")}
    monkeypatch.setattr("odenets.analysis.cli.schemes.schemes", few)
    text = lines(capsys, *command)
    (rows,) = [json.loads("\n".join(lines(capsys, *command, "--format", "json")))]
    header, *others = csv.reader(lines(capsys, *command, "--format", "csv"))
    assert [list(row.values()) for row in rows] == others
    assert list(rows[0]) == header
    assert any(line.split("  ")[0] == others[0][0] for line in text)
    marked = lines(capsys, *command, "--format", "markdown")
    assert sum(line.startswith("| ") for line in marked) == len(others) + 2


def test_what_is_said_beside_a_table_of_numbers_is_on_stderr(capsys):
    assert main(["growth", "lm", "--ks", "0.5", "--format", "csv"]) == 0
    assert "largest:" in capsys.readouterr().err


MINE = 'import odenets\nmine = odenets.runge_kutta("mine", [[0, 0], ["2/3", 0]], ["1/4", "3/4"])\nother = 3\n'


def test_a_users_own_scheme(capsys, tmp_path, monkeypatch):
    (tmp_path / "own_schemes.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    for given in (f"{tmp_path / 'own_schemes.py'}:mine", "own_schemes:mine"):
        assert lines(capsys, "ssp", given)[2].split() == ["mine", "1/2", "2"]
        assert lines(capsys, "modified", given, "--order", "3")[0].startswith("mine: u' = f - h^2/6 f'f'f")
    assert "got a int, expected a Scheme" in fails(capsys, "ssp", "own_schemes:other")
    assert "has no attribute 'none'" in fails(capsys, "ssp", "own_schemes:none")
    assert "No module named" in fails(capsys, "ssp", "not_there:mine")
    assert "expected MODULE:NAME" in fails(capsys, "ssp", ":mine")
