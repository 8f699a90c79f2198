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
SCHEDULES = ("steps", "one_cycle")
TRAINED = "trained"
#: The number that weight decay pulls learnable coefficients to. 1 is what the authors' code does: its parameter is
#: 1 - k, decayed like any weight, so each step adds weight_decay * (k - 1) to the gradient of k.
DECAYED = {"decayed_to_0": 0.0, "decayed_to_1": 1.0}
#: What is compared within one report; the rest is the recipe, which all that is compared must share.
AXES = ("network", "depth", "scheme", "seed", "coefficients", "per_channel", "survival", "gradient")
#: Fields that came after the first results. At its default such a field is left out of what is written and hashed:
#: results and folders from before keep their names, and are read as the runs they were.
LATER = ("schedule", "label_smoothing", "coefficients", "network", "survival", "gradient", "ema")


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
        epochs: passes over the training images.
        lr: learning rate at the start of "steps", at the peak of "one_cycle".
        precision: "fp32", or "bf16" for autocast to bfloat16.
        channels_last: memory format of images and convolutions.
        per_channel: learned coefficients per channel instead of one a layer.
        schedule: of the learning rate, see schedule.py: "steps" is the paper's.
        label_smoothing: part of a label's weight that is shared by all classes, in training.
        coefficients: "trained" without decay, "decayed_to_0" or "decayed_to_1" (trained, and decayed towards that
            number with ``weight_decay``), or a number that all coefficients of the scheme are fixed at.
        network: name in network.NETWORKS.
        survival: p_L of stochastic depth, the probability that the last layer is kept; 1 for none.
        gradient: how gradients are computed, a name that odenets.set_gradient takes.
        ema: decay a step of the moving average of weights that is tested and kept; 0 for the weights themselves.

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
    schedule: str = "steps"
    label_smoothing: float = 0.0
    coefficients: float | str = TRAINED
    network: str = "cifar_resnet"
    survival: float = 1.0
    gradient: str = "direct"
    ema: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, kinds = getattr(self, field.name), str(field.type).split(" | ")
            if type(value) is int and "float" in kinds:
                # 1 and 1.0 must have the same hash.
                object.__setattr__(self, field.name, float(value))
            elif type(value).__name__ not in kinds:
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
            "schedule": (self.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "at least 0 and below 1"),
            "coefficients": (self._treatment_exists(), f"a finite number or one of {', '.join((TRAINED, *DECAYED))}"),
            "survival": (0 < self.survival <= 1, "above 0 and at most 1"),
            "ema": (0 <= self.ema < 1, "at least 0 and below 1"),
        }
        for name, (good, expected) in checks.items():
            if not good:
                raise ConfigError(f"{name}: got {getattr(self, name)!r}, expected {expected}")

    def _treatment_exists(self) -> bool:
        if isinstance(self.coefficients, str):
            return self.coefficients in (TRAINED, *DECAYED)
        return math.isfinite(self.coefficients)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration with exactly these values, as :meth:`to_dict` gave them.

        Raises:
            ConfigError: a name too many or too few, or a value that cannot be.
        """
        names = {field.name for field in fields(cls)}
        if wrong := (set(values) ^ names) - set(LATER):
            raise ConfigError(f"configuration differs from the expected names in {sorted(wrong)}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The values that make the run, as JSON can hold them: all but those of ``LATER`` at their defaults."""
        values = asdict(self)
        return {name: value for name, value in values.items() if name not in LATER or value != getattr(RunConfig, name)}

    @property
    def fixed(self) -> float | None:
        """The number that the coefficients are fixed at; None where they are trained."""
        return None if isinstance(self.coefficients, str) else self.coefficients

    @property
    def label(self) -> str:
        """The scheme with what its runs do otherwise than by default, such as ``lm`` or ``lm (fixed at 0)``."""
        told = {
            "network": self.network,
            "coefficients": str(self.coefficients) if self.fixed is None else f"fixed at {self.fixed:g}",
            "per_channel": "per channel",
            "survival": f"survival {self.survival:g}",
            "gradient": self.gradient,
        }
        others = [text for name, text in told.items() if getattr(self, name) != getattr(RunConfig, name)]
        return self.scheme + (f" ({', '.join(others)})" if others else "")

    @property
    def milestones(self) -> tuple[int, int]:
        """Epochs after which "steps" divides the learning rate by 10: the paper's 80 and 120 of 160, rounded up.

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
