"""Images in files: what of them a batch holds, that it depends on the plan alone, and what is wrong with a folder."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from odenets.benchmarks.common.errors import DataError
from odenets.benchmarks.data import augmentation, imagenet
from odenets.benchmarks.data.ahead import Ahead
from odenets.benchmarks.data.dataset import Dataset
from odenets.benchmarks.data.image_folder import ImageFolder, Part, centre_crop, crop_box, random_crop, read
from odenets.benchmarks.study import costs, training
from odenets.benchmarks.study.config import RunConfig

CLASSES = ("n01440764", "n01443537", "n01484850")
#: Of each class in either part: mode, suffix.
FILES = [
    ("RGB", "JPEG"),
    ("L", "JPEG"),
    ("CMYK", "JPEG"),
    ("RGB", "png"),
    ("P", "PNG"),
    ("RGBA", "png"),
    ("RGB", "jpg"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """21 training and 21 test images of noise, of several sizes, in the folders of ImageNet."""
    random, root = np.random.default_rng(0), tmp_path_factory.mktemp("data")
    for name, part in itertools.product(CLASSES, ("train", "val")):
        (root / "imagenet" / part / name).mkdir(parents=True)
        for i, (mode, suffix) in enumerate(FILES):
            pixels = random.integers(0, 256, (*random.integers(12, 40, 2), 3), dtype=np.uint8)
            image = Image.fromarray(pixels).convert(mode)
            image.save(root / "imagenet" / part / name / f"image_{i}.{suffix}", quality=95)
    return root


@pytest.fixture
def loaded(folder):
    return small(imagenet.load(folder))


def small(data, **changes):
    return ImageFolder(data.train, data.test, data.num_classes, size=16, **changes)


def batches(data, size, epoch=0):
    drawn = data.draw(augmentation.generator(3, epoch))
    return [data.batch(drawn, slice(start, start + size)) for start in range(0, data.train_size, size)]


def joined(parts):
    return [torch.cat(part) for part in zip(*parts, strict=True)]


# ------------------------------------------------------------------------------ one image


def test_the_box_of_a_crop_by_hand():
    """Half way: an area of 0.54 in 400 x 300 is 64,800 = 254.56^2, of the ratio sqrt(3/4 4/3) = 1."""
    assert crop_box((400, 300), [(0.5, 0.5)], (0.5, 0.25)) == (73, 11, 73 + 255, 11 + 255)
    # All of the image at 4/3 fits, at 3/4 it does not: sqrt(120,000 4/3) = 400 rows. The second try is taken then.
    assert crop_box((400, 300), [(1, 1)], (0.9, 0.9)) == (0, 0, 400, 300)
    assert crop_box((400, 300), [(1, 0), (1, 1)], (0.9, 0.9)) == (0, 0, 400, 300)
    assert crop_box((400, 300), [(1, 0), (0, 0.5)], (0, 0)) == (0, 0, 98, 98)  # 0.08 * 120,000 = 97.98^2


@pytest.mark.parametrize(
    ("size", "box"), [((90, 30), (25, 0, 65, 30)), ((30, 90), (0, 25, 30, 65)), ((300, 300), (0, 0, 300, 300))]
)
def test_where_no_try_fits_the_largest_crop_in_the_middle_is_taken(size, box):
    """Of a ratio of at most 4/3: 40 of 90 columns beside 30 rows."""
    assert crop_box(size, [(1, 0), (1, 1)], (0.9, 0.9)) == box


def test_areas_are_uniform_and_ratios_log_uniform():
    """Tries that fit nearly always do not change the distributions: 4,000 crops of up to half of a square."""
    random = np.random.default_rng(0)
    tries, places = random.uniform(size=(4_000, 1, 2)) * [0.4, 1], random.uniform(size=(4_000, 2))
    boxes = np.array([crop_box((2_000, 2_000), *one) for one in zip(tries, places, strict=True)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert stats.kstest(width * height / 4e6, stats.uniform(0.08, 0.92 * 0.4).cdf).pvalue > 0.01
    logs = np.log(width / height)
    assert stats.kstest(logs, stats.uniform(math.log(3 / 4), math.log(16 / 9)).cdf).pvalue > 0.01
    for edge, room in ((boxes[:, 0], 2_000 - width), (boxes[:, 1], 2_000 - height)):
        assert stats.kstest(edge / room, "uniform").pvalue > 0.01


def test_a_training_image_is_its_crop_resized_and_mirrored(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    tries, place = torch.tensor([[0.3, 0.8]]), torch.tensor([0.7, 0.2])
    left, upper, right, lower = crop_box((40, 30), tries.tolist(), place.tolist())
    cut = Image.fromarray(pixels[upper:lower, left:right])
    expected = np.asarray(cut.resize((8, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(random_crop(str(path), 8, tries, place, False), expected)
    np.testing.assert_array_equal(random_crop(str(path), 8, tries, place, True), expected[:, ::-1])


def test_a_test_image_is_the_middle_224_of_256(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(centre_crop(str(path), 224), pixels[16:240, 38:262])
    Image.fromarray(np.full((30, 77, 3), (10, 20, 30), dtype=np.uint8)).save(path)
    assert centre_crop(str(path), 224).flatten(0, 1).unique(dim=0).tolist() == [[10, 20, 30]]


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "1", "LA", "YCbCr", "RGB"])
def test_whatever_is_stored_is_read_as_rgb(mode, tmp_path):
    path = tmp_path / ("x.jpg" if mode in ("CMYK", "YCbCr") else "x.png")
    Image.new("RGB", (9, 7), (255, 255, 255)).convert(mode).save(path)
    image = read(str(path))
    assert (image.mode, image.size, image.getpixel((3, 3))) == ("RGB", (9, 7), (255, 255, 255))


def truncated(path):
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:900])


def wide(path):
    Image.new("I;16", (8, 8), 3_000).save(path)


@pytest.mark.parametrize(
    ("suffix", "damage", "complaint"),
    [
        ("JPEG", truncated, r"x\.JPEG cannot be decoded \(.*truncated.*\); get the file afresh, or delete it"),
        ("png", truncated, r"x\.png cannot be decoded \("),
        ("png", lambda path: path.write_text("no image"), r"x\.png cannot be decoded \(cannot identify image file"),
        ("png", wide, r"x\.png has pixels of type I;16, expected 8 bits a channel; convert the file"),
        ("png", lambda path: None, r"x\.png cannot be decoded \(.*No such file"),
    ],
)
def test_a_file_that_is_no_image_is_named(suffix, damage, complaint, tmp_path):
    damage(path := tmp_path / f"x.{suffix}")
    part = Part([str(path)], torch.zeros(1, dtype=torch.int64))
    with pytest.raises(DataError, match=complaint):
        next(ImageFolder(part, part, 1).test_batches(1))


# -------------------------------------------------------------------------------- batches


def test_a_batch_is_the_images_and_labels_of_the_plan(loaded):
    assert isinstance(loaded, Dataset)
    drawn = loaded.draw(augmentation.generator(0, 0))
    assert sorted(drawn.order.tolist()) == list(range(21))
    images, labels = loaded.batch(drawn, slice(4, 9))
    assert (images.shape, images.dtype) == ((5, 3, 16, 16), torch.float32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for i, image, label in zip(range(4, 9), images, labels, strict=True):
        path = loaded.train.paths[drawn.order[i]]
        assert f"/train/{CLASSES[label]}/" in path
        pixels = random_crop(path, 16, drawn.tries[i], drawn.places[i], drawn.flips[i]).numpy()
        np.testing.assert_allclose(image.permute(1, 2, 0), (pixels / 255 - mean) / std, atol=1e-5)


def test_test_batches_are_all_test_images_in_order(loaded):
    images, labels = joined(loaded.test_batches(4))
    assert labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for image, path in zip(images, loaded.test.paths, strict=True):
        np.testing.assert_allclose(
            image.permute(1, 2, 0), (centre_crop(path, 16).numpy() / 255 - mean) / std, atol=1e-5
        )
    assert [len(labels) for _, labels in loaded.test_batches(8)] == [8, 8, 5]


def test_batches_depend_on_the_plan_and_not_on_threads_parts_or_what_came_before(loaded):
    images, labels = joined(batches(loaded, 8))
    for other in (small(loaded, threads=1), small(loaded, threads=5)):
        next(other.test_batches(2))
        assert torch.equal(joined(batches(other, 8))[0], images)
    # Two processes that share each batch of 8; one that begins in the middle of the epoch, after another one.
    drawn = loaded.draw(augmentation.generator(3, 0))
    for share in range(2):
        process = small(loaded)
        for start in range(0, 16, 8):
            part = slice(start + 4 * share, start + 4 * share + 4)
            assert torch.equal(process.batch(drawn, part)[0], images[part])
    batches(loaded, 8, epoch=1)
    got, found = loaded.batch(drawn, slice(16, 24))
    assert torch.equal(got, images[16:])
    assert torch.equal(found, labels[16:])


def test_a_run_resumes_with_the_same_bits(loaded, tmp_path):
    run = RunConfig("imagenet", 8, "euler", seed=3, epochs=2, batch_size=8)

    def stop(state):
        if (state.epoch, state.step) == (1, 1):
            raise KeyboardInterrupt

    (tmp_path / "whole").mkdir()
    whole = training.train(run, loaded, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        training.train(run, small(loaded), tmp_path, checkpoint_every=1, watch=stop)
    resumed = training.train(run, small(loaded), tmp_path)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
    assert [record["test_error"] for record in resumed.history] == [record["test_error"] for record in whole.history]


def test_what_a_step_costs_is_measured(loaded, monkeypatch):
    monkeypatch.setattr(costs, "TIMED", 1)
    seconds, test = costs.step_times(RunConfig("imagenet", 8, "euler", seed=3, epochs=2, batch_size=8), loaded)
    assert len(seconds) == 1
    assert min(*seconds, test) > 0


# ---------------------------------------------------------------------------------- ahead


def test_each_result_is_computed_once_and_those_to_come_beforehand():
    seen, ahead = [], Ahead(threads=1)

    def square(i):
        seen.append(i)
        return i * i

    # A process that takes the second half of each batch of 4: after two of them it is known which will follow.
    assert ahead.take("a", square, range(2, 4), 30) == [4, 9]
    assert ahead.take("a", square, range(6, 8), 30) == [36, 49]
    for start in range(10, 30, 4):
        assert ahead.take("a", square, range(start, start + 2), 30) == [start**2, (start + 1) ** 2]
    assert max(seen) < 30
    assert len(seen) == len(set(seen))
    guessed = [i for i in seen if i % 4 < 2]
    assert guessed in ([], [4], [4, 5])  # before the second batch was asked for
    assert ahead.take("b", lambda i: -i, range(2), 2) == [0, -1]


def test_what_goes_wrong_ahead_is_raised_when_it_is_asked_for():
    ahead = Ahead()
    assert ahead.take("a", lambda i: 1 / (i - 3), range(2), 9) == [-1 / 3, -1 / 2]
    with pytest.raises(ZeroDivisionError):
        ahead.take("a", lambda i: 1 / (i - 3), range(2, 4), 9)


# ------------------------------------------------------------------------------ the folder


def test_classes_are_sorted_by_name_and_hidden_files_are_no_images(folder, tmp_path):
    (tmp_path / "imagenet").symlink_to(folder / "imagenet")
    found = imagenet.load(tmp_path)
    assert (found.train_size, found.test_size, found.num_classes, found.in_channels) == (21, 21, 3, 3)
    assert found.train.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert [path.rpartition("/")[2] for path in found.train.paths[:7]] == sorted(
        f"image_{i}.{s}" for i, (_, s) in enumerate(FILES)
    )
    assert found.to(torch.device("meta")).device.type == "meta"
    assert imagenet.get(tmp_path) == "21 training and 21 test images of 3 classes are there"


def laid(root, *files):
    for file in files:
        (root / "imagenet" / file).parent.mkdir(parents=True, exist_ok=True)
        (root / "imagenet" / file).touch()


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ([], r"train is missing; its images are given to who registers at https://image-net\.org"),
        (["train/x.JPEG"], "train has no folders of classes; its"),
        (["train/a/x.JPEG"], "val is missing; its"),
        (["train/a/x.JPEG", "val/x.JPEG"], "val has no folders of classes; its"),
        (
            ["train/a/x.JPEG", "train/b/x.JPEG", "val/a/x.JPEG", "val/c/x.JPEG"],
            "val and .*train have not the same classes: b is in one of them alone, as are 1 others",
        ),
        (["train/a/.hidden", "val/a/x.JPEG"], "train/a has no images, expected some"),
        (["train/a/x.webp", "val/a/x.JPEG"], r"x\.webp: expected images \.jpeg, \.jpg, \.png alone; move it away"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be(files, complaint, tmp_path):
    laid(tmp_path, *files)
    with pytest.raises(DataError, match=complaint):
        imagenet.load(tmp_path)
