"""How much memory something takes at most, beyond what the process has."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_bytes(run: Callable[[], object]) -> tuple[int, str]:
    """By how much resident memory rises at most while ``run`` runs, and how that was read.

    Only in a process whose heap gives back what is freed (processes.RETURNED): else what an earlier call has left
    serves the next one, unseen.
    """
    gc.collect()
    try:
        CLEAR.write_text("5")
    except OSError:
        before, method, read = most_resident(), "ru_maxrss", most_resident
    else:
        before, method, read = _status("VmRSS"), "VmHWM", lambda: _status("VmHWM")
    run()
    return read() - before, method


def most_resident() -> int:
    """Largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key + ":"))
    return 1024 * int(line.split()[1])
