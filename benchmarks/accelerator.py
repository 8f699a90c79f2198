"""What only an accelerator can show of odenets: ``odenets bench accelerator``.

Claims to be tested, a line each: on CUDA all schemes of the zoo have the outputs and gradients that they have on the
CPU, in float64; the ways to a gradient agree with autograd's, with BatchNorm and dropout in the blocks; a training pass
does not wait for the device; a study's step, captured as CUDA graphs and replayed, trains as the plain one does; and
several runs at once train more images a second than one.

What has been found is written after each line. It is made to take less than four minutes; ``--only`` asks for less.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import odenets
from odenets import OdenetsError

from .common import machine
from .common.command_line import FAILED_RUNS, USER_ERROR, Parser, as_given
from .common.errors import BenchmarkError
from .common.files import write_json
from .study import training
from .study.config import RunConfig
from .study.on_streams import Lane
from .training_step import cifar_like

#: Schemes and ways to their gradients whose steps can be captured.
STEPS = (
    ("euler", "direct"),
    ("lm", "direct"),
    ("heun", "direct"),
    ("rk4", "direct"),
    ("momentum", "reversible"),
    ("rk4", "checkpoint"),
)
#: Besides, those of which a pass is watched alone.
PASSES = (*STEPS, ("ab4", "direct"), ("leapfrog", "reversible"), ("lm", "reversible"), ("backward_euler", "direct"))
#: Largest relative differences: of float64 (implicit stages are solved to about 1e-10), of float32 gradients, and of
#: the losses of runs whose optimizers round differently.
EXACT, ROUNDED, TRAINED = 1e-8, 1e-3, 1e-2
AT_ONCE = (1, 2, 4, 8)
#: A check's findings; more than it may be raises BenchmarkError.
Found = dict[str, Any]


# --------------------------------------------------------------------------------------- networks


def blocks(scheme: odenets.Scheme, layers: int, width: int, make: Callable[[int], nn.Module]) -> list[Any]:
    """Blocks as the scheme takes them: one a layer, or as many as a step has functions, for parts of the state."""
    functions, width = max(scheme.modules) + 1, width // scheme.components
    return [make(width) if functions == 1 else [make(width) for _ in range(functions)] for _ in range(layers)]


def smooth(width: int) -> nn.Module:
    """Without kinks, so that float64 can be compared to rounding."""
    return nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width))


def convolution(width: int) -> nn.Module:
    """With running statistics."""
    return nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False))


def dropping(width: int) -> nn.Module:
    """With running statistics and random numbers."""
    return nn.Sequential(convolution(width), nn.Dropout(0.2))


def backward(net: nn.Module, x: Tensor) -> list[Tensor]:
    """The output and the gradients of its sum of squares."""
    y = net(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad for p in net.parameters() if p.grad is not None)]


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of a tensor from the expected one, relative to that one's largest entry."""
    pairs = zip(found, expected, strict=True)
    return max(float((a.cpu() - b.cpu()).abs().max() / b.abs().max().cpu().clamp_min(1e-30)) for a, b in pairs)


def within(limit: float, found: Found) -> Found:
    """The findings, by name; BenchmarkError that names those beyond the limit (or not numbers)."""
    if far := {name: value for name, value in found.items() if not value <= limit}:
        raise BenchmarkError(f"{far} of {len(found)}, expected at most {limit:g}")
    return {"worst": max(found.values()), "limit": limit, **found}


# ----------------------------------------------------------------------------------------- checks


def zoo(device: torch.device, names: Sequence[str] | None = None) -> Found:
    """Of all schemes: output and gradients in float64 against the CPU."""
    found = {}
    for name in names or sorted(odenets.schemes):
        torch.manual_seed(0)
        scheme = odenets.schemes[name]
        net = odenets.ODENet(blocks(scheme, 5, 8, smooth), scheme, h=0.3).double()
        other, x = copy.deepcopy(net).to(device), torch.randn(4, 8, dtype=torch.float64)
        found[name] = difference(backward(other, x.to(device)), backward(net, x))
    return within(EXACT, found)


