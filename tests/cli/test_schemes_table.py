"""The table of all schemes, computed once for these tests; the rows that are kept and docs/schemes.md are it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from odenets import schemes
from odenets.analysis.cli import main, scheme_rows
from odenets.analysis.cli.scheme_columns import SCHEMES
from odenets.analysis.cli.scheme_rows import computed, row
from odenets.analysis.explorer.solved_equation import solved_equation

PAGE = Path(__file__).parents[2] / "docs" / "schemes.md"
COMMAND = "odenets schemes --markdown > docs/schemes.md"


@pytest.fixture(scope="module")
def rows():
    """The cells of the table of all schemes, by name, all computed."""
    heads = [column.head for column in SCHEMES]
    return {scheme.name: dict(zip(heads, computed(scheme), strict=True)) for scheme in schemes.values()}


def test_the_rows_that_are_kept_are_current(rows, monkeypatch):
    monkeypatch.setattr(scheme_rows, "computed", lambda scheme: [f"{scheme.name} is not kept"])
    found = {scheme.name: row(scheme) for scheme in schemes.values()}
    again = "run: odenets schemes --rows > analysis/cli/scheme_rows.json"
    assert found == {name: list(cells.values()) for name, cells in rows.items()}, again
    kept = {scheme.name: scheme_rows.equation(scheme) for scheme in schemes.values()}
    assert kept == {scheme.name: solved_equation(scheme) for scheme in schemes.values()}, again


def test_a_scheme_that_is_not_kept_is_computed(monkeypatch):
    other = replace(schemes["rk4"], name="rk38")
    monkeypatch.setattr(scheme_rows, "computed", lambda scheme: ["computed"])
    assert row(other) == ["computed"]
    assert row(schemes["rk38"]) != ["computed"]


def test_the_rows_are_written_one_a_line(capsys, monkeypatch):
    monkeypatch.setattr(scheme_rows, "computed", lambda scheme: [scheme.name])
    monkeypatch.setattr(scheme_rows, "solved_equation", lambda scheme: {"order": 3})
    assert main(["schemes", "--rows"]) == 0
    written = capsys.readouterr().out
    assert {name: kept["cells"] for name, kept in json.loads(written).items()} == {name: [name] for name in schemes}
    assert len(written.splitlines()) == len(schemes) + 2


def test_the_page_is_current(capsys):
    assert main(["schemes", "--markdown"]) == 0
    written, wanted = PAGE.read_text(encoding="utf-8").splitlines(), capsys.readouterr().out.splitlines()
    changed = [line for line in wanted if line not in written] + [line for line in written if line not in wanted]
    assert written == wanted, f"docs/schemes.md is out of date, run: {COMMAND}\nfirst difference: {changed[:1]}"


def test_the_page_says_what_a_reader_needs():
    text = PAGE.read_text(encoding="utf-8")
    assert COMMAND in text
    assert all(f"\n| {name} " in text for name in schemes)
    assert "the 3/8 rule: here `rk38`" in text
    assert all((f"\n| {scheme.name} †" in text) == scheme.linear_only for scheme in schemes.values())
    assert max(map(len, text.split())) < 90  # no coefficient printed to 70 digits


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
    for cells in rows.values():
        assert all(len(cells[column]) <= 20 for column in numbers)
        assert all(len(digits.lstrip("0")) <= 12 for column in numbers for digits in re.findall(r"\d+", cells[column]))


def test_schemes_with_values(capsys):
    assert main(["schemes", "--set", "k=-1/2,1", "--markdown"]) == 0
    found = capsys.readouterr().out.rstrip("\n").split("\n")
    assert any(row.startswith("| lm(k=-1/2) ") for row in found)
    table = [row for row in found if row.startswith("|")]
    assert all(row.endswith(" |") and row.count("|") == 17 for row in table)
    assert "hold for linear f only" in found[-1]
