"""The lock on a folder: one holder, given back by the dead, taken over from the silent."""

import contextlib
import os
import signal
import threading
import time

import filelock
import pytest
from commands import copy, wait_for

from odenets.benchmarks.common import lock
from odenets.benchmarks.common.errors import ConfigError, LockedError, LostError
from odenets.benchmarks.common.files import write_atomic
from odenets.benchmarks.common.lock import exclusive

#: Seconds: long enough that a busy machine does not keep a living holder from a sign of life.
SHORT = 2.0
#: Holds the lock of a folder; it writes when there is a file "go" beside the folder, and says what came of it.
HOLDER = """
import pathlib, time
from odenets.benchmarks.common.errors import LostError
from odenets.benchmarks.common.files import write_atomic
from odenets.benchmarks.common.lock import exclusive

folder = pathlib.Path({folder!r})
with exclusive(folder, {seconds}) as check:
    print("held", flush=True)
    while not folder.with_name("go").exists():
        time.sleep(0.01)
    try:
        write_atomic(folder / "checkpoint", b"of the first", check)
        print("written", flush=True)
    except LostError as error:
        print(error, flush=True)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and fork")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def holder(log, tmp_path):
    """The number of a process that holds the lock of the folder "run"."""
    number = copy(HOLDER.format(folder=str(tmp_path / "run"), seconds=SHORT), log)
    wait_for(lambda: log.exists() and log.read_text() == "held\n")
    yield number
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def said(log):
    """What a holder says after it has tried to write."""
    log.with_name("go").touch()
    wait_for(lambda: log.read_text().count("\n") == 2)
    return log.read_text().removeprefix("held\n")


@contextlib.contextmanager
def soon(folder):
    """The lock of a process that is about to end, which does not expire in a test."""
    end = time.monotonic() + 10
    while True:
        try:
            with exclusive(folder, expires=1e6) as check:
                yield check
                return
        except LockedError:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_a_living_holder_keeps_its_lock_beyond_the_time_it_expires_in(holder, log, tmp_path):
    end = time.monotonic() + 1.5 * SHORT
    while time.monotonic() < end:
        with (
            pytest.raises(LockedError, match="is being trained by another process"),
            exclusive(tmp_path / "run", SHORT),
        ):
            pass
        time.sleep(SHORT / 4)
    assert said(log) == "written\n"
    with soon(tmp_path / "run") as check:
        check()
    assert [path.name for path in sorted((tmp_path / "run").iterdir())] == ["checkpoint", "lock"]


def test_a_killed_holder_lets_go_at_once(holder, tmp_path):
    os.kill(holder, signal.SIGKILL)
    with soon(tmp_path / "run"):
        pass


def test_a_suspended_holder_loses_its_lock_to_one_and_finds_out_before_it_writes(holder, log, tmp_path):
    """As a machine that sleeps, or one whose end the file system has not heard of: the file stays locked."""
    folder = tmp_path / "run"
    os.kill(holder, signal.SIGSTOP)
    with pytest.raises(LockedError), exclusive(folder, SHORT):
        pass
    time.sleep(1.2 * SHORT)
    inside, go, errors = [], threading.Barrier(4), []

    def take():
        go.wait()
        try:
            with exclusive(folder, SHORT) as check:
                inside.append(threading.current_thread())
                time.sleep(0.5)  # all others have tried
                write_atomic(folder / "checkpoint", b"of the second", check)
        except LockedError as error:
            errors.append(error)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert (len(inside), len(errors)) == (1, 3)
    os.kill(holder, signal.SIGCONT)
    found = said(log)
    assert "another process has taken" in found
    assert "no sign of life for 2 seconds" in found
    assert (folder / "checkpoint").read_bytes() == b"of the second"
    assert not list(folder.glob(".*"))
    # The old lock is lost for good: the next one is that of the taker's number.
    with exclusive(folder, SHORT):
        assert lock.newest(folder) == 1


def test_signs_of_life_are_compared_by_the_clock_of_the_file_system(holder, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    path = lock.path_of(tmp_path / "run", 0)
    assert not lock.expired(path, SHORT)
    os.kill(holder, signal.SIGSTOP)
    time.sleep(0.2)  # a last sign may be on its way
    new = tmp_path / "new"
    new.touch()
    os.utime(path, (0, new.stat().st_mtime - 1.5 * SHORT))
    assert lock.expired(path, SHORT)
    assert not lock.expired(path, 3 * SHORT)


def test_a_lock_of_a_version_that_gives_no_signs_does_not_expire(tmp_path):
    with filelock.FileLock(tmp_path / "lock"):
        os.utime(tmp_path / "lock", (0, 0))
        with pytest.raises(LockedError), exclusive(tmp_path, SHORT):
            pass


def test_one_who_was_overtaken_between_locking_and_writing_backs_off(tmp_path, monkeypatch):
    """A killed holder's old file: another one looks at it just before it is written anew, and takes it over."""
    (tmp_path / "lock").write_text("dead 1\n")
    os.utime(tmp_path / "lock", (0, 0))
    locked = lock.lock

    def overtaken(file, path):
        (tmp_path / "lock.1").touch()
        return locked(file, path)

    monkeypatch.setattr(lock, "lock", overtaken)
    with pytest.raises(LockedError), exclusive(tmp_path, SHORT):
        pass
    monkeypatch.undo()
    with exclusive(tmp_path, SHORT):
        assert lock.newest(tmp_path) == 1


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def refuse(file, blocking):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with (
        pytest.raises(ConfigError, match=r"got a file system without file locks \(.*Function not im"),
        exclusive(tmp_path),
    ):
        pass


def test_what_was_lost_is_an_error_of_its_own(tmp_path):
    with exclusive(tmp_path, SHORT) as check:
        check()
        (tmp_path / "lock.1").touch()
        with pytest.raises(LostError, match="another process has taken"):
            check()
