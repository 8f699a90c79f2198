"""The residual sums of a network that somebody has, found and run under another scheme."""

from .report import ChainReport, SumReport, SwapReport
from .swap_model import swap_report, swap_scheme, unswap

__all__ = ["ChainReport", "SumReport", "SwapReport", "swap_report", "swap_scheme", "unswap"]
