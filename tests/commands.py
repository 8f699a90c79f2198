"""Commands of odenets as processes that start at once, for tests that kill them."""

import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
#: For each line a process with a group of its own that is the command line. It is a copy of this one, and so is the
#: process of each of several runs at once: to start each with torch takes seconds. A copy has this process's ends of
#: all pipes besides its own, and would not learn of the end of the command: so it closes them.
COMMANDS = """
import json, multiprocessing, os, signal, sys, traceback
from dataclasses import replace
import torch, tqdm
from odenets.__main__ import main
from odenets.benchmarks.data import sources
from odenets.benchmarks.data.in_memory import InMemoryDataset
from odenets.benchmarks.study import __main__, side_by_side

whole = sources.load("digits", "")
few = replace(whole, **{part: getattr(whole, part)[:count] for part, count in
    (("train_images", 230), ("train_labels", 230), ("test_images", 64), ("test_labels", 64))})
sources.SOURCES["digits"] = replace(sources.SOURCES["digits"], load=lambda folder: few)
torch.set_num_threads(1)
tqdm.tqdm.monitor_interval = 0  # a thread less to copy
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
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    number = os.fork()
    if not number:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        arguments, log, environment, double = json.loads(line)
        os.environ.update(environment)
        sys.stdout = sys.stderr = open(log, "a", buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if double:
            torch.set_default_dtype(torch.float64)
            single = InMemoryDataset.normalised
            InMemoryDataset.normalised = lambda data, images: single(data, images).double()
        try:
            print("exit code", main(arguments))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    print(number, flush=True)
"""


class Commands:
    """Starts commands. What they print goes to a file."""

    def __init__(self, log):
        self.log = log
        self.server = subprocess.Popen(
            [sys.executable, "-c", COMMANDS], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.wait()

    def start(self, *arguments, environment=None, double=False):
        """Number of a process that is ``odenets ARGUMENTS``, and of its group; numbers are float64 if wanted."""
        line = [list(map(str, arguments)), str(self.log), environment or {}, double]
        print(json.dumps(line), file=self.server.stdin, flush=True)
        return int(self.server.stdout.readline())


def living(group):
    """Numbers of the processes of a group, its leader first where it lives."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        number = int(path.parent.name)
        # A command that has just been started has no group of its own yet.
        if group in (number, int(fields[2])) and fields[0] != "Z":
            found.append(number)
    return sorted(found)


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)
