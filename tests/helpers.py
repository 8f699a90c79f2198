"""What several tests need: counting tensor operations, small residual functions."""

from collections import Counter

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode


class CountOperations(TorchDispatchMode):
    """Counts every operation torch dispatches inside the block."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.counts[func.overloadpacket._qualified_op_name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self):
        return sum(self.counts.values())


def count(function, *args):
    with CountOperations() as counter, torch.no_grad():
        function(*args)
    return counter.total


class Residual(nn.Module):
    """tanh(W x): smooth, so that gradients can be compared to rounding."""

    def __init__(self, width, dtype=torch.float64):
        super().__init__()
        self.linear = nn.Linear(width, width, dtype=dtype)

    def forward(self, x):
        return torch.tanh(self.linear(x))


def residuals(layers, width=5, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    return [Residual(width, dtype) for _ in range(layers)]
