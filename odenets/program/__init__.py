"""A scheme compiled for tensors: what a step evaluates and combines, the step, and the step undone."""

from .program import Combine, Evaluate, Program, Solve, compile_scheme

__all__ = ["Combine", "Evaluate", "Program", "Solve", "compile_scheme"]
