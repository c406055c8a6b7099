"""Checks of posteriors: against the explicit density, against simulated data sets, and of the observation itself."""

from .calibration import Calibration
from .check import check

__all__ = ["Calibration", "check"]
