"""The errors of the benchmarks: each says what was got, what was expected and what to do."""

from odenets import OdenetsError


class BenchmarkError(OdenetsError):
    """Base of every error the benchmarks raise; one ``except OdenetsError`` covers the project."""


class DataError(BenchmarkError):
    """A data file is missing, truncated or altered, or a label is out of range."""


class ConfigError(BenchmarkError):
    """An option of a run has a value that cannot be trained with."""


class CheckpointError(BenchmarkError):
    """A checkpoint is damaged or belongs to another run."""


class ResultError(BenchmarkError):
    """A result.json is damaged, incomplete or not one of this benchmark's."""


class LockedError(BenchmarkError):
    """Another process is training the same run."""


class LostError(BenchmarkError):
    """Another process has taken over what this one was training."""


class DivergedError(BenchmarkError):
    """The loss or the weights of a run became infinite or NaN."""
