"""Bridges to other people's tools: a model as flat vectors, for sbi and whatever takes a prior and a simulator."""

from .prior import Prior
from .simulator import Simulator

__all__ = ["Prior", "Simulator"]
