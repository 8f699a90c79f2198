"""docs/schemes.md is what the program writes today."""

from pathlib import Path

from odenets import schemes
from odenets.analysis.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "schemes.md"
COMMAND = "odenets schemes --markdown > docs/schemes.md"


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
