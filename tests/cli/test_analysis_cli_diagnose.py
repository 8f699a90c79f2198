"""odenets diagnose: what is built, read and written; the diagnosis itself has tests of its own."""

import json

import numpy as np
import pytest
import torch

from odenets import analysis
from odenets.analysis.cli import main
from odenets.analysis.cli.diagnosis import build, read_input


@pytest.fixture
def files(tmp_path, monkeypatch):
    """In the working folder: the weights of a small network, and batches."""
    monkeypatch.chdir(tmp_path)
    torch.save(build("torch.nn:Linear", ["in_features=2", "out_features=2"]).state_dict(), "weights.pt")
    np.save("x.npy", np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32))
    torch.save(torch.ones(2, 3, 8, 8), "x.pt")
    return tmp_path


CIFAR = ["odenets.models:cifar_resnet", "--args", "depth=14", "scheme=lm"]


def test_diagnose(capsys, files):
    pytest.importorskip("scipy")
    trained = build("odenets.models:cifar_resnet", ["depth=14", "scheme=lm"])
    torch.save(trained.state_dict(), "trained.pt")
    options = {"samples": 1, "dtype": torch.float32}
    wanted = json.loads(json.dumps(analysis.diagnose(trained, read_input(files / "x.npy"), **options).as_dict()))
    argv = ["--weights", "trained.pt", "--input", "x.npy", "--samples", "1", "--dtype", "float32"]
    argv += ["--out", "x.png", "--json", "x.json"]
    assert main(["diagnose", *CIFAR, *argv]) == 0
    found = capsys.readouterr().out.rstrip("\n").split("\n")
    assert found[-3::2] == ["Wrote x.png", "Wrote x.json"]
    assert (files / "x.png").stat().st_size > 10_000
    told = json.loads((files / "x.json").read_text())
    assert told["settings"]["dtype"] == "float32"
    assert told["blocks"] == wanted["blocks"]  # the weights are the file's, not new ones
    assert any(block["coefficients"] for block in told["blocks"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["odenets.models", "--input", "x.npy"], "expected MODULE:FACTORY"),
        (["odenets.models:nothing", "--input", "x.npy"], "expected a name that can be imported"),
        (["no.such:thing", "--input", "x.npy"], "expected a name that can be imported"),
        (["math:sqrt", "--args", "x=1", "--input", "x.npy"], "expected what it takes"),
        (["builtins:dict", "--input", "x.npy"], "got a dict, expected a factory of torch.nn.Module"),
        (["odenets.models:cifar_resnet", "--args", "depth", "--input", "x.npy"], "expected NAME=VALUE"),
        ([*CIFAR, "breadth=x", "--input", "x.npy"], "expected what it takes"),
        (["odenets.models:cifar_resnet", "--args", "depth=15", "--input", "x.npy"], "15"),
        ([*CIFAR, "--input", "missing.npy"], "does not exist"),
        ([*CIFAR, "--input", "x.txt"], "ending in .npy or .pt"),
        ([*CIFAR, "--input", "damaged.npy"], "cannot be read as an array"),
        ([*CIFAR, "--input", "damaged.pt"], "cannot be read as a tensor"),
        ([*CIFAR, "--input", "objects.npy"], "cannot be read as an array"),
        ([*CIFAR, "--input", "nan.npy"], "not finite"),
        ([*CIFAR, "--input", "weights.pt"], "expected a tensor of real numbers"),
        ([*CIFAR, "--input", "x.pt", "--weights", "missing.pt"], "does not exist"),
        ([*CIFAR, "--input", "x.pt", "--weights", "damaged.pt"], "cannot be read as a state_dict"),
        ([*CIFAR, "--input", "x.pt", "--weights", "module.pt"], "cannot be read as a state_dict"),
        ([*CIFAR, "--input", "x.pt", "--weights", "weights.pt"], "do not fit"),
        ([*CIFAR, "--input", "x.pt", "--weights", "x.pt"], "do not fit"),
        ([*CIFAR, "--input", "x.pt", "--out", "x.gif"], ".png, .svg or .pdf"),
        (["torch.nn:Linear", "--args", "in_features=2", "out_features=2", "--input", "x.pt"], "ODENet"),
    ],
)
def test_diagnose_of_bad_files(capsys, files, argv, message):
    pytest.importorskip("scipy")
    whole = (files / "weights.pt").read_bytes()
    (files / "damaged.pt").write_bytes(whole[: len(whole) // 2])
    (files / "damaged.npy").write_bytes((files / "x.npy").read_bytes()[:100])
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("nan.npy", np.full((1, 3, 8, 8), np.nan))
    torch.save(torch.nn.Linear(2, 2), "module.pt")  # a pickled module, in which code could run
    assert main(["diagnose", *argv]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
