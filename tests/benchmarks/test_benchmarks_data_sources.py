"""Data sets of other packages, found by entry point."""

import pytest

from odenets.__main__ import main
from odenets.benchmarks.common.errors import DataError
from odenets.benchmarks.data import sources
from odenets.benchmarks.data.dataset import Dataset
from odenets.benchmarks.study import study_file, training

MODULE = """
import torch
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.data.sources import Source

def load(folder):
    images = torch.arange(24 * 64).remainder(251).to(torch.uint8).view(24, 1, 8, 8)
    labels = torch.arange(24) % 2
    return InMemoryDataset("noise", images, labels, images[:6], labels[:6], 2, crop_padding=1, flip=False)

NOISE = Source(load, epochs=1, about="24 images of noise", get=lambda folder: f"made in {folder}")
NUMBER = 3
WRONG = Source(lambda folder: load(folder).train_images, epochs=1)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a distribution of that name be installed, with these data sets."""

    def installed(distribution, module=MODULE, **entries):
        folder = tmp_path / distribution
        (folder / f"{distribution}-1.0.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        (folder / f"{distribution}-1.0.dist-info" / "METADATA").write_text(metadata)
        lines = [f"{name} = {distribution}_data:{what}" for name, what in entries.items()]
        (folder / f"{distribution}-1.0.dist-info" / "entry_points.txt").write_text(
            "\n".join([f"[{sources.GROUP}]", *lines])
        )
        (folder / f"{distribution}_data.py").write_text(module)
        monkeypatch.syspath_prepend(folder)

    return installed


def test_a_study_trains_on_the_data_set_of_another_package(install, tmp_path, capsys):
    install("noisy", noise="NOISE")
    study = tmp_path / "noise.yaml"
    study.write_text(
        "{name: noise, title: T, data: noise, recipe: {batch_size: 8}, "
        "groups: [{schemes: [euler], depths: [8], seeds: [0]}]}"
    )
    (run,) = study_file.load(str(study)).runs
    (record,) = training.train(run, sources.load(run.data, tmp_path), tmp_path).history
    assert record["train_loss"] > 0
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["digits", "cifar10", "cifar100", "imagenet", "noise"]
    assert lines[-1].endswith(" 24 images of noise")
    assert main(["data", "get", "noise", "--data-dir", "here"]) == 0
    assert capsys.readouterr().out == "made in here\n"


def test_a_broken_package_is_an_error_of_its_data_set_alone(install, capsys):
    install("broken", module="import module_that_is_not_there", gone="GONE")
    assert sources.source("digits").epochs == 20
    with pytest.raises(DataError, match=r"'gone' of broken cannot be imported \(ModuleNotFoundError: No module"):
        sources.source("gone")
    assert main(["data", "list"]) == 0
    printed = capsys.readouterr().out
    assert "digits     1,797 grey images" in printed
    assert "gone       the data set 'gone' of broken cannot be imported" in printed


def test_what_is_no_source_and_what_loads_no_data_set(install, tmp_path):
    install("odd", number="NUMBER", wrong="WRONG", missing="MISSING")
    with pytest.raises(DataError, match=r"'number' of odd is 3, expected odenets\.benchmarks\.data\.sources\.Source"):
        sources.source("number")
    with pytest.raises(DataError, match=r"'missing' of odd cannot be imported \(AttributeError"):
        sources.source("missing")
    with pytest.raises(DataError, match=r"the source of 'wrong' loads Tensor, which is no odenets\.benchmarks\."):
        sources.load("wrong", tmp_path)


@pytest.mark.parametrize("name", ["digits", "twice"])
def test_two_of_one_name_are_an_error(install, name):
    install("first", **{name: "NOISE"})
    install("second", **({name: "NOISE"} if name == "twice" else {}))
    owners = "odenets and one of first" if name == "digits" else "(first|second) and one of (first|second)"
    with pytest.raises(DataError, match=f"two data sets are called '{name}', one of {owners}; uninstall one of these"):
        sources.source(name)


def test_ours_are_data_sets():
    assert isinstance(sources.load("digits", "nowhere"), Dataset)
    assert not isinstance(object(), Dataset)
