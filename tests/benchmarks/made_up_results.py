"""Results of runs that never were, for tests of what is made of them."""

import json

from odenets.benchmarks.study.config import RunConfig
from odenets.benchmarks.study.report.cells import cells
from odenets.benchmarks.study.result import Result


def values(depth=8, scheme="euler", seed=0, errors=(9.0, 4.0, 5.0), data="digits", **changes):
    """A result of a run that never was; ``changes`` are of its configuration."""
    config = RunConfig(data=data, depth=depth, scheme=scheme, seed=seed, epochs=len(errors), **changes)
    records = [
        {"epoch": i + 1, "train_loss": 0.5, "train_error": 3.0, "test_error": error, "seconds": 2.0}
        for i, error in enumerate(errors)
    ]
    learned = [
        {"stage": 0, "layer": n, "symbol": "k", "value": -0.1 * n, "effective_step": 1.0, "zero_stable": True}
        for n in (1, 2)
    ]
    return {
        "format": 1,
        "config": config.to_dict(),
        "config_hash": config.hash,
        "epochs": records,
        "final_test_error": errors[-1],
        "best_test_error": min(errors),
        "learned_coefficients": learned if scheme == "lm" else [],
        "parameters": 77_658,
        "evaluations": 3,
        "seconds": 6.0,
        "versions": {"python": "3.12.0", "torch": "2.13.0"},
        "hardware": {"processor": "Abacus 3000", "threads": 2},
        "date": "2024-01-02T03:04:05+00:00",
        "command": f"odenets study run s{seed}.yaml",
    }


def put(out, content):
    """Writes a result into the folder of its run."""
    name = RunConfig(**content["config"]).name if isinstance(content, dict) and "config" in content else "foreign"
    path = out / name / "result.json"
    path.parent.mkdir(parents=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_k(content, k, *, epochs=True):
    """The result with these k_n, a list a stage, the first layer of which has none; they grow over the epochs."""
    layers = [(stage, n + 1, value) for stage, own in enumerate(k) for n, value in enumerate(own)]
    starts = [sum(len(own) + 1 for own in k[:stage]) for stage in range(len(k))]
    content["learned_coefficients"] = [
        {
            "stage": stage,
            "layer": starts[stage] + n,
            "symbol": "k",
            "value": value,
            "effective_step": 1.0,
            "zero_stable": True,
        }
        for stage, n, value in layers
    ]
    for i, record in enumerate(content["epochs"] if epochs else []):
        record["coefficients"] = [value * ((i + 1) / len(content["epochs"])) for *_, value in layers]
    return content


def result(content):
    """The result as it is read."""
    return Result(RunConfig(**content["config"]), content)


def cell(depth=8, scheme="euler", errors=(5.0,), evaluations=3, **changes):
    """A network with an error for each seed from 0 on; the best epoch has 0.1 less."""
    runs = [
        result(values(depth, scheme, seed, (error - 0.1, error), **changes) | {"evaluations": evaluations})
        for seed, error in enumerate(errors)
    ]
    (found,) = cells(runs)
    return found
