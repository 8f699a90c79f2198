"""The diagnosis of the finished runs of a study: `odenets study diagnose`."""

import json

import pytest
import torch

from odenets.benchmarks.data import sources as data
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import diagnose
from odenets.benchmarks.study.__main__ import main
from odenets.benchmarks.study.report import page


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a finished run of one epoch on noise, in that of its study."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=random)
    loaded = InMemoryDataset("toy", images, torch.arange(16) % 2, images, torch.arange(16) % 2, 2, 1, False)
    monkeypatch.setitem(data.SOURCES, "toy", data.Source(lambda folder: loaded, epochs=1))
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    out = tmp_path / "runs"
    study = tmp_path / "toy.yaml"
    study.write_text(
        "{name: toy, title: toy, data: toy, recipe: {batch_size: 8}, "
        "groups: [{schemes: [lm], depths: [8], seeds: [0]}]}"
    )
    assert main(["run", str(study), "--threads=1", f"--out={out}"]) == 0
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_num_threads(threads)
    (folder,) = [path for path in out.iterdir() if path.is_dir()]
    return folder


def test_finished_runs_are_diagnosed_once_and_linked_by_the_report(run, capsys, monkeypatch):
    command = ["diagnose", f"--out={run.parent}", "--samples=1"]
    assert main([*command, "--run", run.name]) == 0
    values = json.loads((run / "diagnosis.json").read_text())
    assert (values["run"], values["options"]["samples"]) == (run.name, 1)
    assert [block["kind"] for block in values["blocks"]] == ["starting", "transition", "transition"]
    assert "Suggestion" in (run / "diagnosis.txt").read_text()
    assert (run / "diagnosis.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert f"{run.name}: " in printed
    assert printed.splitlines()[-1] == f"report: {run.parent / 'report.html'}"
    links = [f"[{end}]({run.name}/diagnosis.{end})" for end in ("png", "json", "txt")]
    assert f"- {run.name}: {', '.join(links)}" in (run.parent / "report.md").read_text()
    monkeypatch.setattr(page, "write", lambda *_: "")  # the report is written already
    monkeypatch.setattr(diagnose, "diagnose_one", lambda *_: pytest.fail("diagnosed again"))
    assert main(command) == 0
    assert f"{run.name}: is diagnosed" in capsys.readouterr().out
    monkeypatch.setattr(diagnose, "diagnose_one", lambda *_: 1.0)
    assert main([*command, "--values=3"]) == 0
    assert f"{run.name}: 1.0 s" in capsys.readouterr().out


def test_what_cannot_be_diagnosed_is_one_line(run, capsys):
    command = ["diagnose", f"--out={run.parent}"]
    capsys.readouterr()

    def complaint(*options):
        assert main([*command, *options]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        return printed

    assert f"--run: got 'nothing', expected one of {run.name}" in complaint("--run=nothing")
    (run / "weights.pt").write_bytes(b"no weights")
    assert "does not hold this run's network" in complaint()
    (run / "weights.pt").unlink()
    assert f"{run.parent}: no finished run with weights.pt in it" in complaint()
    with pytest.raises(SystemExit, match="2"):
        main([*command, "--samples=0"])
    assert "--samples: got 0, expected 1 or more" in capsys.readouterr().err
