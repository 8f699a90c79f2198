"""A CUDA graph on the CPU: the operations of a function, noted as it runs, and run again with no Python in between."""

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Tape(TorchDispatchMode):
    """Notes every operation; :meth:`replay` runs them again on the same tensors, into the same memory.

    As a graph it knows tensors by their places alone, and a number of the host's as it was when it was noted.
    """

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, before in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(_pytree.tree_leaves(before), _pytree.tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor):
                    old.detach().copy_(new)

    @property
    def read(self):
        """Operations by which the host reads, or waits for, what is on the device."""
        waiting = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "unique", "masked_select")
        return [str(func) for func, *_ in self.calls if func.overloadpacket.__name__ in waiting]
