"""One forward pass: its steps, as they are or as pure functions of their tensors, and those a history starts with."""

from .forward_pass import Pass
from .network import Network

__all__ = ["Network", "Pass"]
