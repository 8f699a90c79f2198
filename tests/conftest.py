"""One thread for each process of pytest-xdist: several, on all cores each, wait for one another."""

import os

import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")  # for the processes that tests start
    torch.set_num_threads(1)
