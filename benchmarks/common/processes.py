"""Processes of their own for measurements: glibc reads the settings of its allocator when a process starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import odenets

from .errors import BenchmarkError

#: Blocks of 64 kB and more get pages of their own and give them back when freed: the peak is that of live memory.
RETURNED = {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}
#: The heap keeps what it has got: no page faults in the time. 32 MiB is the largest threshold that glibc takes.
HELD = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**28)}


def environment(allocator: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process with one thread and these settings.

    The folder that holds odenets is on its path: started as ``python -m``, it would take a folder odenets/ where the
    user stands, such as one around a clone, for the package.
    """
    paths = os.pathsep.join([str(Path(odenets.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, **allocator, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": paths}


def answer(module: str, arguments: list[str], allocator: Mapping[str, str]) -> Any:
    """What ``python -m module ARGUMENTS`` prints last, as JSON, from a fresh process.

    Raises:
        BenchmarkError: the process failed; the message is the last line of what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=environment(allocator), capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise BenchmarkError(said[-1].removeprefix("error: "))
    return json.loads(done.stdout.splitlines()[-1])
