"""CIFAR-10 from the official binary version (Krizhevsky 2009), checked on reading, without pickle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from ..common.errors import DataError
from .dataset import check_labels
from .in_memory import InMemoryDataset

FOLDER = "cifar-10-batches-bin"
NUM_CLASSES = 10
RECORDS = 10_000
#: One label byte, then the red, green and blue planes of 32x32 pixels, row by row.
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32

SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}

ADVICE = (
    "get cifar-10-binary.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html and unpack it in the "
    "folder given by --data-dir"
)


def decode(raw: bytes, source: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of any number N of records.

    Raises:
        DataError: ``raw`` is no whole number of records, or a label is not in 0..9.
    """
    if not raw or len(raw) % RECORD_BYTES:
        raise DataError(f"{source}: got {len(raw)} bytes, expected a multiple of {RECORD_BYTES}; {ADVICE}")
    # bytearray: torch warns about tensors over read-only memory.
    records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, RECORD_BYTES)
    labels = records[:, 0].long()
    check_labels(labels, NUM_CLASSES, source)
    return records[:, 1:].reshape(-1, *SHAPE), labels


def read(path: Path, sha256: str) -> bytes:
    """The bytes of one official file; DataError where it is missing, of another length or altered."""
    if not path.is_file():
        raise DataError(f"{path} is missing; {ADVICE}")
    raw = path.read_bytes()
    expected = RECORDS * RECORD_BYTES
    if len(raw) != expected:
        what = "is truncated" if len(raw) < expected else "is too long"
        raise DataError(f"{path} {what}: it has {len(raw)} bytes, expected {expected}; {ADVICE}")
    found = hashlib.sha256(raw).hexdigest()
    if found != sha256:
        raise DataError(f"{path} is altered: its SHA-256 is {found}, expected {sha256}; {ADVICE}")
    return raw


def load(data_dir: Path) -> InMemoryDataset:
    """CIFAR-10 from ``data_dir/cifar-10-batches-bin``: 50,000 training and 10,000 test images.

    Raises:
        DataError: naming the file that is missing, truncated or altered.
    """
    folder = Path(data_dir) / FOLDER
    *train, test = [decode(read(folder / name, sha256), name) for name, sha256 in SHA256.items()]
    return InMemoryDataset(
        name="cifar10",
        train_images=torch.cat([images for images, _ in train]),
        train_labels=torch.cat([labels for _, labels in train]),
        test_images=test[0],
        test_labels=test[1],
        num_classes=NUM_CLASSES,
        crop_padding=4,
        flip=True,
    )
