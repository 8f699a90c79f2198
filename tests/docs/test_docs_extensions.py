"""What the site does to docstrings and formulas, and what it refuses: the files of docs/_ext that need no Sphinx."""

import importlib.util
import pathlib
from xml.etree import ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def found(monkeypatch):
    """They find each other as Sphinx has them do it."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))


def extension(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_formulas_in_the_sentences_of_docstrings_stay_what_they_are():
    said = """The sum b_i c_i^2 of |k| < 1, f* and ``b_i``, by :func:`odenets.solve`.

    y+ = h B F(Y)

After it.

Args:
    y_: a state |y|.
"""
    assert "\n".join(extension("plain_docstrings").restructured(said.split("\n"))) == (
        r"""The sum b_i c_i^2 of \|k\| < 1, f\* and ``b_i``, by :func:`odenets.solve`.

.. math::

    y^{+} = h B F(Y)

After it.

Args:
    y\_: a state \|y\|.
"""
    )


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("u_{n+1} = sum_j a_j u_{n-j}", r"u_{n+1} = \sum_{j} a_{j} u_{n-j}"),
        ("z+ = z - Psi_{-h}(y+),   z_0 = y_0", r"z^{+} = z - \Psi_{-h}(y^{+}), \quad z_{0} = y_{0}"),
        ("h beta_ij F(Y_j) + b_next f'f", r"h \beta_{ij} F(Y_{j}) + b_{\text{next}} f'f"),
        ("c h^(m-1) u^(m) >= (V)^-1", r"c h^{m-1} u^{(m)} \ge (V)^{-1}"),
        ("a' = -(df/dtheta)^T a", r"a' = -(d f/d \theta)^{T} a"),
        ("k = order of the step, 1 + k", r"k = \text{order}\ \text{of}\ \text{the}\ \text{step}, 1 + k"),
        (
            "Y = U y      (s stages)\ny+ = V y",
            r"\begin{array}{ll} Y = U y & (s\ \text{stages}) \\ y^{+} = V y \end{array}",
        ),
        ("net = ODENet(blocks, scheme)", None),
    ],
)
def test_blocks_of_docstrings_are_formulas(text, latex):
    assert extension("formula_text").latex(f"    {text}") == latex


@pytest.mark.parametrize(
    ("page", "refused"),
    [
        ('<script src="https://cdn.example.org/a.js"></script>', True),
        ('<script async src="//cdn.example.org/a.js"></script>', True),
        ('<link href="https://fonts.example.org/f.css" rel="stylesheet">', True),
        ("<style>@font-face { src: url(https://fonts.example.org/f.woff) }</style>", True),
        ('<img alt="a" src="http://example.org/a.png">', True),
        ('<a href="https://example.org">elsewhere</a>', False),
        ('<link rel="author" href="https://example.org">', False),
        ('<script src="_static/a.js"></script><img src="a.png">', False),
    ],
)
def test_what_would_ask_another_host_is_found(tmp_path, page, refused):
    (tmp_path / "page.html").write_text(page)
    assert bool(extension("no_requests").requests(tmp_path)) == refused


def test_a_tableau_has_its_lines():
    pytest.importorskip("latex2mathml", reason="of the extra docs")
    formula = r"\displaystyle \begin{array}{c|cc} 0 & 1 & 2 \\ \hline 3 & 4 & 5 \\ 6 & 7 & \end{array}"
    root = ElementTree.fromstring(extension("mathml").mathml(formula, "block"))
    cells = [cell for cell in root.iter() if cell.tag.endswith("}mtd")]
    lines = ["".join(side for side in ("bottom", "right") if side in cell.get("style", "")) for cell in cells]
    assert ["".join(cell.itertext()) for cell in cells] == [*"01234567", ""]
    assert lines == ["bottomright", "bottom", "bottom", "right", "", "", "right", "", ""]
