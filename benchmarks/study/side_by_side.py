"""Several runs at once on one machine: a process each, heard through a pipe each."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from odenets import OdenetsError

from ..common.errors import BenchmarkError, LockedError
from ..data.dataset import Dataset
from . import result, run_checkpoint
from .config import RunConfig
from .progress import Progress
from .runs import Ended, Means, run_one

#: Not fork: torch's threads and CUDA do not survive it. Copies of a process that has imported all and computed nothing
#: have neither, and start at once, where a process of its own takes three seconds. Elsewhere torch is not safe to copy.
PROCESSES = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
if sys.platform == "linux":
    # What torch.use_deterministic_algorithms imports is a second of these.
    PROCESSES.set_forkserver_preload([__name__, "torch._inductor.config"])


def work(connection: Connection, config: RunConfig, out: Path, means: Means) -> None:
    """What the process of a run does: trains it, and sends (steps, test error) after each step, then how it ended."""
    # Ctrl-C reaches every process of a terminal: the first one alone decides, and then asks the others to end, which
    # they do as by an exception, so that locks and half-written files are cleaned up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        connection.send(ending(connection, config, out, means))
    except BrokenPipeError:
        sys.exit(1)  # nobody listens: the command was killed, and the next one goes on from the checkpoint


def ending(connection: Connection, config: RunConfig, out: Path, means: Means) -> OdenetsError | None:
    """Trains a run; returns why it did not come to its end, as an error that any process can read."""
    try:
        run_one(config, means.prepare(config.data), out, means, lambda *told: connection.send(told))
    except BrokenPipeError:
        raise
    except LockedError as error:
        return error
    except (OdenetsError, OSError) as error:
        return BenchmarkError(str(error))
    return None


def start(config: RunConfig, out: Path, means: Means) -> tuple[Connection, BaseProcess]:
    """The process of a run, and the end of its pipe to listen at."""
    ours, theirs = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=work, args=(theirs, config, out, means), name=config.name, daemon=True)
    # Inherited, so that a Ctrl-C while the process still imports torch leaves no traceback of it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    theirs.close()
    return ours, process


def hear(connection: Connection, process: BaseProcess) -> Any:
    """The next thing a process tells; where it has ended without a word, that."""
    try:
        return connection.recv()
    except (EOFError, OSError):
        process.join()
        return BenchmarkError(
            f"its process ended (exit code {process.exitcode}); the same command goes on from its checkpoint"
        )


def side_by_side(
    configs: Sequence[RunConfig], data: Dataset, out: Path, means: Means, progress: Progress, *, jobs: int
) -> Ended:
    """At most ``jobs`` of the runs at once, each in a process of its own.

    A process for each run, whose start costs seconds where a run takes minutes. In a pool such as joblib's loky a
    worker that is killed, as for want of memory, ends them all; here it ends its run. The data are loaded by each
    process: sharing them takes as much of /dev/shm, of which containers have 64 MB.
    """
    del data
    waiting, running = deque(configs), {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                config = waiting.popleft()
                if (out / config.name / result.NAME).exists():
                    # What one who was killed between its last two acts has left.
                    (out / config.name / run_checkpoint.NAME).unlink(missing_ok=True)
                    yield config, None
                    continue
                connection, process = start(config, out, means)
                running[connection] = config, process
            # wait() of nothing never ends: all that were waiting may have been finished.
            for connection in wait(list(running)) if running else ():
                config, process = running[connection]
                told = hear(connection, process)
                if isinstance(told, tuple):
                    progress.watch(config, *told)
                    continue
                del running[connection]
                connection.close()
                process.join()
                yield config, told
    finally:
        for _, process in running.values():
            process.terminate()
        for connection, (_, process) in running.items():
            process.join()
            connection.close()