def gradients(device: torch.device) -> Found:
    """Of the ways to a gradient: losses to the bit, gradients and running statistics as autograd's own."""
    found = {}
    for name in ("leapfrog", "reversible_heun", "momentum", "lm", "heun", "rk4"):
        scheme = odenets.schemes[name]
        torch.manual_seed(0)
        net = odenets.ODENet(blocks(scheme, 6, 16, dropping), scheme, h=0.2).to(device)
        x = torch.randn(8, 16, 16, 16, device=device)
        nets = {mode: copy.deepcopy(net) for mode in ("direct", "checkpoint", "reversible")[: 2 + scheme.reversible]}
        results = {}
        for mode, one in nets.items():
            one.gradient = mode
            torch.manual_seed(1)
            results[mode] = [*backward(one, x), *(b for b in one.buffers() if b.is_floating_point())]
        expected = results.pop("direct")
        for mode, result in results.items():
            if not torch.equal(result[0], expected[0]):
                raise BenchmarkError(f"{name}: the output of {mode} differs from that of direct, expected equal bits")
            found[f"{name}, {mode}"] = difference(result, expected)
    return within(ROUNDED, found)


def waits(device: torch.device) -> Found:
    """How often the host waits for the device in a training pass, after warm-up, and where."""
    if device.type != "cuda":
        return {"skipped": "only CUDA counts what waits for it"}
    found: Found = {}
    for name, mode in PASSES:
        torch.manual_seed(0)
        scheme = odenets.schemes[name]
        net = odenets.ODENet(blocks(scheme, 6, 16, convolution), scheme, h=0.2, gradient=mode).to(device)
        x = torch.randn(8, 16, 16, 16, device=device)
        for _ in range(3):
            backward(net, x)
        places = [f"{Path(w.filename).name}:{w.lineno}" for w in synchronising(net, x)]
        found[f"{name}, {mode}"] = {"waits": len(places), "at": sorted(set(places))}
        # The reversible and the checkpointed pass read their error, outside of a graph; solvers whether they are done.
        if mode == "direct" and odenets.schemes[name].explicit and places:
            raise BenchmarkError(f"{name}: waits at {sorted(set(places))}, expected none")
    return found


def synchronising(net: nn.Module, x: Tensor) -> list[warnings.WarningMessage]:
    """The warnings of torch about waiting in one training pass."""
    torch.cuda.synchronize()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            net(x).square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [w for w in caught if "synchroniz" in str(w.message)]


def run_of(scheme: str, gradient: str, batch: int, **recipe: Any) -> RunConfig:
    """A run on random images."""
    return RunConfig("cifar10", scheme=scheme, seed=0, batch_size=batch, gradient=gradient, lr=0.01, **recipe)


