"""What each of two processes does in the test of DistributedDataParallel.

A file of its own, for a process imports the file that its function is in, and the tests' would derive all schemes.
"""

from datetime import timedelta

import torch
from helpers import batch, layers_of, loss
from torch import nn

from odenets import ODENet


def network(name, mode, normalised):
    torch.manual_seed(0)

    def block():
        middle = [nn.BatchNorm1d(6)] if normalised else []
        return nn.Sequential(nn.Linear(6, 6), *middle, nn.Tanh())

    return ODENet(layers_of(name, 4, block), name, gradient=mode, h=0.5).double()


def work(rank, path, cases):
    """One of two processes: a step of every case, its gradients into a file."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}/meet", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    found = []
    for case in cases:
        net = nn.parallel.DistributedDataParallel(network(*case))
        loss(net(batch(8, 6, seed=rank))).backward()
        found.append([p.grad for p in net.parameters()])
    torch.save(found, f"{path}/{rank}")
    torch.distributed.destroy_process_group()
