import os
import pathlib

import numpy as np
import pytest
import torch

from odenets.benchmarks.common.errors import DataError
from odenets.benchmarks.data import augmentation as augment, cifar, sources as data
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study.__main__ import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("ODENETS_DATA", ROOT / "data"))


def record(label, red, green, blue):
    return bytes([label]) + bytes([red]) * 1024 + bytes([green]) * 1024 + bytes([blue]) * 1024


def images(count, channels=1, size=8):
    return torch.arange(count * channels * size * size).remainder(251).to(torch.uint8).view(-1, channels, size, size)


def dataset(**changes):
    labels = torch.arange(6) % 3
    parts = {"train_images": images(6), "train_labels": labels, "test_images": images(6), "test_labels": labels}
    return InMemoryDataset(**({"name": "toy", "num_classes": 3, "crop_padding": 0, "flip": False} | parts | changes))


# ---------------------------------------------------------------- the CIFAR-10 format


def test_a_record_is_label_then_three_planes_row_by_row():
    rows = bytes([7]) + bytes(range(256)) * 12
    decoded, labels = cifar.CIFAR10.decode(record(9, 1, 2, 3) + rows, "x.bin")
    assert labels.tolist() == [9, 7]
    assert decoded.shape == (2, 3, 32, 32)
    assert decoded.dtype == torch.uint8
    assert decoded[0].float().mean((1, 2)).tolist() == [1, 2, 3]
    # Byte 1 + 1024 c + 32 i + j of a record is pixel (i, j) of plane c.
    assert decoded[1, 2, 5, 6] == rows[1 + 1024 * 2 + 32 * 5 + 6]


def test_label_out_of_range_names_file_and_record():
    raw = record(3, 0, 0, 0) * 4 + record(10, 0, 0, 0) + record(255, 0, 0, 0)
    with pytest.raises(DataError, match=r"x\.bin: label of record 4 is 10, expected 0\.\.9; 2 of 6 labels"):
        cifar.CIFAR10.decode(raw, "x.bin")


@pytest.mark.parametrize("raw", [b"", bytes(3072), bytes(3074)])
def test_no_whole_number_of_records(raw):
    with pytest.raises(DataError, match=f"x.bin: got {len(raw)} bytes, expected a multiple of 3073"):
        cifar.CIFAR10.decode(raw, "x.bin")


def test_a_record_of_cifar100_is_coarse_label_fine_label_then_three_planes():
    planes = bytes(range(256)) * 12
    decoded, labels = cifar.CIFAR100.decode(bytes([19, 99]) + planes + bytes([0, 7]) + planes[::-1], "x.bin")
    assert labels.tolist() == [99, 7]
    # Byte 2 + 1024 c + 32 i + j of a record is pixel (i, j) of plane c.
    assert decoded[0, 2, 5, 6] == planes[1024 * 2 + 32 * 5 + 6]
    assert decoded[1, 0, 0, 1] == 254


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ((20, 1), "label of record 1 is 20, expected 0..19"),
        ((1, 100), "label of record 1 is 100, expected 0..99"),
    ],
)
def test_either_label_of_cifar100_out_of_range_is_an_error(labels, complaint):
    raw = bytes(3074) + bytes(labels) + bytes(3072)
    with pytest.raises(DataError, match=f"x.bin: {complaint}; 1 of 2 labels"):
        cifar.CIFAR100.decode(raw, "x.bin")


def test_the_files_of_cifar100_are_as_the_official_page_says(tmp_path):
    """50,000 and 10,000 records of 3,074 bytes; 100 classes in 20 groups."""
    one = cifar.CIFAR100
    assert [file[:2] for file in (*one.train, one.test)] == [("train.bin", 50_000), ("test.bin", 10_000)]
    assert one.record_bytes == 3_074
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    with (folder / "train.bin").open("wb") as file:
        file.truncate(50_000 * 3_074)
    with pytest.raises(
        DataError, match=r"train\.bin is altered: its SHA-256 is .*; delete .* and run odenets data get "
    ):
        data.load("cifar100", tmp_path)


