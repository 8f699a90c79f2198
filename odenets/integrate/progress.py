"""A progress bar of a solve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..fields import FieldError
from .step import Step


def shown(steps: Iterable[Step], ends: tuple[float, float]) -> Iterator[Step]:
    """The steps, with a bar of the time that they have reached."""
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra, needed for this alone
    except ImportError as error:
        raise FieldError("progress=True needs tqdm; pip install tqdm, or leave it out") from error
    with tqdm(
        total=abs(ends[1] - ends[0]), bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}"
    ) as bar:
        for step in steps:
            bar.set_description_str(f"t = {step.span.stop:.4g}", refresh=False)
            bar.update(abs(step.span.stop - step.span.start))
            yield step
