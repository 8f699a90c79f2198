"""What f is at a step: layers, a function of time, random layers; the statistics and masks that go with them."""

from .errors import FieldError
from .field import Field, Noise
from .layers import Layers, as_field
from .random_fields import AdditiveNoise, RandomLayers, ShakeShake, StochasticDepth, survival_schedule
from .summed import Summed
from .time_field import TimeField

__all__ = [
    "AdditiveNoise",
    "Field",
    "FieldError",
    "Layers",
    "Noise",
    "RandomLayers",
    "ShakeShake",
    "StochasticDepth",
    "Summed",
    "TimeField",
    "as_field",
    "survival_schedule",
]
