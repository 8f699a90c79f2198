"""The machine a run is on: its device, what to tell of it in results, and exact repeatability."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import ConfigError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device called "cpu", "cuda" or "auto" (cuda where there is one); ConfigError if it is not there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("--device: got cuda, but torch finds no CUDA device; use --device cpu")
    return torch.device("cuda" if name != "cpu" and there else "cpu")


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is worth its name there: on x86, oneDNN's kernels for it need AVX-512, else torch runs loops."""
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return device.type != "cpu" or not x86 or torch.backends.cpu.get_cpu_capability() not in ("AVX2", "DEFAULT")


def make_repeatable() -> None:
    """Makes equal runs end with equal bits, and fp32 mean fp32.

    For a whole process, which is why only the command line calls it. Deterministic kernels cost a
    few per cent on a GPU; cuBLAS needs its workspace fixed before its first use. TF32, torch's
    default for convolutions, keeps 10 of fp32's 23 bits.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling every new tensor with NaN finds reads of uninitialised memory; it only costs time here.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False


def hardware(device: torch.device, processes: int = 1) -> dict[str, Any]:
    """What computed a result: processor, threads, the GPU if there was one, and processes if there were several."""
    facts: dict[str, Any] = {"processor": processor(), "threads": torch.get_num_threads(), "device": device.type}
    facts |= {"processes": processes} if processes > 1 else {}
    return facts | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})


def processor() -> str:
    """Model name of the CPU. platform.processor() is empty or "x86_64" on Linux, so the kernel is asked first."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*peers: str) -> dict[str, str]:
    """Versions of what a result depends on, and of other packages that it is compared with."""

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    own = {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}
    return own | {package: version(package) for package in ("odenets", *peers)}
