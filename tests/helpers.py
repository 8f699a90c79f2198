"""What several tests need: schemes by capability, small residual functions, counting tensor operations."""

from collections import Counter

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from odenets import schemes
from odenets.zoo import as_scheme


def explicit_schemes():
    """Names of the schemes that run without solving for their stages."""
    return [name for name, scheme in schemes.items() if scheme.explicit]


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
    """Tensor operations of a call; not the first one, which finds out what layers write into their input."""
    with torch.no_grad():
        function(*args)
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


def layers_of(scheme, layers, make):
    """Blocks as the scheme takes them: make() per layer, or a list of as many as the step has functions."""
    functions = max(as_scheme(scheme).modules) + 1
    return [make() if functions == 1 else [make() for _ in range(functions)] for _ in range(layers)]


def blocks_for(scheme, layers, width=6, dtype=torch.float64, seed=0):
    """Residual layers for any scheme on a state of an even width, of which a partitioned one takes halves."""
    torch.manual_seed(seed)
    scheme = as_scheme(scheme)
    return layers_of(scheme, layers, lambda: Residual(width // scheme.components, dtype))


def flat(blocks):
    """The modules of all layers, one list."""
    return [module for block in blocks for module in (block if isinstance(block, list) else [block])]


def batch(*shape, seed=7, dtype=torch.float64):
    """An input that is the same each time."""
    return torch.randn(*(shape or (3, 6)), dtype=dtype, generator=torch.Generator().manual_seed(seed))


def loss(y):
    """Not linear in y, so that second derivatives are seen."""
    return (y.sin() * y).sum()
