"""A lock on a folder: it ends with its process, and expires where the machine of its process is gone."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from .errors import ConfigError, LockedError, LostError
from .files import PARTIAL, Check

#: Seconds without a sign of life after which a lock may be taken over, and signs of life within that time.
EXPIRES, SIGNS = 600.0, 20
NAME = "lock"


@contextmanager
def exclusive(directory: Path, expires: float = EXPIRES) -> Iterator[Check]:
    """Makes ``directory`` and keeps every other process out of it; also removes what a killed process had half written.

    A file is locked by the operating system, which lets go when the process ends, however it ends. A network file
    system may never learn of that end if the whole machine died. So a thread touches the file as long as the process
    lives, and one that was not touched for ``expires`` seconds no longer counts. Its successor locks a file of the next
    number, lock.1 after lock: only one process can, and from then on the old lock is lost for good, even if its holder
    was but suspended and wakes up. That holder finds out by the check that is handed in, before it writes.

    ``filelock.SoftFileLease`` expires too, by clocks of its own and not at once: a new command has to watch a lock for
    the whole time. And it asks whether the holder's number is that of a living process, which it is for a killed one
    that its parent has not waited for.

    Raises:
        LockedError: another process is in it. ConfigError: the file system has no locks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    number, file = acquire(directory, expires)
    stop = threading.Event()
    signs = threading.Thread(target=refresh, args=(path_of(directory, number), stop, expires / SIGNS), daemon=True)
    signs.start()

    def check() -> None:
        if newest(directory) != number:
            raise LostError(
                f"another process has taken {directory} over, because this one gave no sign of life for {expires:g} "
                "seconds, as a suspended one does; what it has not saved is lost, and the other goes on from there"
            )

    try:
        for left in directory.glob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
        yield check
    finally:
        stop.set()
        signs.join()
        os.ftruncate(file, 0)
        os.close(file)


def path_of(directory: Path, number: int) -> Path:
    """The file of a lock: ``lock``, and ``lock.1`` after it was taken over once."""
    return directory / (f"{NAME}.{number}" if number else NAME)


def newest(directory: Path) -> int:
    """The number of the lock that counts, the highest; read from the folder, not tried one by one."""
    return max((int(path.suffix[1:]) for path in directory.glob(f"{NAME}.*")), default=0)


def acquire(directory: Path, expires: float) -> tuple[int, int]:
    """The number of the lock that was free or has expired, and its open file, locked.

    Raises:
        LockedError: it is another process's.
    """
    number = newest(directory)
    for tried in (number, number + 1):
        path = path_of(directory, tried)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if held := lock(file, path):
            os.ftruncate(file, 0)
            os.write(file, f"{socket.gethostname()} {os.getpid()}\n".encode())
            os.fsync(file)  # a network file system tells others of a write when it is done, or long after
            # Another one may have seen an old file before it was written just now, and taken it over.
            if newest(directory) == tried:
                return tried, file
        os.close(file)
        if held or not expired(path, expires):
            break
    raise LockedError(
        f"{directory} is being trained by another process; wait for it to end, or, if its machine is gone, "
        f"{expires:g} seconds from its last sign of life"
    )


def lock(file: int, path: Path) -> bool:
    """Whether the operating system's lock on an open file could be had; ConfigError where there are none."""
    try:
        return filelock.lock_descriptor(file, blocking=False)
    except OSError as error:
        os.close(file)
        raise ConfigError(f"{path}: got a file system without file locks ({error}); choose another folder") from error


def expired(path: Path, expires: float) -> bool:
    """Whether the holder of a lock has given no sign of life for so long, by the clock of the file system.

    Not by that of this machine, which another one's need not agree with: a new file has the time of now. An empty file
    is one that was just released, or belongs to a version that gave no signs of life.
    """
    with tempfile.TemporaryFile(dir=path.parent) as new:
        found = path.stat()
        return found.st_size > 0 and os.fstat(new.fileno()).st_mtime - found.st_mtime > expires


def refresh(path: Path, stop: threading.Event, every: float) -> None:
    """Touches a file until told to stop; where the file system fails for a while, the next time."""
    while not stop.wait(every):
        with suppress(OSError):
            os.utime(path)
