"""Pictures of posteriors, as matplotlib figures: what `posterior.plot(kind)` draws, and calibration from its ranks."""

from .calibration import coverage, ranks
from .plot import KINDS, plot

__all__ = ["KINDS", "coverage", "plot", "ranks"]
