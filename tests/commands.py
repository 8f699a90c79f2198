"""Processes that start at once, for tests that kill them or that want one of their own: copies of one with all loaded.

To start a process with torch, odenets and the benchmarks takes seconds, so that one is started for all tests, when it
is first needed, and copied.
"""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
#: For each line a process with a group of its own that runs its code; what it prints goes to a file.
SERVER = """
import json, multiprocessing, os, signal, sys, traceback
from dataclasses import replace
import markdown, torch, torch._inductor.config, tqdm  # the middle one is what repeatable runs import
import odenets.benchmarks.memory.measure, odenets.benchmarks.study.diagnose, odenets.benchmarks.study.report.page
from odenets.__main__ import main
from odenets.benchmarks.data import sources
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import __main__, side_by_side

whole = sources.load("digits", "")
torch.set_num_threads(1)
tqdm.tqdm.monitor_interval = 0  # a thread less to copy
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    number = os.fork()
    if not number:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code, log, environment = json.loads(line)
        os.environ.update(environment)
        sys.stdout = sys.stderr = open(log, "a", buffering=1)
        # What is not Python's prints there too, and not among the numbers.
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        try:
            exec(code)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    print(number, flush=True)
"""
#: What a copy does that is the command line, whose digits are few. The process of each of several runs at once is a
#: copy as well; it has this one's ends of all pipes besides its own, and would not learn of its end: so it closes them.
COMMAND = """
few = replace(whole, **{part: getattr(whole, part)[:count] for part, count in
    (("train_images", 230), ("train_labels", 230), ("test_images", 64), ("test_labels", 64))})
sources.SOURCES["digits"] = replace(sources.SOURCES["digits"], load=lambda folder: few)
fork, work, listening = multiprocessing.get_context("fork"), side_by_side.work, []

class Copies:
    Process = fork.Process

    @staticmethod
    def Pipe(duplex):
        ends = fork.Pipe(duplex)
        listening.append(ends[0])
        return ends

def alone(*arguments):
    for end in listening:
        end.close()
    work(*arguments)

side_by_side.PROCESSES, side_by_side.work = Copies, alone
if {double}:
    torch.set_default_dtype(torch.float64)
    single = InMemoryDataset.normalised
    InMemoryDataset.normalised = lambda data, images: single(data, images).double()
print("exit code", main({arguments}))
"""
#: Threads ask one after the other.
ASKING = threading.Lock()


@functools.cache
def server():
    """The process that is copied; it ends with this one."""
    started = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout.readline() == "ready\n"

    @atexit.register
    def stop():
        started.stdin.close()
        started.stdout.close()
        started.wait()

    return started


def copy(code, log, environment=None):
    """Number of a process that runs this code, and of its group; what it prints is appended to the file ``log``."""
    with ASKING:
        found = server()
        print(json.dumps([code, str(log), environment or {}]), file=found.stdin, flush=True)
        return int(found.stdout.readline())


def command(log, *arguments, environment=None, double=False):
    """Number of a process that is ``odenets ARGUMENTS``, and of its group; numbers are float64 if wanted."""
    code = COMMAND.replace("{double}", str(double)).replace("{arguments}", repr(list(map(str, arguments))))
    return copy(code, log, environment)


def printed(codes, log):
    """What these codes print, each in a process of its own, at the same time; AssertionError if one of them fails."""
    groups = [copy(code, log) for code in codes]
    wait_for(lambda: not any(map(living, groups)))
    said = pathlib.Path(log).read_text()
    assert "Traceback" not in said, said
    return said


def answer(log, module, arguments):
    """What ``python -m module ARGUMENTS`` prints last, as JSON."""
    code = f"import {module} as asked; sys.argv[1:] = {arguments!r}; assert not asked.main()"
    return json.loads(printed([code], log).splitlines()[-1])


def living(group):
    """Numbers of the processes of a group, its leader first where it lives."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        # A command that has just been started has no group of its own yet. One that is killed is a zombie while other
        # threads of it still end, and until then it holds its files, and the locks on them.
        if group in (int(number), int(fields[2])) and (fields[0] != "Z" or int(fields[17]) > 1):
            found.append(int(number))
    return sorted(found)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.05)  # to ask more often takes a part of the core that is waited for
