"""One measurement in a process of its own: ``python -m odenets.benchmarks.memory.measure '<what, as JSON>'``.

``odenets bench memory`` starts it, so that nothing that one network leaves behind is counted for the
next, and so that the allocator can be set: glibc reads its settings when a process starts.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from odenets import ODENet

from ..common.peak_memory import peak_bytes
from ..common.processes import answer
from .networks import Network

#: A sample lasts at least so many seconds of processor time.
SHORTEST = 0.02
#: So deep that reversible undoes a step: a lone one is run again.
WARM_UP_DEPTH = 3


def in_new_process(what: dict[str, Any], allocator: dict[str, str]) -> dict[str, Any]:
    """What :func:`main` finds in a fresh process.

    Raises:
        BenchmarkError: the process failed; the message is the last line of what it said.
    """
    return answer("odenets.benchmarks.memory.measure", [json.dumps(what)], allocator)


# ------------------------------------------------------------------------ memory


def memory(network: Network) -> dict[str, Any]:
    """Bytes saved for the backward pass, peak of the process, stored states, and the gradient's error."""
    one_pass(*_made(replace(network, depth=WARM_UP_DEPTH)))
    model, images = _made(network)
    peak, method = peak_bytes(lambda: one_pass(model, images))
    # Both are the last pass's, so they are read before another one.
    found, stored = gradient(model), model.stored if isinstance(model, ODENet) else None
    saved = saved_bytes(model, network.images())
    return {
        **asdict(network),
        "state_bytes": network.state_bytes,
        "parameter_bytes": sum(p.nbytes for p in model.parameters()),
        "saved_bytes": saved,
        "peak_bytes": peak,
        "peak_method": method,
        "stored": asdict(stored) if stored else None,
        "gradient_error": relative_error(found, _direct_gradient(network)),
    }


def _direct_gradient(network: Network) -> Tensor:
    model, images = _made(network.direct)
    one_pass(model, images)
    return gradient(model)


def _made(network: Network) -> tuple[nn.Module, Tensor]:
    return network.build(), network.images()


def one_pass(model: nn.Module, images: Tensor) -> None:
    """Forward and backward."""
    for parameter in model.parameters():
        parameter.grad = None
    model(images).square().mean().backward()


def gradient(model: nn.Module) -> Tensor:
    """That of all parameters after a pass, in one vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def relative_error(found: Tensor, expected: Tensor) -> float | None:
    """|found - expected| / |expected| in the 2-norm; None where that is no finite number."""
    error = (torch.linalg.vector_norm(found - expected) / torch.linalg.vector_norm(expected)).item()
    return error if error < float("inf") else None


def saved_bytes(model: nn.Module, images: Tensor) -> int:
    """Bytes of the distinct storages that autograd saves in a forward pass, parameters left out.

    Tensors that a Function keeps as attributes of its context go unseen; MemCNN has such.
    """
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(images)
    assert output.grad_fn is not None  # until here it holds what was saved, so no address was used twice
    return sum(sizes.values())


# -------------------------------------------------------------------------- time


def times(network: Network, rounds: int) -> dict[str, Any]:
    """Processor time of a way beside that of direct, in pairs one after the other, the order changing."""
    passes = {name: _timed(one) for name, one in (("direct", network.direct), ("way", network))}
    first = [passes["direct"]()[0] for _ in range(2)][1]  # the first one loads kernels
    passes["way"]()  # and this one rehearses
    repeats = max(1, -int(-SHORTEST // max(first, 1e-6)))
    samples: dict[str, list[float]] = {name: [] for name in passes}
    forwards = []
    for n in range(rounds):
        for name in list(passes)[:: -1 if n % 2 else 1]:
            found = [passes[name]() for _ in range(repeats)]
            samples[name].append(sum(both for both, _ in found) / repeats)
            if name == "direct":
                forwards.append(sum(forward for _, forward in found) / repeats)
    return {**asdict(network), "repeats": repeats, "seconds": samples, "forward_seconds": forwards}


def _timed(network: Network) -> Callable[[], tuple[float, float]]:
    model = network.build()

    def run() -> tuple[float, float]:
        for parameter in model.parameters():
            parameter.grad = None
        images = network.images()
        start = time.process_time()
        output = model(images)
        middle = time.process_time()
        output.square().mean().backward()
        return time.process_time() - start, middle - start

    return run


def main() -> int:
    """Measure what the argument says, and print what is found as JSON."""
    warnings.simplefilter("ignore")  # of the peers' age
    torch.set_num_threads(1)
    what = json.loads(sys.argv[1])
    network = Network(**what["network"])
    print(json.dumps(times(network, what["rounds"]) if "rounds" in what else memory(network)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
