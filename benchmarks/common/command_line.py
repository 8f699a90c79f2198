"""What the commands of the benchmarks share: exit codes, errors of one line, the command as it was given."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

from odenets.analysis.text import console

USER_ERROR, FAILED_RUNS, INTERRUPTED = 2, 1, 130


class Parser(console.Parser):
    """Reports a mistake in one line, as every other user error is."""

    def error(self, message: str) -> NoReturn:
        """Ends the program with exit code 2."""
        self.exit(USER_ERROR, f"error: {message}; see --help\n")


def as_given(command: str, argv: Sequence[str] | None) -> str:
    """The command with its arguments, to be kept with what it found; without ``argv`` those of this process."""
    return shlex.join([*command.split(), *(sys.argv[1:] if argv is None else argv)])
