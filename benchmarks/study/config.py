"""The configuration of one run: everything its result depends on, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..common.errors import ConfigError

PRECISIONS = ("fp32", "bf16")
#: What differs between the runs of one grid; the rest is its recipe.
AXES = ("depth", "scheme", "seed")


@dataclass(frozen=True)
class RunConfig:
    """One run. The defaults are the paper's recipe (Lu et al. 2018, section 3).

    The device, the number of threads and the checkpoint interval are not here: they change how
    long a run takes and its rounding, not what is asked of it.

    Args:
        data: name of the data set.
        depth: layers of the network, as cifar_resnet counts them.
        scheme: name in odenets.schemes.
        seed: of the weights, the order of the data and the augmentation; 0 or more.
        epochs: the learning rate falls by 10 after 1/2 and again after 3/4 of them.
        precision: "fp32", or "bf16" for autocast to bfloat16.
        channels_last: memory format of images and convolutions.
        per_channel: learned coefficients per channel instead of one a layer.

    Raises:
        ConfigError: naming the option that cannot be.
    """

    data: str
    depth: int
    scheme: str
    seed: int
    epochs: int
    batch_size: int = 128
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    precision: str = "fp32"
    channels_last: bool = False
    per_channel: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and type(value) is int:
                # 1 and 1.0 must have the same hash.
                object.__setattr__(self, field.name, float(value))
            elif type(value).__name__ != field.type:
                raise ConfigError(f"{field.name}: got {value!r}, expected a value of type {field.type}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        checks = {
            "depth": (self.depth >= 1, "1 or more"),
            "seed": (0 <= self.seed < 2**63, "0 or more and below 2^63"),
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "lr": (0 < self.lr < math.inf, "a finite number above 0"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "a finite number, 0 or more"),
            "precision": (self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected {expected}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with exactly these values, as :meth:`to_dict` gave them.

        Raises:
            ConfigError: a name too many or too few, or a value that cannot be.
        """
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise ConfigError(f"configuration differs from the expected names in {sorted(set(values) ^ names)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """All values as JSON can hold them."""
        return asdict(self)

    @property
    def milestones(self) -> tuple[int, int]:
        """Epochs after which the learning rate is divided by 10: the paper's 80 and 120 of 160, rounded up.

        Rounded up, so that a run of a single epoch has its first step at the full rate.
        """
        return -(-self.epochs // 2), -(-3 * self.epochs // 4)

    @property
    def recipe(self) -> dict[str, Any]:
        """What all runs of a grid share; only runs of equal recipes are compared."""
        return {name: value for name, value in self.to_dict().items() if name not in AXES}

    @property
    def recipe_name(self) -> str:
        """Such as ``digits-15epochs-1f0c92ab``: unique for the recipe."""
        return f"{self.data}-{self.epochs}epochs-{short_hash(self.recipe)}"

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits that every value enters."""
        return short_hash(self.to_dict())

    @property
    def name(self) -> str:
        """Of the run's directory, such as ``cifar10-lm-20-s0-1f0c92ab``."""
        return f"{self.data}-{self.scheme}-{self.depth}-s{self.seed}-{self.hash}"


def short_hash(values: Mapping[str, Any]) -> str:
    """First eight hexadecimal digits of the SHA-256 of the values as sorted JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()[:8]
