"""A scheme compiled for tensors: what a step evaluates and combines, the step, and the step undone."""

from .compiler import compile_scheme, open_program
from .program import Combine, Evaluate, OpenProgram, Program, Solve

__all__ = ["Combine", "Evaluate", "OpenProgram", "Program", "Solve", "compile_scheme", "open_program"]
