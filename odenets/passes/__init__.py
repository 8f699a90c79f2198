"""One forward pass: its steps, as they are or as pure functions of their tensors, and those a history starts with."""

from .forward_pass import Pass

__all__ = ["Pass"]