@pytest.mark.parametrize(
    ("size", "complaint"),
    [
        (None, "is missing; delete "),
        (30_729_999, "is truncated: it has 30729999 bytes, expected 30730000"),
        (30_730_001, "is too long: it has 30730001 bytes, expected 30730000"),
        (30_730_000, "is altered: its SHA-256 is "),
    ],
)
def test_every_damage_to_a_file_is_one_error_that_names_it(size, complaint, tmp_path, capsys):
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
    path.parent.mkdir()
    if size is not None:
        with path.open("wb") as file:
            file.truncate(size)
    out = tmp_path / "out"
    assert main(["run", "cifar10", "--data-dir", str(tmp_path), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} {complaint}")
    assert error.count("\n") == 1
    assert not out.exists()


def test_real_cifar10():
    if not (DATA / cifar.CIFAR10.archive.folder).is_dir():
        pytest.skip(f"no CIFAR-10 in {DATA}; set ODENETS_DATA to a folder with cifar-10-batches-bin")
    loaded = data.load("cifar10", DATA)
    assert loaded.train_images.shape == (50_000, 3, 32, 32)
    assert loaded.test_images.shape == (10_000, 3, 32, 32)
    assert loaded.train_labels.bincount().tolist() == [5_000] * 10
    assert loaded.test_labels.bincount().tolist() == [1_000] * 10
    mean, std = (part.flatten() / 255 for part in loaded.statistics)
    # The values everybody normalises with, published to four digits.
    torch.testing.assert_close(mean, torch.tensor([0.4914, 0.4822, 0.4465]), atol=5e-5, rtol=0)
    torch.testing.assert_close(std, torch.tensor([0.2470, 0.2435, 0.2616]), atol=5e-5, rtol=0)


# ------------------------------------------------------------------ the data set value


def test_digits_are_split_fixed_and_stratified():
    loaded = data.load("digits", "nowhere")
    assert loaded.train_images.shape == (1_297, 1, 8, 8)
    assert loaded.test_images.shape == (500, 1, 8, 8)
    assert loaded.train_images.max() == 16
    share = loaded.test_labels.bincount() / (loaded.test_labels.bincount() + loaded.train_labels.bincount())
    torch.testing.assert_close(share, torch.full((10,), 500 / 1797), atol=0.005, rtol=0)
    again = data.load("digits", "nowhere")
    assert torch.equal(loaded.train_images, again.train_images)
    assert torch.equal(loaded.test_labels, again.test_labels)
    train, test = ({image.numpy().tobytes() for image in part} for part in (loaded.train_images, loaded.test_images))
    assert not train & test


def test_statistics_and_normalisation_against_numpy():
    random = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (6, 2, 8, 8), dtype=torch.uint8, generator=random)
    loaded = dataset(train_images=pixels, test_images=pixels)
    values = pixels.numpy().astype(np.float64)
    mean, std = (part.flatten().numpy() for part in loaded.statistics)
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-6)
    normalised = loaded.normalised(pixels)
    np.testing.assert_allclose(normalised.mean((0, 2, 3)), [0, 0], atol=1e-6)
    np.testing.assert_allclose(normalised.std((0, 2, 3), correction=0), [1, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"train_labels": torch.tensor([0, 1, 2, 3, 0, -1])},
            "toy training set: label of record 3 is 3, expected 0..2",
        ),
        ({"test_labels": torch.tensor([0, 1, 2, 0, 1, -1])}, "toy test set: label of record 5 is -1, expected 0..2"),
        ({"test_labels": torch.arange(5) % 3}, r"toy test set: got labels \(5,\)"),
        ({"train_images": images(6).float()}, "toy training set: got images .* torch.float32, expected"),
        ({"train_images": images(6)[:0], "train_labels": torch.arange(0)}, "toy training set: got images"),
        ({"test_images": images(6, size=4)}, r"training images are \(1, 8, 8\), test images \(1, 4, 4\)"),
    ],
)
def test_data_that_do_not_fit_together(changes, complaint):
    with pytest.raises(DataError, match=complaint):
        dataset(**changes)


