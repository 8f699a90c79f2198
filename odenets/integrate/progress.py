"""A progress bar, where somebody wants to see one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..fields import FieldError
from .step import Step

#: Told of what has been reached, and how far that is from the last one.
Reached = Callable[[str, float], None]


@contextmanager
def progress_bar(total: float) -> Iterator[Reached]:
    """A bar with an estimate on stderr, and the function that moves it.

    Raises:
        FieldError: tqdm is not installed.
    """
    try:
        from tqdm import tqdm  # noqa: PLC0415 - an extra, needed for this alone
    except ImportError as error:
        raise FieldError("progress=True needs tqdm; pip install tqdm, or leave it out") from error
    with tqdm(total=total, bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}") as bar:

        def reached(what: str, further: float) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(further)

        yield reached


def shown(steps: Iterable[Step], ends: tuple[float, float]) -> Iterator[Step]:
    """The steps of a solve, with a bar of the time that they have reached."""
    with progress_bar(abs(ends[1] - ends[0])) as reached:
        for step in steps:
            reached(f"t = {step.span.stop:.4g}", abs(step.span.stop - step.span.start))
            yield step
