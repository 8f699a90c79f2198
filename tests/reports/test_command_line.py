"""The command line: negative numbers, encodings, token numbers, folders, suggestions, what is not installed.

cpython 105712 and 96994: argparse takes -1e-3 for an option. pytorch-summary 42 and 77, torchinfo 244: a model on token
numbers is given floats. allosaurus 73, Gooey 220: output that is not UTF-8 ends in UnicodeEncodeError.
"""

import io
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from odenets.analysis.cli import main
from odenets.analysis.cli.diagnosis import read_input
from odenets.analysis.text.console import print_anywhere
from odenets.benchmarks.common.command_line import Parser


def out_of(capsys, *argv):
    assert main(argv) == 0
    return capsys.readouterr().out


def error_of(capsys, *argv):
    assert main(argv) == 2
    return capsys.readouterr().err


# ------------------------------------------------------- negative numbers


@pytest.mark.parametrize(
    ("text", "name"),
    [("-1e-3", "-1/1000"), ("-1.", "-1"), ("-.5", "-1/2"), ("-1/2", "-1/2"), ("-2E0", "-2"), ("-0.25", "-1/4")],
)
def test_negative_values_of_symbols(capsys, text, name):
    assert f"lm(k={name})" in out_of(capsys, "ssp", "lm", "--k", "0", text)


def test_negative_ends_eigenvalues_and_sequences(capsys, tmp_path):
    out = str(tmp_path / "x.png")
    assert f"Wrote {out}" in out_of(
        capsys, "stability", "rk4", "--re", "-45e-1", "1", "--im", "-.3e1", "3.", "--out", out
    )
    assert "-4+0j" in out_of(capsys, "optimal-step", "euler", "--lambda", "-4,-1")
    assert "-1-2j" in out_of(capsys, "optimal-step", "rk4", "--lambda", "-1-2j,-1e-1")
    assert "bound" in out_of(capsys, "growth", "lm", "--ks", "-1e-1,.5,-1.")


@pytest.mark.parametrize("text", ["-1e-3", "-1.", "-.5e1", "-inf"])
def test_negative_numbers_of_benchmarks(text):
    parser = Parser(allow_abbrev=False)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--more", type=float, nargs="+")
    found = parser.parse_args(["--lr", text, "--more", "1", text])
    assert (found.lr, found.more) == (float(text), [1, float(text)])


def test_what_only_begins_as_a_number_is_no_number():
    parser = Parser()
    parser.add_argument("--out")
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "-1.png"])


# -------------------------------------------------------------- encodings


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "gbk", "latin-1", "utf-8"])
def test_output_in_any_encoding(monkeypatch, encoding):
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(kept, encoding=encoding))
    print_anywhere()
    print("0.5 \xb1 0.1, Na\xefve, 10\xb2, \u03bb, \u2020, \u4e2d", flush=True)
    said = kept.getvalue().decode(encoding).split()
    if encoding == "ascii":
        assert said == ["0.5", "+-", "0.1,", "Naive,", "102,", "lambda,", "+,", "?"]
    assert (said[1] == "\xb1") == (encoding != "ascii")


def test_commands_print_in_ascii(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["ssp", "euler"]) == 0
    assert stream.errors == "odenets.plain"


# ----------------------------------------------------------- token numbers


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_whole_numbers_stay_whole(tmp_path, dtype):
    torch.save(torch.ones(4, 5, dtype=dtype), tmp_path / "ids.pt")
    assert read_input(tmp_path / "ids.pt").dtype == dtype
    np.save(tmp_path / "ids.npy", torch.ones(4, 5, dtype=dtype).numpy())
    assert read_input(tmp_path / "ids.npy").dtype == dtype


def test_a_network_on_tokens_is_diagnosed(capsys, tmp_path, monkeypatch):
    source = """
        import odenets
        from torch import nn
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                blocks = [nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)]
                self.embed, self.net = nn.Embedding(10, 4), odenets.ODENet(blocks, "lm")
            def forward(self, tokens):
                return self.net(self.embed(tokens).mean(1))
    """
    (tmp_path / "net_of_tokens.py").write_text(textwrap.dedent(source))
    torch.save(torch.randint(0, 10, (4, 5)), tmp_path / "ids.pt")
    monkeypatch.syspath_prepend(tmp_path)
    said = out_of(capsys, "diagnose", "net_of_tokens:Net", "--input", str(tmp_path / "ids.pt"))
    assert "Findings" in said


# ----------------------------------------------------- folders, suggestions


@pytest.mark.parametrize(
    "command", [["stability", "rk4"], ["dispersion", "rk4"], ["convergence", "euler", "--steps", "8"]]
)
def test_no_folder_is_made_for_a_figure(capsys, tmp_path, command):
    place = tmp_path / "mistyped"
    assert "expected a place to write to: no folder" in error_of(capsys, *command, "--out", str(place / "x.png"))
    assert not place.exists()


def test_no_name_is_suggested_that_is_not_close(capsys):
    assert "did you mean" not in error_of(capsys, "stability", "nope").partition("Known")[0]
    assert "did you mean 'leapfrog'" in error_of(capsys, "stability", "leapforg")


# --------------------------------------------------------- modified equation


def test_the_first_term_after_f_is_printed(capsys):
    # Kutta's rk4 has nine trees of five vertices; leading term of the tall one: (1/120 - 0) f'f'f'f'f, with sign -
    said = out_of(capsys, "modified", "rk4")
    assert said.startswith("rk4: u' = f + h^4/2880 f^(4)(f,f,f,f)")
    assert "- h^4/120 f'f'f'f'f + O(h^5)" in said
    assert out_of(capsys, "modified", "rk4", "--order", "4") == "rk4: u' = f + O(h^4)\n"
    assert "h^4" in out_of(capsys, "hamiltonian", "yoshida4")


# ------------------------------------------------------ what is not installed

WITHOUT = """
import importlib.abc, sys
absent = []
class Without(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Without())
from odenets.__main__ import main
for module, argv in CASES:
    absent[:] = [module]
    print(main(argv), file=sys.stderr)
"""


def test_what_is_missing_is_named(tmp_path):
    """In one process, in this order: what a command has loaded before it fails is there for those after it."""
    given = [
        ("yaml", ["study", "plan", "demo"]),
        ("matplotlib", ["stability", "rk4", "--out", "x.png"]),
        ("matplotlib", ["bench", "memory", "--quick"]),
        ("matplotlib", ["study", "run", "demo"]),
        ("markdown", ["study", "run", "demo"]),
    ]
    code = f"CASES = {given!r}\n{WITHOUT}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    said = done.stderr.splitlines()
    assert len(said) == 2 * len(given)
    for (module, _), line, status in zip(given, said[::2], said[1::2], strict=True):
        extra = "plot" if module == "matplotlib" else "benchmarks"
        assert line.startswith("odenets: error: ")
        assert module in line
        assert line.endswith(f": pip install 'odenets[{extra}]'")
        assert status == "2"
    assert list(tmp_path.iterdir()) == []