def test_unknown_data_set_lists_the_known():
    with pytest.raises(
        DataError, match="unknown data set 'mnist', expected one of digits, cifar10, cifar100, imagenet"
    ):
        data.load("mnist", "data")


# ------------------------------------------------------------------------ augmentation


def slow_crop_and_flip(batch, corners, flips, padding):
    result = torch.zeros_like(batch)
    count, channels, height, width = batch.shape
    for b in range(count):
        top, left = (int(corner) - padding for corner in corners[b])
        for c in range(channels):
            for i in range(height):
                for j in range(width):
                    row, column = i + top, (width - 1 - j if flips[b] else j) + left
                    if 0 <= row < height and 0 <= column < width:
                        result[b, c, i, j] = batch[b, c, row, column]
    return result


@pytest.mark.parametrize(("padding", "size"), [(0, (5, 5)), (2, (6, 4)), (4, (5, 7))])
def test_crop_and_flip_against_loops_over_every_pixel(padding, size):
    random = torch.Generator().manual_seed(padding)
    batch = torch.randn(12, 3, *size, generator=random)
    corners = torch.randint(0, 2 * padding + 1, (12, 2), generator=random)
    flips = torch.rand(12, generator=random) < 0.5
    assert flips.any()
    assert not flips.all()
    expected = slow_crop_and_flip(batch, corners, flips, padding)
    assert torch.equal(augment.crop_and_flip(batch, corners, flips, padding), expected)


def test_a_batch_is_the_augmented_normalised_images_with_their_labels():
    toy = dataset(crop_padding=2, flip=True)
    plan = toy.draw(augment.generator(3, 0))
    got, labels = toy.batch(plan, slice(1, 4))
    chosen = plan.order[1:4]
    assert torch.equal(labels, toy.train_labels[chosen])
    normalised = toy.normalised(toy.train_images[chosen])
    assert torch.equal(got, slow_crop_and_flip(normalised, plan.corners[1:4], plan.flips[1:4], 2))


def test_without_augmentation_a_batch_is_the_normalised_images():
    toy = dataset()
    plan = toy.draw(augment.generator(3, 0))
    got, _ = toy.batch(plan, slice(0, 6))
    assert torch.equal(got, toy.normalised(toy.train_images[plan.order]))


def test_a_plan_uses_every_image_once_and_every_crop_and_flip():
    labels = torch.zeros(4_000, dtype=torch.int64)
    toy = dataset(train_images=images(4_000), train_labels=labels, crop_padding=4, flip=True)
    plan = toy.draw(augment.generator(0, 0))
    assert torch.equal(plan.order.sort().values, torch.arange(4_000))
    # Each of the 81 crops is expected 49 times, with a deviation of 7; half of 4,000 with one of 32.
    crops = (plan.corners[:, 0] * 9 + plan.corners[:, 1]).bincount(minlength=81)
    assert 49 - 35 < crops.min() <= crops.max() < 49 + 35
    assert abs(int(plan.flips.sum()) - 2_000) < 160


def test_plans_depend_on_seed_and_epoch_only():
    toy = dataset(train_images=images(100), train_labels=torch.zeros(100, dtype=torch.int64))
    torch.manual_seed(5)
    orders = {
        (seed, epoch): tuple(toy.draw(augment.generator(seed, epoch)).order.tolist())
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(set(orders.values())) == 9
    torch.manual_seed(6)
    assert tuple(toy.draw(augment.generator(1, 2)).order.tolist()) == orders[1, 2]