def graphs(device: torch.device) -> Found:
    """Of a study's captured steps: the losses of five epochs against those of the plain trainer.

    Four batches and a smaller one each; the last two epochs are replayed from their first step to their last.
    """
    batch = 16 if device.type == "cuda" else 2
    data, found = cifar_like(4 * batch + batch // 2).to(device), {}
    for name, mode in STEPS:
        config = run_of(name, mode, batch, depth=14, epochs=5, schedule="one_cycle", survival=0.9)
        expected, captured = (losses(config, data, plain=plain) for plain in (True, False))
        found[f"{name}, {mode}"] = difference([captured], [expected])
    return within(TRAINED, found)


def losses(config: RunConfig, data: Any, *, plain: bool) -> Tensor:
    """Of all steps of a run."""
    lane, found = Lane(data.device), []
    with lane.turn():
        state = training.fresh(config, data)
        for _ in range(config.epochs):
            take_steps(state, config, data, training.begin_epoch if plain else lane.begin)
            found.append(state.losses.cpu().clone())
            training.finish_epoch(state, config, data, time.perf_counter())
    return torch.cat(found)


def take_steps(state: training.State, config: RunConfig, data: Any, begin: training.Begin) -> None:
    """All steps of the state's epoch, started."""
    state.model.train()
    take = begin(state, config, data)
    for _ in range(training.steps_per_epoch(config, data)):
        take()


def speed(device: torch.device) -> Found:
    """Images a second of the plain step, and of so many captured runs at once, in all."""
    depth, batch, steps = (20, 128, 100) if device.type == "cuda" else (8, 4, 2)
    data, found = cifar_like(batch * steps).to(device), {}
    for name in ("euler", "lm"):
        config = run_of(name, "direct", batch, depth=depth, epochs=1, precision="bf16", channels_last=True)
        found[f"{name}, plain"] = images_per_second(config, data, 1, plain=True)
        for n in AT_ONCE:
            found[f"{name}, {n} at once"] = images_per_second(config, data, n, plain=False)
    return found


def images_per_second(config: RunConfig, data: Any, runs: int, *, plain: bool) -> float:
    """Of so many runs, each on a stream of its own, all at their second time through the data."""
    lanes = [Lane(data.device) for _ in range(runs)]
    states: list[training.State] = []
    for lane in lanes:
        with lane.turn():
            states.append(training.fresh(config, data))
    seconds = 0.0
    for _ in range(2):
        wait(data.device)
        started = time.perf_counter()
        for lane, state in zip(lanes, states, strict=True):
            with lane.turn():
                state.step = 0
                take_steps(state, config, data, training.begin_epoch if plain else lane.begin)
        wait(data.device)
        seconds = time.perf_counter() - started
    return runs * data.train_size / seconds


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ------------------------------------------------------------------------------------ the command

#: In the order of what is least known of them.
CHECKS: dict[str, Callable[[torch.device], Found]] = {
    "graphs": graphs,
    "speed": speed,
    "waits": waits,
    "gradients": gradients,
    "zoo": zoo,
}


def line(name: str, found: Found) -> str:
    """A check in a line: what failed, the worst of many, or all."""
    told = {key: found[key] for key in ("failed", "worst", "limit", "seconds") if key in found} or found
    if name in ("speed", "waits") and "failed" not in found:
        told = found
    return f"{name}: " + ", ".join(
        f"{key} {v:.3g}" if isinstance(v, float) else f"{key} {v}" for key, v in told.items()
    )


def measure(name: str, device: torch.device) -> Found:
    """What a check has found, or why it has not; a bug on a device that nobody has seen must not end the others."""
    started = time.perf_counter()
    try:
        found = CHECKS[name](device)
    except Exception as error:  # of whatever kind
        found = {"failed": f"{type(error).__name__}: {error}"}
    return {**found, "seconds": round(time.perf_counter() - started, 1)}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="odenets bench accelerator", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu runs what makes sense there")
    parser.add_argument(
        "--only", nargs="+", choices=CHECKS, default=list(CHECKS), metavar="CHECK", help=", ".join(CHECKS)
    )
    parser.add_argument("--out", type=Path, default=Path("out/accelerator"), help="folder of accelerator.json")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 where a check failed, 2 for a user error, as that there is no CUDA."""
    options = parse(argv)
    try:
        device = machine.choose_device(options.device)
        machine.make_repeatable()
        facts = {
            **machine.hardware(device),
            **machine.versions(),
            "command": as_given("odenets bench accelerator", argv),
        }
        options.out.mkdir(parents=True, exist_ok=True)
        found: Found = {}
        for name in options.only:
            found[name] = measure(name, device)
            print(line(name, found[name]), flush=True)
            write_json(options.out / "accelerator.json", {**facts, "checks": found})
    except (OdenetsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    return FAILED_RUNS if any("failed" in one for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
