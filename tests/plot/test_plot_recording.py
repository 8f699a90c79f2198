"""The learned coefficients that a benchmark's result tells of at every epoch."""

import json

import pytest
import torch

from odenets.analysis import learned_coefficients, plot
from odenets.benchmarks.common.errors import ResultError
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import result, training
from odenets.benchmarks.study.config import RunConfig

RUN = RunConfig(data="toy", depth=14, scheme="lm", seed=3, epochs=3, batch_size=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run on noise, the coefficients a watcher saw after each epoch, and its result."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8, generator=random)
    labels = (images.float().mean((1, 2, 3)) > 127).long()
    data = InMemoryDataset("toy", images, labels, images[:5], labels[:5], num_classes=2, crop_padding=1, flip=True)
    seen = []

    def watch(state):
        if len(state.history) > len(seen):
            seen.append([p.item() for name, p in state.model.named_parameters() if ".coefficients." in name])

    state = training.train(RUN, data, tmp_path_factory.mktemp("run"), watch=watch)
    return state, seen, result.summarise(RUN, state, "python")


def test_every_epoch_tells_the_coefficients_as_they_were(trained):
    state, seen, values = trained
    told = [epoch["coefficients"] for epoch in values["epochs"]]
    assert told == seen
    assert len(told) == 3
    assert told[0] != told[1] != told[2]
    assert told[-1] == [record.value for record in learned_coefficients(state.model)]


def test_the_result_is_read_and_drawn(trained, tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(trained[2]))
    values = result.read(path).values
    epochs = [epoch["coefficients"] for epoch in values["epochs"]]
    figure = plot.coefficients_over_training(values["learned_coefficients"], epochs)
    first = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 3)
    assert list(first.get_ydata()) == [row[0] for row in trained[1]]


def test_a_result_from_before_the_recording_is_read(trained, tmp_path):
    values = json.loads(json.dumps(trained[2]))
    for epoch in values["epochs"]:
        del epoch["coefficients"]
    path = tmp_path / "result.json"
    path.write_text(json.dumps(values))
    assert result.read(path).config == RUN


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ([0.1], "expected a list of 3"),
        ("abc", "expected a list of 3"),
        (None, "expected a list"),
        ([0, 0, 0], "its last epoch says"),
    ],
)
def test_coefficients_that_do_not_fit_are_refused(trained, tmp_path, row, match):
    values = json.loads(json.dumps(trained[2]))
    values["epochs"][-1]["coefficients"] = row
    path = tmp_path / "result.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ResultError, match=match):
        result.read(path)
