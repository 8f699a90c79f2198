"""The Python of README and pages runs, and prints what they say; their links lead somewhere.

The cells of docs/tutorials/ are run by ``make docs``, which fails where one of them does; here only their links are
looked at.
"""

import pathlib
import re

import pytest
import torch

import odenets
from odenets import schemes
from odenets.analysis.cli import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def run(page, names):
    """Run the Python of a page."""
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(block, page.name, "exec"), names)
    return names


def test_python_of_the_readme_runs():
    names = run(PAGES[0], {})
    assert names["y"].shape == (8, 16)
    assert names["ssp3"].order == 3
    zoo = names["odenets"].schemes["lm"]
    assert all(getattr(names["lm"], block) == getattr(zoo, block) for block in "AUBV")
    assert names["flow"].steps == 20


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")  # by torch's own compiler
@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_python_of_the_other_pages_runs_by_itself(page, capsys, monkeypatch):
    # Whoever has imported odenets alone has none of its parts that are imported by themselves.
    for part in ("analysis", "benchmarks"):
        monkeypatch.delattr(odenets, part, raising=False)
    run(page, {})
    printed = capsys.readouterr().out.split("\n")
    # What a comment behind print() shows is a line that is printed, or its beginning up to the dots.
    for shown in re.findall(r"print\(.*?\)(?:  |\n)# (.*?)(?:, \.\.\.)?\n", page.read_text()):
        assert any(line.startswith(shown) for line in printed), shown


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_no_line_is_taken_for_a_comment(page):
    """In MyST's Markdown, of which the site is made, a line that begins with a percent sign is one, and is left out."""
    assert not re.findall(r"^\s*%.*", page.read_text(), re.M)


def test_modified_equation_of_the_page_on_the_command_line(capsys):
    assert main(["modified", "lm", "--order", "2"]) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    assert len(lines) == 2
    page = (ROOT / "docs" / "installation.md").read_text()
    assert all(f"`{line.removeprefix('lm: ')}`" in page for line in lines)


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_counts_the_schemes():
    assert f"[{len(schemes)} schemes]" in PAGES[0].read_text()
