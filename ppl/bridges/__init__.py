"""Bridges to other people's tools: a model as flat vectors, for sbi and whatever takes a prior and a simulator, and as a Pyro program."""

from .prior import Prior
from .program import Program
from .simulator import Simulator

__all__ = ["Prior", "Program", "Simulator"]
