"""A study of short runs, two at a time, killed again and again and started again: does anything get lost?

``python tests/killed_study.py FOLDER --kills 50 --seeds 50`` does it at length and tells where the kills hit.
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import signal
import time
from functools import partial

import commands
import torch
from commands import living, wait_for

from odenets.benchmarks.study import run_checkpoint, run_state, runs, study_file

EVERY = 3  # steps between two checkpoints; an epoch has 4
MOST = 10  # files that are written between two kills
STUDY = """
{{name: killed, title: T, data: digits, recipe: {{epochs: 2, batch_size: 64, schedule: one_cycle}},
 groups: [{{schemes: [euler, momentum], depths: [8], seeds: {seeds}}}]}}
"""


def written(out):
    """What tells one state of the files of the runs from the next."""
    found = set()
    for path in [*out.glob("*/checkpoint.pt"), *out.glob("*/result.json")]:
        try:
            found.add((path, path.stat().st_ino, path.stat().st_mtime_ns))
        except FileNotFoundError:
            continue
    return found


def positions(out, configs):
    """Steps of each run that are safe."""
    found = {}
    for config in configs:
        folder = out / config.name
        try:
            content = run_checkpoint.read(folder / run_checkpoint.NAME, config, run_state.CONTENT)
            found[config] = content["epoch"] * len(content["losses"]) + content["step"]
        except FileNotFoundError:
            found[config] = 10**9 if (folder / "result.json").exists() else 0
    return found


def kill_study(folder, kills, seeds, seed=0):
    """Trains the study once in peace, and once with kills; returns where they hit, after all was compared."""
    file = folder / "killed.yaml"
    file.write_text(STUDY.format(seeds=list(range(seeds))))
    configs, chance, hits = study_file.load(str(file)).runs, random.Random(seed), collections.Counter()
    peace, out = folder / "peace", folder / "out"
    run = partial(commands.command, folder / "log", "study", "run", file)
    options = "--jobs=2", "--threads=1", f"--checkpoint-every={EVERY}", "--out"
    group = run(*options, peace)
    wait_for(lambda: not living(group), 3600)
    start = partial(run, *options, out)
    group = start()
    for _ in range(kills):
        where, goes_on = disturb(group, out, configs, chance)
        hits[where] += 1
        if not goes_on:
            hits["started again"] += 1
            group = start()
    while len(list(out.glob("*/result.json"))) < len(configs) or living(group):
        if not living(group):
            hits["started again"] += 1
            group = start()
        time.sleep(0.02)
    compare(peace, out, configs)
    return hits


def disturb(group, out, configs, chance):
    """Kills a group or one of its processes at a random moment; returns where it hit, and whether a command goes on."""
    before, wanted, seen = written(out), chance.randint(1, MOST), set()

    def moved():
        seen.update(written(out) - before)
        return len(seen) >= wanted or not living(group)

    wait_for(moved)
    time.sleep(chance.random() * 0.1)
    safe, alive, whole = positions(out, configs), living(group), chance.random() < 0.5
    victims = alive if whole else [chance.choice(alive)] if alive else []
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    later = positions(out, configs)
    assert all(later[config] >= safe[config] for config in configs)
    if not victims:
        return "nothing left", False
    if group in victims:
        return "the whole group" if whole else "the command", False
    return "a run", group in alive


def compare(peace, out, configs):
    """Every run has one result and the weights and the history of the undisturbed one, bit for bit."""
    names = sorted(config.name for config in configs)
    for folder in (peace, out):
        assert sorted(path.parent.name for path in folder.rglob("result.json")) == names
        assert not list(folder.rglob("*.partial"))
        assert not list(folder.rglob(run_checkpoint.NAME))
    for name in names:
        expected, found = (torch.load(folder / name / runs.WEIGHTS, weights_only=True) for folder in (peace, out))
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())
        assert history(peace / name) == history(out / name)


def history(folder):
    epochs = json.loads((folder / "result.json").read_text())["epochs"]
    return [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in epochs]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=50, help="of two schemes each")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    started = time.monotonic()
    counted = kill_study(given.folder, given.kills, given.seeds, given.seed)
    print(f"{2 * given.seeds} runs, {given.kills} kills, {time.monotonic() - started:.0f} s: {dict(counted)}")
