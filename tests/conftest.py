"""One thread for each process of pytest-xdist: several, on all cores each, wait for one another.

And fewer garbage collections, which took 5 to 9 % of the time of the parts that were measured. And seeds of the CPU's
generator alone where there is no other: torch.manual_seed writes down where it was called from, for devices that may
come later, which takes half a millisecond thousands of times.
"""

import gc
import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # for the processes that tests start
    torch.set_num_threads(1)

if not torch.accelerator.is_available():
    torch.manual_seed = torch.default_generator.manual_seed


def pytest_collection_finish():
    # Thousands of tests and the modules of torch and sympy stay to the end: no collection need look at them again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
