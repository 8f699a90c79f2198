"""CIFAR-10 and CIFAR-100 from their official binary versions (Krizhevsky 2009), checked on reading, without pickle."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..common.errors import DataError
from .dataset import check_labels
from .download import Archive
from .in_memory import InMemoryDataset

#: The red, green and blue planes of 32x32 pixels, row by row: what comes after the labels of a record.
SHAPE = (3, 32, 32)
SITE = "https://www.cs.toronto.edu/~kriz"


class File(NamedTuple):
    """A file of records, and what its bytes must be."""

    name: str
    records: int
    sha256: str


@dataclass(frozen=True)
class Cifar:
    """A data set of this family.

    Args:
        name: how the command line calls it.
        labels: each record begins with a byte for each of these, a label among so many classes. The last is learned.
        archive: what holds the files, in its folder.
        train, test: the files.
    """

    name: str
    labels: tuple[int, ...]
    archive: Archive
    train: tuple[File, ...]
    test: File

    @property
    def record_bytes(self) -> int:
        """Bytes of a record."""
        return len(self.labels) + math.prod(SHAPE)

    def decode(self, raw: bytes, source: str) -> tuple[Tensor, Tensor]:
        """Images (N, 3, 32, 32) uint8 and labels (N,) int64 of any number N of records.

        Raises:
            DataError: ``raw`` is no whole number of records, or a label is not among its classes.
        """
        if not raw or len(raw) % self.record_bytes:
            raise DataError(f"{source}: got {len(raw)} bytes, expected a multiple of {self.record_bytes}")
        # bytearray: torch warns about tensors over read-only memory.
        records = torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(-1, self.record_bytes)
        labels, images = records.split([len(self.labels), math.prod(SHAPE)], dim=1)
        for column, classes in zip(labels.long().T, self.labels, strict=True):
            check_labels(column, classes, source)
        return images.reshape(-1, *SHAPE), labels[:, -1].long()

    def read(self, data_dir: Path, file: File) -> bytes:
        """The bytes of one official file; DataError where it is missing, of another length or altered."""
        path = data_dir / self.archive.folder / file.name
        advice = f"odenets data get {self.name} --data-dir {data_dir}"
        if not path.is_file():
            there = f"delete {path.parent} and run " if path.parent.exists() else ""
            raise DataError(f"{path} is missing; {there}{advice}")
        raw = path.read_bytes()
        expected = file.records * self.record_bytes
        found = hashlib.sha256(raw).hexdigest()
        if found == file.sha256:
            return raw
        what = f"is altered: its SHA-256 is {found}, expected {file.sha256}"
        if len(raw) != expected:
            kind = "truncated" if len(raw) < expected else "too long"
            what = f"is {kind}: it has {len(raw)} bytes, expected {expected}"
        raise DataError(f"{path} {what}; delete {path.parent} and run {advice}")

    def load(self, data_dir: Path) -> InMemoryDataset:
        """The images in the folder of the archive, in ``data_dir``.

        Raises:
            DataError: naming the file that is missing, truncated or altered.
        """
        *train, test = [self.decode(self.read(data_dir, file), file.name) for file in (*self.train, self.test)]
        return InMemoryDataset(
            name=self.name,
            train_images=torch.cat([images for images, _ in train]),
            train_labels=torch.cat([labels for _, labels in train]),
            test_images=test[0],
            test_labels=test[1],
            num_classes=self.labels[-1],
            crop_padding=4,
            flip=True,
        )

    def get(self, data_dir: Path) -> str:
        """Fetches the archive into ``data_dir``, unless its files are there; returns where they are."""
        return f"{self.name} is whole in {self.archive.get(data_dir, self.load)}"


CIFAR10 = Cifar(
    name="cifar10",
    labels=(10,),
    archive=Archive(
        f"{SITE}/cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-10-batches-bin",
    ),
    train=(
        File("data_batch_1.bin", 10_000, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        File("data_batch_2.bin", 10_000, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        File("data_batch_3.bin", 10_000, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        File("data_batch_4.bin", 10_000, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        File("data_batch_5.bin", 10_000, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
    ),
    test=File("test_batch.bin", 10_000, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
)

# The sums of both archives are those that TensorFlow Datasets checks by, and those of the files those of Ruby's
# torchvision. Its sums for CIFAR-10 have been compared with the files, which we had; those for CIFAR-100 have not.
CIFAR100 = Cifar(
    name="cifar100",
    labels=(20, 100),
    archive=Archive(
        f"{SITE}/cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        "cifar-100-binary",
    ),
    train=(File("train.bin", 50_000, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),),
    test=File("test.bin", 10_000, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
)
